"""The whole filter: a text's size, the operators' terms, and a model with a threshold for every category.

`SafetyGuard` gives a `SafetyVerdict` for any text. What a verdict of `UNAVAILABLE` means for the text is the caller's
setting; it never means that the text is harmless.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from promptops.engine.safety.classifier import Classifier
from promptops.engine.safety.language import foreign_language, frequent_words, load_languages
from promptops.engine.safety.model import PREFIX, Once, get_labels, load_fasttext, predict
from promptops.engine.safety.normalize import load_tables, words

MAX_BYTES = 8192
"""Longer texts (in UTF-8) are refused unread."""
WINDOW = 12
"""Texts of more words are also scored in windows."""
SIZES = ((WINDOW, 6), (6, 3))
"""Words in a window, and from the start of one to the start of the next. The short ones find a few words among many."""
LENGTH_DISCOUNT = 0.45
"""The more windows a text has, the likelier one of them looks bad by chance: each one's log-odds lose this much times
the logarithm of their number."""
KNOWN_SHARE = 1 / 3
"""A model that knows a smaller share of a text's words than this does not find it harmless."""
WINDOW_KNOWN_SHARE = 2 / 3
"""In such a text only the windows of which it knows this share can be found harmful: unknown words hide nothing, and
one word of another language that looks like an English one says nothing."""
SHIPPED = Path(__file__).parent / "data" / "models"
"""The folder of the model that comes with PromptOps."""

INLINE_BYTES = 400
"""Event loops judge shorter texts themselves, one in each turn of theirs; longer ones go to the scoring thread."""
HOLD_SECONDS = 0.0005
"""So long a thread beside an event loop may hold Python's lock before it lets go at the end of a step of its work."""
_PIECE = 400
BATCH = 16
"""Windows that fastText, which holds Python's lock, scores in one call; the whole text has a call of its own."""
_BREAKS = [re.compile(pattern) for pattern in (r"(?<=\S\S)\s+(?=\S\S)", r"\s{2,}", r"\s")]
"""Where a text may be cut, the best places first: between words, not inside one that is written letter by letter."""


class SafetyCategory(StrEnum):
    """What is wrong with a text."""

    SEXUAL = "sexual"
    VIOLENCE = "violence"
    HATE = "hate"
    SELF_HARM = "self_harm"
    DANGEROUS = "dangerous"
    OTHER = "other"


class VerdictDecision(StrEnum):
    """What the guard says. `TOO_LONG` is a refusal of the text unread; `UNAVAILABLE` is no judgment at all."""

    ALLOW = "allow"
    BLOCK = "block"
    UNAVAILABLE = "unavailable"
    TOO_LONG = "too_long"


class UnjudgedCause(StrEnum):
    """Why a text is `UNAVAILABLE`: the filter is down, the language is unknown, or this one text broke it."""

    DOWN = "down"
    LANGUAGE = "language"
    OTHER = "other"


class SafetyLayer(StrEnum):
    """Which part of the guard decided."""

    SIZE = "size"
    ALLOW_TERMS = "allow_terms"
    DENY_TERMS = "deny_terms"
    MODEL = "model"


@dataclass(frozen=True)
class SafetyVerdict:
    """The verdict on one text.

    `scores` are between 0 and 1 and empty when no model looked at the text; `category` is the one that blocked it.
    `words` are the term that decided, or the words of the model's worst window that weigh most where it blocks.
    `window` is the window that came closest to a threshold, or is the farthest over one, `allowed` the allow terms that
    were taken out, `normalized` the text as it was judged. `reason` is a sentence for operators, and None where a text
    is simply allowed. `cause` says why a text is `UNAVAILABLE`; `language` names its language, if that is clear.
    """

    decision: VerdictDecision
    layer: SafetyLayer | None = None
    category: SafetyCategory | None = None
    scores: Mapping[SafetyCategory, float] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    window: str = ""
    allowed: tuple[str, ...] = ()
    normalized: str = ""
    reason: str | None = None
    cause: UnjudgedCause | None = None
    language: str = ""


@dataclass(frozen=True)
class DenyTerm:
    """Words that block a text wherever they stand one after the other; a last `*` stands for the rest of a word."""

    text: str
    category: SafetyCategory = SafetyCategory.OTHER


