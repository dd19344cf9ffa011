"""What other thresholds or terms would have done with the runs that were: past texts with their scores, judged again.

Scores come from the verdicts that are kept with runs. Those of another model or from before the terms last changed,
and the words of texts, are made anew as they are needed, in the thread of the request, for a fraction of a second at a
time; the rest is told as waiting, and the next request goes on. What was made is kept in memory only, and never for a
run whose text was erased.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.db.models.functions import Left

from promptops.engine.safety.guard import (
    MAX_BYTES,
    SafetyCategory,
    SafetyGuard,
    SafetyLayer,
    SafetyVerdict,
    Terms,
    let_go,
    read_words,
    worst_of,
)
from promptops.engine.safety.measures import margin
from promptops.engine.safety.normalize import words
from promptops.engine.safety.rubric import RUBRIC, read_rubric
from promptops.runs.enums import SafetyReview, SafetySide
from promptops.runs.models import Run, SafetyCheck
from promptops.safety import guards
from promptops.safety.models import SafetyModelVersion, SafetySettings, SafetyTerm
from promptops.stats import charts

RUNS = 1_000
"""The newest runs that were judged and still have their text; only these are replayed."""
SHOWN = 50
HITS_SHOWN = 20
"""Of the runs that a term hits; each is judged twice."""
EXCERPT_CHARACTERS = 161
BUDGET_SECONDS = 0.05
"""For scoring beside what a person waits for."""
LONG_BUDGET_SECONDS = 0.5
"""For a request that is made to go on with scoring."""
REVIEWED = 500
"""The newest reviewed verdicts that count as labeled texts."""

Thresholds = Mapping[str, float]
T = TypeVar("T")


class _Kept(Generic[T]):
    """Things made of texts, the newest `size` of them; threads may share it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._found: OrderedDict[Any, T] = OrderedDict()

    def get(self, key: Any) -> T | None:
        return self._found.get(key)

    def put(self, key: Any, value: T) -> None:
        self._found[key] = value
        while len(self._found) > self._size:
            self._found.popitem(last=False)


DENIED, APART = "denied", "apart"
_Scored = tuple[str, dict[str, float]]  # "", DENIED or APART, and the scores
_scores: _Kept[_Scored] = _Kept(4 * RUNS)
_read: _Kept[str] = _Kept(3 * RUNS)
_rubric: _Kept[list[tuple[bool, dict[str, float]]]] = _Kept(guards.MODELS_KEPT)


@dataclass(frozen=True)
class Case:
    """One side of a past run and what the model scores it."""

    run_id: int
    side: str
    scores: Mapping[str, float]


@dataclass
class Past:
    """The runs that are replayed. `denied` have a text with a denied term, which no threshold changes; `apart` have
    one that no score decides otherwise: allow terms leave nothing of it, or nothing can judge it.

    `anew` are texts that are scored anew, since another model or other terms judged them then, and `waiting` those of
    them that are yet to be.
    """

    runs: int = 0
    cases: list[Case] = field(default_factory=list)
    denied: int = 0
    apart: int = 0
    anew: int = 0
    waiting: int = 0

    @property
    def scored(self) -> int:
        return self.anew - self.waiting


@dataclass(frozen=True)
class Text:
    """One text of a run, and its beginning as pages show it: "" when it is masked."""

    run: Run
    side: str

    @property
    def masked(self) -> bool:
        return bool(getattr(self.run, f"{self.side}_masked"))

    @property
    def excerpt(self) -> str:
        return "" if self.masked else getattr(self.run, f"{self.side}_excerpt")


@dataclass(frozen=True)
class Row(Text):
    """A text whose verdict other thresholds concern."""

    what: str  # new, gone, same
    category: str
    score: float
    threshold: float


@dataclass(frozen=True)
class Replay:
    """How many of the past runs would be blocked, with the thresholds as they are and as they are proposed."""

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
    """Judge the past runs by both sets of thresholds and the terms that hold. Two queries, and two more where texts are
    scored anew, for at most `budget` seconds."""
    past = _past(config, budget)
    found: dict[int, tuple[str, Case]] = {}
    before, after = set(), set()
    for case in past.cases:
        was, will = _worst(case.scores, present), _worst(case.scores, proposed)
        if was:
            before.add(case.run_id)
        if will:
            after.add(case.run_id)
        if will or (was and case.run_id not in found):
            found.setdefault(case.run_id, (will or was, case))
    order = {"new": 0, "gone": 1, "same": 2}

    def what(run_id: int) -> str:
        return "same" if run_id in before and run_id in after else "new" if run_id in after else "gone"

    chosen = sorted(found, key=lambda run_id: (order[what(run_id)], -run_id))[:SHOWN]
    runs = _with_excerpts(chosen)
    rows = []
    for run_id in chosen:
        category, case = found[run_id]
        if run := runs.get(run_id):
            rows.append(Row(run, case.side, what(run_id), category, case.scores[category], proposed.get(category, 1.0)))
    return Replay(past, len(before), len(after), len(after - before), len(before - after), rows)


