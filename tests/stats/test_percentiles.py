"""Percentiles by nearest rank."""

import pytest

from promptops.stats.percentiles import percentile


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([7], 95, 7),
        ([7], 0, 7),
        ([3, 1, 2], 50, 2),
        ([4, 3, 2, 1], 50, 2),
        (list(range(1, 101)), 95, 95),
        (list(range(1, 101)), 99, 99),
        (list(range(1, 21)), 95, 19),
        (list(range(1, 21)), 100, 20),
    ],
)
def test_percentiles(values, percent, expected) -> None:
    assert percentile(values, percent) == expected
