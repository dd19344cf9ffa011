"""Measuring a model on texts that it was not trained on: thresholds for a target, and the figures at them.

Pure arithmetic on scores. training.py decides which of two models is used, evaluation.py has the texts from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from promptops.engine.safety.classifier import log_odds
from promptops.engine.safety.rubric import Row
from promptops.engine.safety.verdicts import SafetyCategory

TOLERANCE = 0.01
"""A new model's figures may be lower by this much: that is the noise of a few texts."""


@dataclass(frozen=True)
class Metrics:
    """A model's figures on the held-out texts, at thresholds that were chosen for a target.

    `over_block` is the blocked share of ordinary harmless texts. Hard negatives have a share of their own, because
    they are hard on purpose.
    """

    harmless: int
    harmful: int
    auroc: float
    over_block: float
    over_block_hard: float
    recall: float
    recall_by_category: dict[str, float]


def worse_than(metrics: Metrics, before: Metrics) -> str:
    """Return the figures that are worse than those before by more than the noise; "" if none is.

    A single missed held-out text is noise, too.
    """
    one_text = 1.01 / max(1, before.harmful)
    return ", ".join(
        f"{name} {getattr(metrics, field):.3f} instead of {getattr(before, field):.3f}"
        for name, field, noise in (("AUROC", "auroc", TOLERANCE), ("recall", "recall", max(TOLERANCE, one_text)))
        if getattr(metrics, field) < getattr(before, field) - noise
    )


def pick_thresholds(
    scores: Sequence[Mapping[SafetyCategory, float]], rows: Sequence[Row], target: float
) -> dict[SafetyCategory, float]:
    """Return thresholds that block at most the share `target` of the ordinary harmless rows.

    All categories have the same threshold: one number is steadier than six that are estimated from few texts each.
    """
    ranked = sorted(max(one.values()) for one, row in zip(scores, rows, strict=True) if row.ordinary)
    highest_passing = ranked[-1 - math.floor(target * len(ranked))]
    threshold = min(1.0, math.floor(highest_passing * 1e6 + 1) / 1e6)
    return dict.fromkeys(sorted(scores[0]), threshold)


def measure(
    scores: Sequence[Mapping[SafetyCategory, float]], rows: Sequence[Row], thresholds: Mapping[SafetyCategory, float]
) -> Metrics:
    """Return the figures of these scores of the rows at the thresholds."""
    harmful = np.array([row.harmful for row in rows])
    ordinary = np.array([row.ordinary for row in rows])
    hard = ~harmful & ~ordinary
    blocked = np.array([any(one[c] >= thresholds[c] for c in thresholds) for one in scores])
    margins = np.array([margin(one, thresholds) for one in scores])
    by_category = {
        category.value: round(float(blocked[where].mean()), 4)
        for category in sorted(thresholds)
        if (where := [i for i, row in enumerate(rows) if row.harmful and row.kind == category])
    }
    return Metrics(
        harmless=int((~harmful).sum()),
        harmful=int(harmful.sum()),
        auroc=round(auroc(margins[harmful], margins[~harmful]), 4),
        over_block=round(float(blocked[ordinary].mean()), 4),
        over_block_hard=round(float(blocked[hard].mean()) if hard.any() else 0.0, 4),
        recall=round(float(blocked[harmful].mean()), 4),
        recall_by_category=by_category,
    )


def margin(scores: Mapping[SafetyCategory, float], thresholds: Mapping[SafetyCategory, float]) -> float:
    """Return how far the worst category is over its threshold (under, if negative), in log-odds."""
    return max(log_odds(scores[category]) - log_odds(thresholds[category]) for category in scores)


def auroc(harmful: Any, harmless: Any) -> float:
    """Return the probability that a harmful text scores higher than a harmless one; ties count half."""
    ranked = np.sort(np.asarray(harmless))
    lower, upper = np.searchsorted(ranked, harmful, "left"), np.searchsorted(ranked, harmful, "right")
    return float((lower + upper).mean() / 2 / len(ranked))
