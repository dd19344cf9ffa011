"""Rates and means as the verdict page shows them: a figure with the number of votes or answers behind it.

The statistics themselves are in `promptops.stats`.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from promptops.stats.preference import Interval, share_of, share_of_means


@dataclass(frozen=True)
class Rate:
    """A share with its interval. It is a share of `of` votes or answers; `count` of these have the property."""

    share: Interval
    count: int
    of: int


@dataclass(frozen=True)
class Mean:
    """A mean of `of` answers; `value` is None if there are none."""

    value: float | None
    of: int


def rate_of_counts(counts: np.ndarray, of: np.ndarray) -> Rate:
    """Return the rate with the input as the unit: on each input, `counts` of `of` votes have the property."""
    known = of > 0
    votes = int(of.sum())
    return Rate(share_of_means(counts[known] / of[known], votes), int(counts.sum()), votes)


def rate_of_scores(scores: Iterable[tuple[int, float]]) -> Rate:
    """Return the mean of scores from 0 to 1 with the input as the unit; each score comes with the id of its input."""
    by_input: dict[int, list[float]] = defaultdict(list)
    for input_id, score in scores:
        by_input[input_id].append(score)
    every = [score for input_scores in by_input.values() for score in input_scores]
    return Rate(share_of(by_input), round(sum(every)), len(every))


def mean_of(values: Iterable[float | None]) -> Mean:
    """Return the mean of the values that are not None."""
    known = [value for value in values if value is not None]
    return Mean(fmean(known) if known else None, len(known))


def mean_of_sums(sums: Iterable[tuple[int | None, int]]) -> Mean:
    """Return the mean of values that are already added up in groups, each as (sum, count)."""
    pairs = [(total or 0, count) for total, count in sums]
    count = sum(count for _, count in pairs)
    return Mean(sum(total for total, _ in pairs) / count if count else None, count)
