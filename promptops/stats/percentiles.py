"""Percentiles. Pure: only the standard library, so that the engine may use it too."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the smallest value that at least `percent` (0 to 100) of all do not exceed (nearest rank).

    `None` without values.
    """
    if not values:
        return None
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