def _worst(scores: Mapping[str, float], thresholds: Thresholds) -> str:
    """The category that blocks, as the guard chooses it; "" for none."""
    worst = worst_of(scores, thresholds)
    return worst if worst is not None and scores[worst] >= thresholds[worst] else ""


def _past(config: SafetySettings, budget: float) -> Past:
    names = ("id", "run_id", "side", "layer", "scores", "model_id", "at", "run__revision")
    checks = SafetyCheck.objects.filter(run__erased_at=None).order_by("-id").values_list(*names)[: 2 * RUNS]
    past, stale = Past(), []
    runs: set[int] = set()
    runs_by: dict[str, set[int]] = {DENIED: set(), APART: set()}
    for pk, run_id, side, layer, scores, model_id, at, revision in checks:
        if run_id not in runs and len(runs) == RUNS:
            continue
        runs.add(run_id)
        if revision < config.terms_revision or (model_id != config.model_id and layer in ("", SafetyLayer.MODEL)):
            stale.append((pk, run_id, side, at))
        elif layer == SafetyLayer.DENY_TERMS:
            runs_by[DENIED].add(run_id)
        elif scores and layer == SafetyLayer.MODEL:
            past.cases.append(Case(run_id, side, scores))
        else:
            runs_by[APART].add(run_id)
    if stale:
        _score_anew(config, stale, past, runs_by, budget)
    past.runs, past.denied = len(runs), len(runs_by[DENIED])
    past.apart = len(runs_by[APART] - runs_by[DENIED])
    return past


def _score_anew(
    config: SafetySettings,
    stale: list[tuple[int, int, str, datetime]],
    past: Past,
    runs_by: Mapping[str, set[int]],
    budget: float,
) -> None:
    """Add the cases of these checks as the model and the terms of now have them, as far as the time goes."""
    now = (config.model.sha256, config.terms_revision)
    found = {pk: _scores.get((pk, at, *now)) for pk, _, _, at in stale}
    missing = [(pk, run_id, side, at) for pk, run_id, side, at in stale if found[pk] is None]
    past.anew = len(stale)
    if missing:
        policy = guards.policy_of(config, list(SafetyTerm.objects.all()))
        guard, left = SafetyGuard(guards.model_of(config.model), policy), _Budget(budget)
        texts = _texts({run_id for _, run_id, _, _ in missing[:800]})
        for pk, run_id, side, at in missing:
            if left.over or (run_id, side) not in texts:
                past.waiting += 1
                continue
            fresh = found[pk] = _scored(guard.check_beside(texts[run_id, side]))
            _scores.put((pk, at, *now), fresh)
    for pk, run_id, side, _ in stale:
        if scored := found[pk]:
            what, scores = scored
            if what:
                runs_by[what].add(run_id)
            else:
                past.cases.append(Case(run_id, side, scores))


def _scored(verdict: SafetyVerdict) -> _Scored:
    if verdict.layer is SafetyLayer.DENY_TERMS:
        return DENIED, {}
    return ("" if verdict.scores else APART), {name.value: score for name, score in verdict.scores.items()}


class _Budget:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        return time.monotonic() > self._end


def _texts(run_ids: set[int]) -> dict[tuple[int, str], str]:
    found = {}
    for pk, given, answer in Run.objects.filter(pk__in=run_ids, erased_at=None).values_list("pk", "input", "output"):
        found[pk, SafetySide.INPUT.value] = given
        found[pk, SafetySide.OUTPUT.value] = answer
    return found


def _with_excerpts(run_ids: list[int]) -> dict[int, Run]:
    runs = Run.objects.filter(pk__in=run_ids, erased_at=None).defer("input", "output", "raw", "draft_body", "error")
    excerpts = {f"{side}_excerpt": Left(side, EXCERPT_CHARACTERS) for side in SafetySide.values}
    return {run.pk: run for run in runs.annotate(**excerpts)}


# ---------------------------------------------------------------------------------------------- terms


@dataclass(frozen=True)
class Hit(Text):
    """A text with a term in it, and what the filter says of it without and with the new terms."""

    term: str
    before: str  # a VerdictDecision
    after: str


@dataclass(frozen=True)
class Hits:
    """What terms hit: `count` of `runs`; `waiting` runs are yet to be read. `rows` are the newest of those hit."""

    runs: int
    count: int
    waiting: int
    rows: list[Hit]

    @property
    def unshown(self) -> int:
        return self.count - len(self.rows)