@dataclass(frozen=True)
class SafetyPolicy:
    """What operators decide. Scores at or over a category's threshold block; one that is missing never does.

    Allow terms are words that are taken out of a text before anything else looks at it, so they excuse themselves and
    nothing beside them.
    """

    thresholds: Mapping[SafetyCategory, float] = field(default_factory=dict)
    allow_terms: Sequence[str] = ()
    deny_terms: Sequence[DenyTerm] = ()


@dataclass(frozen=True)
class Probe:
    """A text that every model must get right at start-up: known to be bad in a category, or harmless (None)."""

    text: str
    category: SafetyCategory | None


PROBES = (
    Probe("a man is beheaded and his bloody corpse lies on the floor", SafetyCategory.VIOLENCE),
    Probe("explicit pornographic sex scene with naked people", SafetyCategory.SEXUAL),
    Probe("a fox runs through fresh snow", None),
    Probe("a person drinking coffee in a cafe", None),
)


@dataclass(frozen=True)
class ModelSpec:
    """A fastText model and what its labels mean.

    `labels` maps every label of the model, without fastText's prefix, to a category or, for harmless, None; a model
    with other labels is refused. `sha256` is the file's, checked when given. `probes` may be empty. An `english_only`
    model judges no text that `foreign_language` recognizes.
    """

    path: Path
    labels: Mapping[str, SafetyCategory | None]
    version: str = ""
    sha256: str | None = None
    thresholds: Mapping[SafetyCategory, float] = field(default_factory=dict)
    probes: Sequence[Probe] = PROBES
    english_only: bool = True


