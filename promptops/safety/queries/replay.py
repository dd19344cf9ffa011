"""Replaying thresholds: the effect that other thresholds would have had on past runs.

Scores come from the verdicts that runs store. Texts that another model or other terms judged are scored again in the
thread of the request, for a fraction of a second; the rest is counted as waiting, and the next request continues. New
scores stay in memory only, and an erased text has none. Terms belong to hits.py, labeled texts to quality.py, two
models on the same runs to retraining.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.db.models import QuerySet

from promptops.engine.safety.guard import SafetyGuard, SafetyLayer, SafetyVerdict
from promptops.platform.caches import Cache
from promptops.runs.models import SafetyCheck
from promptops.safety import guards
from promptops.safety.models import SafetySettings, SafetyTerm
from promptops.safety.queries.past import (
    BUDGET_SECONDS,
    RUNS,
    Budget,
    Text,
    Thresholds,
    blocking_category,
    runs_with_excerpts,
    texts_of,
)

ROWS_SHOWN = 50
RUNS_READ = 800
"""Verdicts that one request scores again at most."""

DENIED, APART = "denied", "apart"
_Scored = tuple[str, dict[str, float]]  # "", DENIED or APART, and the scores
_scores: Cache[_Scored] = Cache(8 * RUNS)
"""Room for the texts of a replay, and for those of a comparison of two models. With less, neither would ever end."""


class Judged(NamedTuple):
    """A stored verdict as a replay reads it."""

    pk: int
    run_id: int
    side: str
    layer: str
    cause: str
    language: str
    scores: dict[str, float]
    second_score: float | None
    second_threshold: float | None
    model_id: int | None
    at: datetime
    revision: int


@dataclass(frozen=True)
class Case:
    """One side of a past run with the model's scores."""

    run_id: int
    side: str
    scores: Mapping[str, float]


@dataclass
class Past:
    """The runs that are replayed. Thresholds do not affect `denied` and `apart`.

    `denied` runs have a text with a denied term. `apart` runs have a text that could not be judged, or that contains
    only allowed terms. `rescored` texts are scored again, because another model or other terms judged them; `waiting`
    of them are still to be scored.
    """

    runs: int = 0
    cases: list[Case] = field(default_factory=list)
    denied: int = 0
    apart: int = 0
    rescored: int = 0
    waiting: int = 0

    @property
    def scored(self) -> int:
        return self.rescored - self.waiting


@dataclass(frozen=True)
class Row(Text):
    """A text that other thresholds could affect."""

    what: str  # new, gone, same
    category: str
    score: float
    threshold: float


@dataclass(frozen=True)
class Replay:
    """The number of past runs that would be blocked: `now` with present thresholds, `then` with proposed ones."""

    past: Past
    now: int
    then: int
    new: int
    gone: int
    rows: list[Row]

    @property
    def unshown(self) -> int:
        return max(0, self.new + self.gone + (self.then - self.new) - len(self.rows))


def replay(config: SafetySettings, present: Thresholds, proposed: Thresholds, budget: float = BUDGET_SECONDS) -> Replay:
    """Judge the past runs by both sets of thresholds and the present terms.

    Two queries, and two more if texts are scored again, for at most `budget` seconds.
    """
    past = past_of(config, recent(), budget)
    blocked: dict[int, tuple[str, Case]] = {}
    before, after = set(), set()
    for case in past.cases:
        was, will = blocking_category(case.scores, present), blocking_category(case.scores, proposed)
        if was:
            before.add(case.run_id)
        if will:
            after.add(case.run_id)
        if will or (was and case.run_id not in blocked):
            blocked.setdefault(case.run_id, (will or was, case))
    order = {"new": 0, "gone": 1, "same": 2}

    def what(run_id: int) -> str:
        return "same" if run_id in before and run_id in after else "new" if run_id in after else "gone"

    chosen = sorted(blocked, key=lambda run_id: (order[what(run_id)], -run_id))[:ROWS_SHOWN]
    runs = runs_with_excerpts(chosen)
    rows = []
    for run_id in chosen:
        category, case = blocked[run_id]
        if run := runs.get(run_id):
            rows.append(Row(run, case.side, what(run_id), category, case.scores[category], proposed.get(category, 1.0)))
    return Replay(past, len(before), len(after), len(after - before), len(before - after), rows)


