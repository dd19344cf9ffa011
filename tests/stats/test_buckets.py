"""Buckets of a logarithmic scale, and percentiles of counted values."""

import random

import pytest

from promptops.stats.buckets import ERROR, LEAST, bucket, middle
from promptops.stats.percentiles import counted_percentile, percentile


@pytest.mark.parametrize("value", [LEAST, 0.3, 1.0, 1.05, 9.99, 412.5, 30_000.0, 1e7])
def test_the_middle_of_a_bucket_is_close_to_its_values(value):
    assert abs(middle(bucket(value)) / value - 1) <= ERROR + 1e-9
    assert bucket(middle(bucket(value))) == bucket(value)


@pytest.mark.parametrize("value", [0.0, -1.0, LEAST / 2])
def test_values_below_the_least_count_as_the_least(value):
    assert bucket(value) == bucket(LEAST)


@pytest.mark.parametrize(
    ("values", "counted", "percent", "result"),
    [
        ([], {}, 50, None),
        ([3.0, 1.0, 2.0], {}, 50, 2.0),
        ([], {5.0: 3}, 95, 5.0),
        ([1.0], {5.0: 1}, 50, 1.0),
        ([1.0], {5.0: 2}, 50, 5.0),
        ([1.0, 9.0], {5.0: 98}, 50, 5.0),
        ([1.0, 9.0], {5.0: 98}, 100, 9.0),
        ([1.0, 9.0], {5.0: 98}, 0, 1.0),
    ],
)
def test_counted_values_take_part_in_a_percentile(values, counted, percent, result):
    assert counted_percentile(values, counted, percent) == result


def test_a_percentile_of_counted_values_is_that_of_the_values():
    generator = random.Random(4)
    values = [generator.choice([1.0, 2.0, 3.0, 5.0, 8.0]) for _ in range(200)]
    counted = {value: values[:120].count(value) for value in set(values[:120])}
    for percent in range(0, 101, 5):
        assert counted_percentile(values[120:], counted, percent) == percentile(values, percent)
