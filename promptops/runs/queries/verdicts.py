"""The safety filter's verdicts on one run, beside the thresholds of its revision.

Conditions on many runs are in `runs.queries.outcomes`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from promptops.engine.safety.guard import SafetyCategory
from promptops.ledger.configurations import DamagedConfiguration
from promptops.ledger.models import Release


@dataclass(frozen=True)
class ScoreRow:
    """A category's score and its threshold. Without a threshold the category never blocks."""

    category: str
    score: float
    threshold: float | None

    @property
    def over(self) -> bool:
        return self.threshold is not None and self.score >= self.threshold


def score_rows(scores: Mapping[str, float], thresholds: Mapping[str, float], decided: str = "") -> list[ScoreRow]:
    """Return scores with their thresholds: first the category that decided, then the closest to its threshold."""
    rows = [ScoreRow(name, score, thresholds.get(name)) for name, score in scores.items()]
    return sorted(rows, key=lambda row: (row.category != decided, -row.score / (row.threshold or 1)))


def thresholds_at(revision: int) -> dict[str, float]:
    """Return the thresholds of a revision by category; none if its configuration was not kept or is damaged."""
    release = Release.objects.filter(revision=revision).only("packed_configuration", "changes_since").first()
    try:
        configuration = release and release.configuration
    except DamagedConfiguration:  # the page of the revision says so
        configuration = None
    safety = (configuration or {}).get("safety", {})
    return {category.value: safety[name] for category in SafetyCategory if (name := f"{category.value}_from") in safety}
