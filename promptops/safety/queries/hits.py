"""Matches of terms in past runs: where terms occur, and how the filter judges those texts with and without them."""

from collections.abc import Iterable
from dataclasses import dataclass

from promptops.engine.safety.guard import MAX_BYTES, SafetyGuard, Terms, let_go, read_words
from promptops.platform.caches import Cache
from promptops.runs.enums import SafetySide
from promptops.runs.models import Run
from promptops.safety.queries.past import LONG_BUDGET_SECONDS, RUNS, Budget, Text, runs_with_excerpts, texts_of

HITS_SHOWN = 20
"""Shown runs that a term matches; each is judged twice."""
TEXTS_READ = 400
"""Runs whose texts one request reads at most."""

_words_read: Cache[str] = Cache(3 * RUNS)


@dataclass(frozen=True)
class Hit(Text):
    """A text with a term in it, and the filter's decisions on it without and with the new terms."""

    term: str
    before: str  # a VerdictDecision
    after: str


@dataclass(frozen=True)
class Hits:
    """The runs that terms match: `count` of `runs`. `waiting` runs are still to be read; `rows` are the newest hits."""

    runs: int
    count: int
    waiting: int
    rows: list[Hit]

    @property
    def unshown(self) -> int:
        return self.count - len(self.rows)


def hits(terms: Iterable[str], before: SafetyGuard, after: SafetyGuard, budget: float = LONG_BUDGET_SECONDS) -> Hits:
    """Return where terms occur in the newest runs, reading for at most `budget` seconds. Four queries at most."""
    finder = Terms((term, None) for term in terms)
    newest = list(Run.objects.filter(erased_at=None).order_by("-id").values_list("pk", "at")[:RUNS])
    missing = [pk for pk, at in newest if _words_read.get((pk, at, SafetySide.INPUT)) is None]
    texts, left, waiting = texts_of(set(missing[:TEXTS_READ])), Budget(budget), 0
    matches: dict[int, tuple[str, str]] = {}
    for pk, at in newest:
        for side in SafetySide:
            text = _words_read.get((pk, at, side))
            if text is None:
                if left.is_spent or (pk, side.value) not in texts:
                    waiting += 1
                    break
                text = _words(texts[pk, side.value])
                _words_read.put((pk, at, side), text)
            if pk not in matches and (match := finder.first_in(text.split())):
                matches[pk] = (side.value, match[0])
    return Hits(len(newest), len(matches), waiting, _judged(matches, before, after))


def _judged(matches: dict[int, tuple[str, str]], before: SafetyGuard, after: SafetyGuard) -> list[Hit]:
    """Return the newest matches with both decisions."""
    chosen = list(matches)[:HITS_SHOWN]
    runs, texts = runs_with_excerpts(chosen), texts_of(set(chosen)) if chosen else {}
    rows = []
    for pk in chosen:
        side, term = matches[pk]
        if pk in runs and (pk, side) in texts:
            decisions = [guard.check_beside(texts[pk, side]).decision.value for guard in (before, after)]
            rows.append(Hit(runs[pk], side, term, *decisions))
    return rows


def _words(text: str) -> str:
    """Return the normalized words; "" for a text that the filter refuses for its size before it looks for terms."""
    return " ".join(read_words(text, let_go)) if len(text.encode(errors="replace")) <= MAX_BYTES else ""
