"""Precision and recall of thresholds on labeled texts: the rubric's held-out texts, and reviewed runs."""

from dataclasses import dataclass

from promptops.engine.safety.guard import SafetyCategory, SafetyLayer, let_go
from promptops.engine.safety.measures import margin
from promptops.engine.safety.normalize import words
from promptops.engine.safety.rubric import RUBRIC, read_rubric
from promptops.platform.caches import Cache
from promptops.runs.enums import SafetyReview
from promptops.runs.models import REVIEWED, SafetyCheck
from promptops.safety import guards
from promptops.safety.models import SafetyModelVersion
from promptops.safety.queries.past import Thresholds, blocking_category
from promptops.stats import charts

REVIEWS = 500
"""The newest reviewed verdicts that count as labeled texts."""

Labeled = tuple[bool, dict[str, float]]
"""A label (harmful or not) of a text, and its scores."""
_rubric_scores: Cache[list[Labeled]] = Cache(guards.MODELS_KEPT)


@dataclass(frozen=True)
class Point:
    """The effect of thresholds on the labeled texts. Shares are None without texts to count."""

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
    """Precision and recall on labeled texts: `rubric` held-out texts of the rubric, and `reviewed` texts of runs."""

    points: list[Point]
    plot: charts.Plot
    rubric: int
    reviewed: int


def quality(model: SafetyModelVersion, present: Thresholds, proposed: Thresholds) -> Quality | None:
    """Return the quality of both sets of thresholds; None while the model cannot be loaded. One query."""
    held_out = _held_out(model)
    if held_out is None:
        return None
    reviewed = _reviewed(model)
    labeled = held_out + reviewed
    points = [_point("Now", labeled, present)]
    if dict(proposed) != dict(present):
        points.append(_point("Proposed", labeled, proposed))
    spots = {
        point.name: (point.recall, point.precision)
        for point in points
        if point.recall is not None and point.precision is not None
    }
    return Quality(points, charts.plot(_curve(labeled, present), spots), len(held_out), len(reviewed))


def _held_out(model: SafetyModelVersion) -> list[Labeled] | None:
    if (cached := _rubric_scores.get(model.sha256)) is not None:
        return cached
    loaded, _ = guards.model_of(model).get()
    if loaded is None:
        return None
    labeled = []
    for row in read_rubric(RUBRIC, let_go):
        if row.held_out:
            scores = loaded.read(words(row.text, let_go), let_go).scores
            labeled.append((row.harmful, {name.value: score for name, score in scores.items()}))
    _rubric_scores.put(model.sha256, labeled)
    return labeled


def _reviewed(model: SafetyModelVersion) -> list[Labeled]:
    """Return this model's reviewed verdicts: the text of a right block or of a wrong pass is harmful.

    Verdicts on which two people disagree do not count.
    """
    checks = SafetyCheck.objects.filter(
        REVIEWED, model=model, layer__in=(SafetyLayer.MODEL, SafetyLayer.SENTENCES)
    ).order_by("-id")
    checks = checks.exclude(review=SafetyReview.DISPUTED)
    reviews = checks.values_list("decision", "review", "scores")[:REVIEWS]
    return [
        ((decision == "block") == (review == SafetyReview.RIGHT), scores)
        for decision, review, scores in reviews
        if scores
    ]


def _point(name: str, labeled: list[Labeled], thresholds: Thresholds) -> Point:
    counts = {(harmful, blocked): 0 for harmful in (True, False) for blocked in (True, False)}
    for harmful, scores in labeled:
        counts[harmful, bool(blocking_category(scores, thresholds))] += 1
    caught, missed = counts[True, True], counts[True, False]
    overblocked, passed = counts[False, True], counts[False, False]
    return Point(name, caught, caught + missed, overblocked, overblocked + passed)


def _curve(labeled: list[Labeled], thresholds: Thresholds) -> list[tuple[float, float]]:
    """Return recall and precision with all thresholds moved up or down together, from the highest to the lowest."""
    named = {SafetyCategory(name): value for name, value in thresholds.items()}
    heights = []
    for harmful, scores in labeled:
        known = {SafetyCategory(name): score for name, score in scores.items() if name in thresholds}
        if known:
            heights.append((margin(known, named), harmful))
    heights.sort(key=lambda pair: -pair[0])
    total = sum(harmful for _, harmful in heights)
    points, caught = [], 0
    for count, (_, harmful) in enumerate(heights, start=1):
        caught += harmful
        if total and harmful:
            points.append((caught / total, caught / count))
    return points
