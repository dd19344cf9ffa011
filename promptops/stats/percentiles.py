"""Percentiles of a list of values. Uses only the standard library, so that the engine can import it."""

import math
from collections.abc import Mapping, Sequence


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the percentile by nearest rank: the sorted value number ceil(n * percent / 100), at least the first.

    `percent` is 0 to 100. Returns None without values. Source: Hyndman and Fan 1996, "Sample Quantiles in Statistical
    Packages", definition 1.
    """
    if not values:
        return None
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


def counted_percentile(values: Sequence[float], counted: Mapping[float, int], percent: float) -> float | None:
    """Return the percentile of `values` and of `counted` together, which maps a value to how often it occurs."""
    if not counted:
        return percentile(values, percent)
    pairs = sorted([*((value, 1) for value in values), *counted.items()])
    rank = max(1, math.ceil(sum(count for _, count in pairs) * percent / 100))
    for value, count in pairs:
        rank -= count
        if rank <= 0:
            return value
    return None