def hits(terms: Iterable[str], before: SafetyGuard, after: SafetyGuard, budget: float = LONG_BUDGET_SECONDS) -> Hits:
    """Where the terms stand in the newest runs, read for at most `budget` seconds. Four queries at most."""
    finder = Terms((term, None) for term in terms)
    newest = list(Run.objects.filter(erased_at=None).order_by("-id").values_list("pk", "at")[:RUNS])
    missing = [pk for pk, at in newest if _read.get((pk, at, SafetySide.INPUT)) is None]
    texts, left, waiting = _texts(set(missing[:400])), _Budget(budget), 0
    found: dict[int, tuple[str, str]] = {}
    for pk, at in newest:
        for side in SafetySide:
            text = _read.get((pk, at, side))
            if text is None:
                if left.over or (pk, side.value) not in texts:
                    waiting += 1
                    break
                text = _words(texts[pk, side.value])
                _read.put((pk, at, side), text)
            if pk not in found and (hit := finder.first_in(text.split())):
                found[pk] = (side.value, hit[0])
    chosen = list(found)[:HITS_SHOWN]
    runs, texts = _with_excerpts(chosen), _texts(set(chosen)) if chosen else {}
    rows = []
    for pk in chosen:
        side_name, term = found[pk]
        if pk in runs and (pk, side_name) in texts:
            text = texts[pk, side_name]
            decisions = [guard.check_beside(text).decision.value for guard in (before, after)]
            rows.append(Hit(runs[pk], side_name, term, *decisions))
    return Hits(len(newest), len(found), waiting, rows)


def _words(text: str) -> str:
    """The words as the filter reads them; none of a text that it refuses for its size, which terms never see."""
    return " ".join(read_words(text, let_go)) if len(text.encode(errors="replace")) <= MAX_BYTES else ""


# ---------------------------------------------------------------------------------------------- labeled texts


@dataclass(frozen=True)
class Point:
    """What thresholds do with the labeled texts. Shares are None where there is nothing to take one of."""

    name: str
    caught: int
    harmful: int
    overblocked: int
    harmless: int

    @property
    def recall(self) -> float | None:
        return self.caught / self.harmful if self.harmful else None

    @property
    def precision(self) -> float | None:
        blocked = self.caught + self.overblocked
        return self.caught / blocked if blocked else None


@dataclass(frozen=True)
class Quality:
    """Precision and recall on labeled texts: those of the rubric that are never trained on, and reviewed runs."""

    points: list[Point]
    plot: charts.Plot
    rubric: int
    reviewed: int


def quality(model: SafetyModelVersion, present: Thresholds, proposed: Thresholds) -> Quality | None:
    """How good both sets of thresholds are; None while the model cannot be loaded. One query."""
    held = _held_out(model)
    if held is None:
        return None
    reviewed = _reviewed(model)
    labeled = held + reviewed
    points = [_point("Now", labeled, present)]
    if dict(proposed) != dict(present):
        points.append(_point("Proposed", labeled, proposed))
    spots = {
        point.name: (point.recall, point.precision)
        for point in points
        if point.recall is not None and point.precision is not None
    }
    return Quality(points, charts.plot(_curve(labeled, present), spots), len(held), len(reviewed))


def _held_out(model: SafetyModelVersion) -> list[tuple[bool, dict[str, float]]] | None:
    if (kept := _rubric.get(model.sha256)) is not None:
        return kept
    loaded, _ = guards.model_of(model).get()
    if loaded is None:
        return None
    found = []
    for row in read_rubric(RUBRIC, let_go):
        if row.held_out:
            scores = loaded.read(words(row.text, let_go), let_go).scores
            found.append((row.harmful, {name.value: score for name, score in scores.items()}))
    _rubric.put(model.sha256, found)
    return found


def _reviewed(model: SafetyModelVersion) -> list[tuple[bool, dict[str, float]]]:
    """Reviewed verdicts of this model: a block that is right, or a pass that is wrong, was of a harmful text."""
    checks = SafetyCheck.objects.filter(model=model, layer=SafetyLayer.MODEL).exclude(review="").order_by("-id")
    found = checks.values_list("decision", "review", "scores")[:REVIEWED]
    return [
        ((decision == "block") == (review == SafetyReview.RIGHT), scores)
        for decision, review, scores in found
        if scores
    ]


def _point(name: str, labeled: list[tuple[bool, dict[str, float]]], thresholds: Thresholds) -> Point:
    counts = {(harmful, blocked): 0 for harmful in (True, False) for blocked in (True, False)}
    for harmful, scores in labeled:
        counts[harmful, bool(_worst(scores, thresholds))] += 1
    caught, missed = counts[True, True], counts[True, False]
    overblocked, passed = counts[False, True], counts[False, False]
    return Point(name, caught, caught + missed, overblocked, overblocked + passed)


def _curve(labeled: list[tuple[bool, dict[str, float]]], thresholds: Thresholds) -> list[tuple[float, float]]:
    """Recall and precision with all thresholds moved up or down together, from the strictest to the laxest."""
    named = {SafetyCategory(name): value for name, value in thresholds.items()}
    heights = []
    for harmful, scores in labeled:
        known = {SafetyCategory(name): score for name, score in scores.items() if name in thresholds}
        if known:
            heights.append((margin(known, named), harmful))
    heights.sort(key=lambda pair: -pair[0])
    total = sum(harmful for _, harmful in heights)
    found, caught = [], 0
    for place, (_, harmful) in enumerate(heights, start=1):
        caught += harmful
        if total and harmful:
            found.append((caught / total, caught / place))
    return found
