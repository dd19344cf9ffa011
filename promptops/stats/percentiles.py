"""Percentiles of a list of values. Uses only the standard library, so that the engine can import it."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the percentile by nearest rank: the sorted value number ceil(n * percent / 100), at least the first.

    `percent` is 0 to 100. Returns None without values. Source: Hyndman and Fan 1996, "Sample Quantiles in Statistical
    Packages", definition 1.
    """
    if not values:
        return None
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
