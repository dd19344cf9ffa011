"""Values as people read them, by the table that the browser's functions keep, too (tests/js/format.test.mjs)."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from promptops.texts import formats

CASES = json.loads((Path(__file__).parents[1] / "data" / "formats.json").read_text())
NOW = datetime(2026, 11, 22, 14, 32, 5, tzinfo=UTC)


def test_each_kind_of_value_has_cases():
    of_charts = {"axis", "in_unit"}
    functions = {name for name, each in vars(formats).items() if getattr(each, "__module__", "") == formats.__name__}
    assert {name for name in functions if name[0] != "_"} - of_charts - {"date", "zone", "iso_time"} == set(CASES)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [(kind, *case) for kind, cases in CASES.items() if not kind.endswith("_time") for case in cases],
)
def test_values(kind, value, words):
    assert getattr(formats, kind)(value) == words


@pytest.mark.parametrize(("moment", "zone", "words"), CASES["exact_time"])
def test_exact_times(moment, zone, words):
    assert formats.exact_time(datetime.fromisoformat(moment).astimezone(ZoneInfo(zone))) == words


@pytest.mark.parametrize(("seconds", "words"), CASES["relative_time"])
def test_relative_times(seconds, words):
    assert formats.relative_time(NOW - timedelta(seconds=seconds), NOW) == words


@pytest.mark.parametrize(
    ("values", "unit", "labels"),
    [
        ([0, 500, 1000], "ms", ["0.0 s", "0.5 s", "1.0 s"]),
        ([0, 200, 400], "ms", ["0 ms", "200 ms", "400 ms"]),
        ([0, 0.00002, 0.00004], "usd", ["$0.00000", "$0.00002", "$0.00004"]),
        ([0, 0.5, 1], "usd", ["$0.00", "$0.50", "$1.00"]),
        ([0, 50, 100], "percent", ["0%", "50%", "100%"]),
        ([0, 1000, 2000], "count", ["0", "1,000", "2,000"]),
    ],
)
def test_the_marks_of_an_axis_have_one_unit_and_the_same_decimals(values, unit, labels):
    assert formats.axis(values, unit) == labels
