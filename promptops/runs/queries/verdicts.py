"""The safety filter's verdicts on one run, beside the thresholds of its revision."""

from collections.abc import Mapping
from dataclasses import dataclass

from promptops.engine.safety.guard import SafetyCategory
from promptops.ledger.models import Release


@dataclass(frozen=True)
class ScoreRow:
    """A category's score beside its threshold; without one it never blocks."""

    category: str
    score: float
    threshold: float | None

    @property
    def over(self) -> bool:
        return self.threshold is not None and self.score >= self.threshold


def score_rows(scores: Mapping[str, float], thresholds: Mapping[str, float], decided: str = "") -> list[ScoreRow]:
    """Scores by category beside their thresholds: first the one that decided, then what comes closest to its own."""
    rows = [ScoreRow(name, score, thresholds.get(name)) for name, score in scores.items()]
    return sorted(rows, key=lambda row: (row.category != decided, -row.score / (row.threshold or 1)))


def thresholds_at(revision: int) -> dict[str, float]:
    """The thresholds of a revision by category; empty where its configuration was not kept."""
    kept = Release.objects.filter(revision=revision).values_list("configuration", flat=True).first() or {}
    told = kept.get("safety", {})
    return {category.value: told[name] for category in SafetyCategory if (name := f"{category.value}_from") in told}
