"""Buckets of a logarithmic scale: counts that can be added up, and whose percentiles keep a stated error.

A bucket is 5% wide, so a value and the middle of its bucket differ by at most 2.5%. The idea is that of DDSketch
(Masson, Rim and Lee 2019), without its limit on the number of buckets.
"""

import math

GROWTH = 1.05
LEAST = 0.01
"""Smaller values count as this."""
ERROR = math.sqrt(GROWTH) - 1
"""The largest relative difference between a value of at least LEAST and the middle of its bucket."""


def bucket(value: float) -> int:
    """Return the number of the value's bucket."""
    return math.floor(math.log(max(value, LEAST), GROWTH))


def middle(number: int) -> float:
    """Return the middle of a bucket."""
    return float(GROWTH ** (number + 0.5))