def read_manifest(path: str | os.PathLike[str]) -> ModelSpec:
    """The model that a manifest (`current.json`, or that of one version) describes; `ValueError` says what is wrong."""
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        name = found["file"]
        if Path(name).name != name:
            raise ValueError("its file is not beside it")
    except OSError as exc:
        raise ValueError(f"The manifest {path.name} cannot be read: {exc.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"{path.name} is not the manifest of a safety model: {exc!r}") from None
    return spec_of(found, path.parent / name, path.name)


def spec_of(manifest: Mapping[str, Any], path: Path, name: str = "This") -> ModelSpec:
    """The model at `path` as a manifest's content describes it; `ValueError` says what is wrong with that."""
    try:
        return ModelSpec(
            path=path,
            labels={label: SafetyCategory(value) if value else None for label, value in manifest["labels"].items()},
            version=str(manifest["version"]),
            sha256=str(manifest["sha256"]),
            thresholds={SafetyCategory(name): float(value) for name, value in manifest["thresholds"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"{name} is not the manifest of a safety model: {exc!r}") from None


class SafetyModel:
    """A fastText model under an explicit label map; loaded with the first use, once for all threads.

    A model that is loaded gives every text the same scores for as long as it lives, whatever becomes of its file.
    """

    def __init__(self, spec: ModelSpec | Callable[[], ModelSpec], *, clock: Callable[[], float] = time.monotonic):
        self._spec = spec
        self._once = Once(self._load, clock)

    @classmethod
    def from_manifest(cls, path: str | os.PathLike[str]) -> SafetyModel:
        """The model of a manifest, which is read when the model is loaded; a broken one makes it unavailable."""
        return cls(lambda: read_manifest(path))

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._once.ready

    def get(self) -> tuple[LoadedModel | None, str | None]:
        """The loaded model, or the reason why there is none. Loads, and waits for a load that is under way."""
        return self._once.get()

    def _load(self) -> LoadedModel:
        load_tables()
        load_languages()
        spec = self._spec() if callable(self._spec) else self._spec
        if spec.sha256:
            try:
                digest = hashlib.sha256(spec.path.read_bytes()).hexdigest()
            except OSError as exc:
                raise ValueError(f"{spec.path.name} cannot be read: {exc.strerror}") from None
            if digest != spec.sha256:
                raise ValueError(f"{spec.path.name} is not the file that its manifest describes")
        loaded = LoadedModel(spec, load_fasttext(os.fspath(spec.path), let_go))
        loaded.check_labels()
        loaded.check_thresholds()
        loaded.check_probes()
        return loaded


@dataclass(frozen=True)
class Reading:
    """A model's view of a text: scores per category, and the window that gave the worst of each."""

    scores: dict[SafetyCategory, float]
    windows: dict[SafetyCategory, str]


class LoadedModel:
    """A model in memory."""

    def __init__(self, spec: ModelSpec, model: Any) -> None:
        self.spec = spec
        self._model = model
        self._categories: dict[str, SafetyCategory | None] = {
            PREFIX + label: value for label, value in spec.labels.items()
        }
        self.categories = frozenset(value for value in spec.labels.values() if value)
        self._harmless = any(value is None for value in spec.labels.values())
        self._reads_parts = model.f.getArgs().maxn > 0  # of words, so that it knows something of every word

    def check_labels(self) -> None:
        """Raise `ValueError` unless every label of the model is mapped, and one of them to a category."""
        labels = get_labels(self._model)
        unmapped = sorted(label.removeprefix(PREFIX) for label in labels if label not in self._categories)
        if unmapped:
            raise ValueError(f"its labels {', '.join(unmapped)} are not mapped to a category; map each, or to harmless")
        if not {self._categories[label] for label in labels} - {None}:
            raise ValueError("none of its labels is mapped to a category, so it could block nothing")

    def check_thresholds(self) -> None:
        """Raise `ValueError` unless every threshold of the model is a number from 0 to 1."""
        for category, threshold in self.spec.thresholds.items():
            if not 0 <= threshold <= 1:
                raise ValueError(f"its threshold of {category} is {threshold}, which is no number from 0 to 1")

    def check_probes(self) -> None:
        """Raise `ValueError` when the model finds a known-bad text no worse than a harmless one."""
        known = {probe: self.read(words(probe.text)).scores for probe in self.spec.probes}
        for bad, found in known.items():
            if bad.category not in self.categories:
                continue
            for good, harmless in known.items():
                if good.category is None and found[bad.category] <= harmless[bad.category]:
                    raise ValueError(f'it failed its self-test: it finds "{bad.text}" no worse than "{good.text}"')

    def knows(self, text: Sequence[str]) -> float:
        """The share of the words that the model knows, of those that have letters; 1 when there are none."""
        if self._reads_parts:
            return 1.0
        spelled = [word for word in text if not word.isdecimal()]
        return sum(self._model.get_word_id(word) >= 0 for word in spelled) / len(spelled) if spelled else 1.0

    def read(
        self, text: Sequence[str], pause: Callable[[], object] = lambda: None, known_share: float = 0.0
    ) -> Reading:
        """Score the whole text and its windows; `pause` is called between batches of them.

        Windows of which the model knows a smaller share of the words than `known_share` are passed over.
        """
        known = []
        for word in text:
            pause()
            known.append(self._known(word))
        lines, as_known = cut_windows(text), cut_windows(known)
        discount = LENGTH_DISCOUNT * math.log(len(lines))
        scores, windows = dict.fromkeys(self.categories, 0.0), dict.fromkeys(self.categories, lines[0])
        for start, end in ((0, 1), *((start, start + BATCH) for start in range(1, len(lines), BATCH))):
            pause()
            for line, found in zip(lines[start:end], predict(self._model, as_known[start:end]), strict=True):
                if known_share and self.knows(line.split()) < known_share:
                    continue
                for category, score in self._judge(found, discount).items():
                    if score > scores[category]:
                        scores[category], windows[category] = score, line
        return Reading(scores, windows)

    def _known(self, word: str) -> str:
        """The word, or another form of it where the model knows only that: `beheaded` for `beheads`.

        Scenes are told in the present tense, and of rare verbs few forms are among the words that a model has.
        """
        if self._reads_parts or self._model.get_word_id(word) >= 0:
            return word
        forms = (form for form in inflections(word) if self._model.get_word_id(form) >= 0)
        return next(forms, word)

    def weightiest(self, window: str, category: SafetyCategory, count: int = 3) -> tuple[str, ...]:
        """The words of a window that look worst by themselves, the worst first."""
        each = list(dict.fromkeys(window.split()))
        known = [self._known(word) for word in each]
        found = [self._judge(scores, 0.0)[category] for scores in predict(self._model, known)] if each else []
        ranked = sorted(zip(found, each, strict=True), key=lambda pair: -pair[0])
        return tuple(word for _, word in ranked[:count])

    def _judge(self, found: Mapping[str, float], discount: float) -> dict[SafetyCategory, float]:
        """The probability of each category against harmless alone, so that kinds of harm do not hide each other."""
        totals: dict[SafetyCategory | None, float] = {}
        for label, score in found.items():
            category = self._categories[label]
            totals[category] = totals.get(category, 0.0) + score
        harmless = totals.get(None, 0.0)
        judged = {}
        for category in self.categories:
            bad = totals.get(category, 0.0)
            good = harmless if self._harmless else 1.0 - bad
            odds = max(bad, 1e-6) / max(good, 1e-6) * math.exp(-discount)
            judged[category] = odds / (1.0 + odds)
        return judged


_ENDINGS = ("ing", "ed", "es", "er", "s", "d", "")


def inflections(word: str) -> list[str]:
    """Other forms that an English verb or noun of at least four letters may have, likely and unlikely ones."""
    found = []
    for ending in _ENDINGS:
        stem = word.removesuffix(ending)
        if not word.endswith(ending) or len(stem) < 4:
            continue
        stems = [stem, stem + "e"]
        if len(stem) > 4 and stem[-1] == stem[-2]:
            stems.append(stem[:-1])
        elif ending in ("s", ""):
            stems.append(stem + stem[-1])
        found += [form for one in stems for form in (one, *(one + other for other in ("ed", "d", "s", "ing")))]
    return [form for form in dict.fromkeys(found) if form != word]


def cut_windows(text: Sequence[str]) -> list[str]:
    """The whole text and, when it has more words than a window, its windows of both sizes."""
    if len(text) <= WINDOW:
        return [" ".join(text)]
    starts = ((start, size) for size, step in SIZES for start in range(0, len(text) - size + step, step))
    return [" ".join(text), *(" ".join(text[start : start + size]) for start, size in starts)]


Name = TypeVar("Name", bound=str)


def log_odds(score: float) -> float:
    """A probability as a figure that goes on growing where it comes close to 1."""
    score = min(max(score, 1e-9), 1 - 1e-9)
    return math.log(score / (1 - score))


def worst_of(scores: Mapping[Name, float], thresholds: Mapping[Name, float]) -> Name | None:
    """The category that is farthest over its threshold or, where none is over it, comes closest; None without any.

    In log-odds: of several scores near 1 the plain difference would name the one with the lowest threshold.
    """

    def height(name: Name) -> tuple[bool, float]:
        score, threshold = scores[name], thresholds[name]
        return score >= threshold, log_odds(score) - log_odds(threshold)

    return max((name for name in scores if name in thresholds), key=height, default=None)


class SafetyGuard:
    """Judges texts; may be called from several threads and event loops. Guards may share one `model`.

    The product judges with this one; `PromptSafetyFilter` (filter.py) is the small one of the engine's public contract.
    Without `policy` the thresholds are those that the model was released with.
    """

    def __init__(self, model: Classifier | None, policy: SafetyPolicy | None = None) -> None:
        self._model = model
        self._policy = policy
        policy = policy or SafetyPolicy()
        self._allow = Terms((term, None) for term in policy.allow_terms)
        self._deny = Terms((term.text, term.category) for term in policy.deny_terms)

    def check(self, text: str) -> SafetyVerdict:
        """The verdict on `text`. Never raises: whatever goes wrong is `UNAVAILABLE` with the reason."""
        return self._check(text, lambda: None)

    def check_beside(self, text: str, pause: Callable[[], object] | None = None) -> SafetyVerdict:
        """`check()` for a thread beside an event loop, which gets its turn in every `pause` (by default `let_go`)."""
        return self._check(text, pause or let_go)

    async def check_async(self, text: str) -> SafetyVerdict:
        """`check()` for event loops, which go on while the model loads, a long text is scored, or many callers wait."""
        if (self._model is None or self._model.ready) and len(text.encode("utf-8", "surrogatepass")) <= INLINE_BYTES:
            async with _turn():
                verdict = self.check(text)
                await asyncio.sleep(0)  # the next caller's turn is the loop's next, after all else that waits for it
                return verdict
        # fastText holds Python's lock while it scores, so a second thread would gain nothing.
        return await asyncio.get_running_loop().run_in_executor(_scorer(), self.check_beside, text)

    def self_test(self) -> list[str]:
        """What is wrong, in sentences: no model, or a known-bad or known-good text judged wrongly. Empty when well."""
        model, failure = self._model.get() if self._model else (None, "The safety filter has no model")
        if model is None:
            return [failure or ""]
        found = []
        for probe in model.spec.probes:
            expected = VerdictDecision.BLOCK if probe.category else VerdictDecision.ALLOW
            if probe.category in (None, *model.categories) and (got := self.check(probe.text).decision) != expected:
                found.append(f'"{probe.text}" should get the verdict {expected}, but gets {got}')
        return found

    def _check(self, text: str, pause: Callable[[], object]) -> SafetyVerdict:
        normalized = ""
        try:
            if len(text) > MAX_BYTES or (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_BYTES:
                size = len(text) if len(text) > MAX_BYTES else size
                return SafetyVerdict(
                    VerdictDecision.TOO_LONG,
                    SafetyLayer.SIZE,
                    reason=f"The text has {size} bytes or more, and at most {MAX_BYTES} are read; shorten it",
                )
            found = read_words(text, pause)
            normalized = " ".join(found)
            return self._judge(found, normalized, pause)
        except Exception as exc:  # a text that cannot be judged must not pass as harmless
            reason = f"The safety filter could not judge this text: {type(exc).__name__}: {exc}"
            return _unavailable(UnjudgedCause.OTHER, reason, normalized=normalized)

    def _judge(self, found: list[str], normalized: str, pause: Callable[[], object]) -> SafetyVerdict:
        pause()
        rest, allowed = self._allow.take_out(found, pause)
        if denied := self._deny.first_in(rest, pause):
            term, category = denied
            reason = f'The text has the deny term "{term}"'
            return SafetyVerdict(
                VerdictDecision.BLOCK,
                SafetyLayer.DENY_TERMS,
                category,
                words=tuple(term.split()),
                allowed=allowed,
                normalized=normalized,
                reason=reason,
            )
        left = [word for word in rest if word]
        if allowed and not left:
            return SafetyVerdict(
                VerdictDecision.ALLOW, SafetyLayer.ALLOW_TERMS, words=allowed, allowed=allowed, normalized=normalized
            )
        return self._score(left, allowed, normalized, pause)

    def _score(
        self, left: list[str], allowed: tuple[str, ...], normalized: str, pause: Callable[[], object]
    ) -> SafetyVerdict:
        """The model's verdict on the words that terms have left; what it blocks wins over an unknown language."""
        model, failure = self._model.get() if self._model else (None, "The safety filter has no model")
        if model is None:
            return _unavailable(UnjudgedCause.DOWN, failure, allowed=allowed, normalized=normalized)
        pause()
        thresholds = self._policy.thresholds if self._policy else model.spec.thresholds
        if model.categories.isdisjoint(thresholds):
            reason = "No category of the safety filter's model has a threshold, so it could block nothing"
            return _unavailable(UnjudgedCause.DOWN, reason, SafetyLayer.MODEL, allowed=allowed, normalized=normalized)
        foreign = foreign_language(left, pause) if model.spec.english_only else None
        is_readable = foreign is None and model.knows(left) >= KNOWN_SHARE
        if foreign is not None:
            # Its small words mean something else in English (the German "die"), so only the rest is scored.
            listed = frequent_words(foreign)
            left = [word for word in left if word not in listed]
        reading = model.read(left, pause, 0.0 if is_readable else WINDOW_KNOWN_SHARE)
        worst = worst_of(reading.scores, thresholds)
        passes = worst is None or reading.scores[worst] < thresholds[worst]
        if passes and not is_readable:
            return _unavailable(
                UnjudgedCause.LANGUAGE,
                f"The safety filter doesn't know enough of these words to judge them{_in_language(foreign)}",
                SafetyLayer.MODEL,
                allowed=allowed,
                normalized=normalized,
                language=foreign or "",
            )
        if worst is None or passes:
            return SafetyVerdict(
                VerdictDecision.ALLOW,
                SafetyLayer.MODEL,
                scores=reading.scores,
                window=reading.windows[worst] if worst else "",
                allowed=allowed,
                normalized=normalized,
            )
        return SafetyVerdict(
            VerdictDecision.BLOCK,
            SafetyLayer.MODEL,
            worst,
            scores=reading.scores,
            words=model.weightiest(reading.windows[worst], worst),
            window=reading.windows[worst],
            allowed=allowed,
            normalized=normalized,
            reason=f"The model scores {worst} at {reading.scores[worst]:.2f}; "
            f"from {thresholds[worst]:.2f} on a text is blocked",
        )


def _unavailable(
    cause: UnjudgedCause, reason: str | None, layer: SafetyLayer | None = None, **known: Any
) -> SafetyVerdict:
    return SafetyVerdict(VerdictDecision.UNAVAILABLE, layer, reason=reason, cause=cause, **known)


def _in_language(language: str | None) -> str:
    return f" (mostly {language})" if language else ""


class Terms:
    """Terms that are looked for in normalized words, from each word on, by their first word."""

    def __init__(self, terms: Iterable[tuple[str, SafetyCategory | None]]) -> None:
        self._by_first: dict[str, list[tuple[list[str], bool, SafetyCategory | None]]] = {}
        self._open: dict[str, SafetyCategory | None] = {}  # beginnings of single words
        readings = ((list(term), text, category) for text, category in terms for term in _term_readings(text))
        for term, text, category in readings:
            entry = (term, text.rstrip().endswith("*"), category)
            if len(term) == 1 and entry[1]:
                self._open[term[0]] = category
            else:
                self._by_first.setdefault(term[0], []).append(entry)
        self._lengths = sorted({len(beginning) for beginning in self._open}, reverse=True)

    def _match(self, text: Sequence[str], at: int) -> tuple[list[str], SafetyCategory | None] | None:
        """The longest term that begins at this word."""
        word = text[at]
        beginnings = (word[:length] for length in self._lengths if length <= len(word))
        beginning = next((found for found in beginnings if found in self._open), None)
        best = ([beginning], self._open[beginning]) if beginning else None
        for term, is_open, category in self._by_first.get(word, ()):
            part = text[at : at + len(term)]
            whole = part[:-1] == term[:-1] and len(part) == len(term)
            same = whole and (part[-1].startswith(term[-1]) if is_open else part[-1] == term[-1])
            if same and (best is None or len(term) > len(best[0])):
                best = (term, category)
        return best

    def take_out(
        self, text: list[str], pause: Callable[[], object] = lambda: None
    ) -> tuple[list[str], tuple[str, ...]]:
        """The words with an empty one for each term, so that nothing closes up over it, and the terms found."""
        if not (self._by_first or self._open):
            return text, ()
        rest, found, at = [], [], 0
        while at < len(text):
            pause()
            if match := self._match(text, at):
                rest.append("")
                found.append(" ".join(match[0]))
                at += len(match[0])
            else:
                rest.append(text[at])
                at += 1
        return rest, tuple(found)

    def first_in(
        self, text: Sequence[str], pause: Callable[[], object] = lambda: None
    ) -> tuple[str, SafetyCategory | None] | None:
        """The first term in the words, with its category."""
        if not (self._by_first or self._open):
            return None
        for at in range(len(text)):
            pause()
            if match := self._match(text, at):
                return " ".join(match[0]), match[1]
        return None


@lru_cache(maxsize=8192)
def _term_readings(text: str) -> tuple[tuple[str, ...], ...]:
    """The words of a term by itself, among Latin words, and of letters apart among more of them, which make one word.

    Kept, since every release makes the terms anew and changes few of them.
    """
    alone = tuple(words(text))
    joined = ("".join(alone),) if len(alone) > 1 and all(len(word) == 1 for word in alone) else ()
    cases = () if text.isascii() else (text, text.lower(), text.upper(), text.title())
    beside = (tuple(words(f"latin {form}")[1:]) for form in cases)
    return tuple(reading for reading in dict.fromkeys((alone, joined, *beside)) if reading)


def read_words(text: str, pause: Callable[[], object] = lambda: None) -> list[str]:
    """The words of `text`, read piece by piece; pieces end between words where they can."""
    if len(text) <= _PIECE * 2:
        return words(text, pause)
    found, start = [], 0
    while start < len(text):
        end = start + _PIECE
        if end < len(text):
            cuts = (pattern.search(text, end, end + _PIECE) for pattern in _BREAKS)
            end = next((cut.end() for cut in cuts if cut), end)
        found += words(text[start:end], pause)
        start = end
    return found


_thread = threading.local()


def let_go() -> None:
    """Let other threads run, if this one has worked for `HOLD_SECONDS` since it last did.

    Python takes the lock away from a thread after 5 ms only, and from fastText never. A sleep of no length gives the
    lock back before the thread that waits for it has woken up.
    """
    if time.perf_counter() - getattr(_thread, "since", 0.0) > HOLD_SECONDS:
        time.sleep(0.0001)
        _thread.since = time.perf_counter()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def _turn() -> asyncio.Lock:
    """What callers in the running event loop wait for, so that it never judges a thousand texts in one go."""
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())


@cache
def _scorer() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="safety")
