"""The geometry of charts: from numbers to SVG path data and percent."""

import pytest

from promptops.stats import charts


@pytest.mark.parametrize(
    ("largest", "whole", "expected"),
    [
        (0, False, [0, 1]),
        (1, True, [0, 1]),
        (2, True, [0, 1, 2]),
        (7, True, [0, 5, 10]),
        (100, False, [0, 50, 100]),
        (0.3, False, [0, 0.1, 0.2, 0.3]),
        (1900, False, [0, 1000, 2000]),
        (0.00042, False, [0, 0.0002, 0.0004, 0.0006]),
    ],
)
def test_the_axis_has_round_values(largest, whole, expected):
    assert charts.ticks(largest, whole=whole) == expected


@pytest.mark.parametrize("exponent", range(-6, 7))
@pytest.mark.parametrize("factor", [1, 1.01, 2.5, 3, 3.01, 6, 9.99])
def test_the_axis_reaches_the_largest_value_in_few_steps(factor, exponent):
    largest = factor * 10.0**exponent
    marks = charts.ticks(largest)
    assert marks[-1] >= largest * (1 - 1e-6)
    assert 2 <= len(marks) <= 4


def test_a_gap_splits_the_line_and_a_single_point_is_a_dot():
    [line] = charts.lines({"p50": [10, 20, None, 5, None]}).lines
    assert line.path.count("M") == 1
    assert line.path.startswith(f"M{charts.LEFT},")
    assert line.area.endswith("Z")
    assert len(line.dots) == 1
    assert (line.low, line.high, line.last) == (5, 20, 5)


def test_lines_stay_inside_the_chart():
    chart = charts.lines({"a": [0, 3, 9], "b": [1, 1, 1]})
    assert [tick.value for tick in chart.ticks] == [0, 5, 10]
    assert (chart.ticks[0].at, chart.ticks[-1].at) == (charts.HEIGHT - charts.BOTTOM, charts.TOP)
    last_x, _ = chart.lines[0].path.rsplit("L", 1)[1].split(",")
    assert float(last_x) == charts.WIDTH - charts.RIGHT


def test_a_chart_of_nothing_is_an_empty_axis():
    [line] = charts.lines({"a": [None, None]}).lines
    assert (line.path, line.area, line.dots, line.high) == ("", "", [], None)


@pytest.mark.parametrize(
    ("marks", "start", "expected"),
    [
        ([("queued", 100), ("waiting", 400)], 0, [("queued", 100, 0, 10), ("waiting", 300, 10, 30)]),
        ([("queued", 100), ("waiting", 400)], 100, [("waiting", 300, 10, 30)]),
        ([("waiting", 400), ("streaming", 300)], 0, [("waiting", 400, 0, 40)]),
        ([("queued", 0)], 0, []),
    ],
)
def test_a_bar_is_divided_at_its_marks(marks, start, expected):
    parts = charts.segments(marks, start, 1000)
    assert [(each.name, each.length, each.x, each.width) for each in parts] == expected


def test_a_plot_of_two_shares():
    plot = charts.plot([(0, 1), (1, 0)], {"Now": (0.5, 0.5)})
    assert plot.path == f"M{plot.left},{plot.top}L{plot.right},{plot.bottom}"
    assert (plot.spots[0].x, plot.spots[0].y) == (plot.middle, (plot.top + plot.bottom) / 2)
    assert [tick.value for tick in plot.up] == [0, 25, 50, 75, 100]
    assert charts.plot([], {}).path == ""