def recent() -> list[Judged]:
    """Return the verdicts on the newest judged runs that still have their text. One query."""
    runs: set[int] = set()
    verdicts = []
    for verdict in read_judged(SafetyCheck.objects.all(), 2 * RUNS):
        if verdict.run_id in runs or len(runs) < RUNS:
            runs.add(verdict.run_id)
            verdicts.append(verdict)
    return verdicts


def read_judged(checks: QuerySet[SafetyCheck], most: int) -> list[Judged]:
    """Return the newest of these verdicts whose texts are not erased. One query."""
    names = ("id" if name == "pk" else "run__revision" if name == "revision" else name for name in Judged._fields)
    rows = checks.filter(run__erased_at=None).order_by("-id").values_list(*names)
    return [Judged(*row) for row in rows[:most]]


def past_of(config: SafetySettings, verdicts: Iterable[Judged], budget: float) -> Past:
    """Return these verdicts with the scores of the settings' model and terms; at most `budget` seconds of scoring.

    Two queries if texts are scored again, else none.
    """
    past, stale = Past(), []
    runs: set[int] = set()
    runs_by: dict[str, set[int]] = {DENIED: set(), APART: set()}
    for text in verdicts:
        runs.add(text.run_id)
        is_of_model = text.layer in (SafetyLayer.MODEL, SafetyLayer.SENTENCES)  # the scores are the first stage's
        is_of_other = text.model_id != config.model_id and (is_of_model or not text.layer)
        if text.revision < config.terms_revision or is_of_other:
            stale.append((text.pk, text.run_id, text.side, text.at))
        elif text.layer == SafetyLayer.DENY_TERMS:
            runs_by[DENIED].add(text.run_id)
        elif text.scores and is_of_model:
            past.cases.append(Case(text.run_id, text.side, text.scores))
        else:
            runs_by[APART].add(text.run_id)
    if stale:
        _score_again(config, stale, past, runs_by, budget)
    past.runs, past.denied = len(runs), len(runs_by[DENIED])
    past.apart = len(runs_by[APART] - runs_by[DENIED])
    return past


def _score_again(
    config: SafetySettings,
    stale: list[tuple[int, int, str, datetime]],
    past: Past,
    runs_by: Mapping[str, set[int]],
    budget: float,
) -> None:
    """Add the cases of these checks as the present model and terms judge them, within the budget."""
    now = (config.model.sha256, config.terms_revision)
    scored = {pk: _scores.get((pk, at, *now)) for pk, _, _, at in stale}
    missing = [(pk, run_id, side, at) for pk, run_id, side, at in stale if scored[pk] is None]
    past.rescored = len(stale)
    if missing:
        policy = guards.policy_of(config, list(SafetyTerm.objects.all()))
        guard, left = SafetyGuard(guards.model_of(config.model), policy), Budget(budget)
        texts = texts_of({run_id for _, run_id, _, _ in missing[:RUNS_READ]})
        for pk, run_id, side, at in missing:
            if left.is_spent or (run_id, side) not in texts:
                past.waiting += 1
                continue
            fresh = scored[pk] = _scored(guard.check_beside(texts[run_id, side]))
            _scores.put((pk, at, *now), fresh)
    for pk, run_id, side, _ in stale:
        if result := scored[pk]:
            what, scores = result
            if what:
                runs_by[what].add(run_id)
            else:
                past.cases.append(Case(run_id, side, scores))


def _scored(verdict: SafetyVerdict) -> _Scored:
    if verdict.layer is SafetyLayer.DENY_TERMS:
        return DENIED, {}
    return ("" if verdict.scores else APART), {name.value: score for name, score in verdict.scores.items()}
