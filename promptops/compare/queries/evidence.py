"""The evidence that a release keeps with its reason: the figures of the verdict page at that moment, in short."""

from typing import Any

from promptops.compare.models import Arm, Comparison
from promptops.compare.queries.arm_names import named_arms
from promptops.compare.queries.measures import measured
from promptops.compare.queries.verdicts import verdicts


def evidence_for(comparison: Comparison, arm: Arm) -> dict[str, Any]:
    """Return plain values: `arm` is its letter, `line` one sentence about it, `arms` the figures of all arms.

    Times are milliseconds. `cost` is USD for 1,000 answers, None without prices.
    """
    arms = named_arms(comparison)
    pairs = verdicts(comparison, arms).pairs
    lines = [pair.headline for pair in pairs if arm in (pair.first.arm, pair.second.arm) and pair.votes]
    return {
        "arm": arm.letter,
        "line": f"Arm {arm.letter}. {'; '.join(lines) or 'No votes'}.",
        "arms": [
            {
                "letter": row.arm.arm.letter,
                "label": row.arm.arm.label,
                "answered": row.answered,
                "failed": row.failed.count,
                "median_ms": row.p50,
                "cost": row.cost.value,
            }
            for row in measured(comparison, arms).arms
        ],
    }
