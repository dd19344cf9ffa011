"""The geometry of charts, computed from numbers. Templates draw it as SVG; units and words do not belong here."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

# The size of a line chart and the margins of its axes, in the units of its viewBox.
WIDTH, HEIGHT = 320, 120
LEFT, RIGHT, TOP, BOTTOM = 30, 8, 8, 20
CHARACTER, GAP = 6.2, 8
"""The width of a digit of a label, and the space around a label."""
MAX_STEPS = 3


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its position in the units of the chart, the value there, and its label."""

    at: float
    value: float
    label: str = ""


@dataclass(frozen=True)
class Line:
    """One line: SVG path data of the line and of the area below it; `dots` are points without a neighbor.

    `low`, `high` and `last` are the smallest, largest and last values, None without values.
    """

    name: str
    path: str
    area: str
    dots: list[tuple[float, float]]
    low: float | None
    high: float | None
    last: float | None


@dataclass(frozen=True)
class Chart:
    """Lines over the same steps; `ticks` is the axis of values, from 0 upwards. `left` makes room for its labels."""

    lines: list[Line]
    ticks: list[Tick]
    left: float = LEFT
    width: int = WIDTH
    height: int = HEIGHT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2

    @property
    def label_end(self) -> float:
        """Return the right end of the labels of the axis."""
        return self.left - GAP / 2


def ticks(largest: float, *, whole: bool = False) -> list[float]:
    """Return at most four round values from 0 to at least `largest`, in steps of 1, 2 or 5 times a power of ten.

    With `whole`, the values are whole numbers. If `largest` is 0 or less, the axis is [0, 1].
    """
    if largest <= 0:
        return [0, 1]
    rough = largest / MAX_STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    if whole:
        step = max(1, round(step))
    count = max(1, math.ceil(largest / step - 1e-9))
    return [round(number * step, 12) for number in range(count + 1)]


@dataclass(frozen=True)
class Area:
    """The rectangle that lines are drawn in. `largest` is the value at its upper edge, 0 the one at the lower."""

    left: float
    top: float
    right: float
    bottom: float
    largest: float

    def y(self, value: float) -> float:
        return round(self.bottom - (self.bottom - self.top) * value / self.largest, 1)


def lines(
    series: dict[str, Sequence[float | None]],
    *,
    whole: bool = False,
    labels: Callable[[Sequence[float]], Sequence[str]] = lambda marks: list(map("{:g}".format, marks)),
) -> Chart:
    """Return a chart of series of the same length; None is a gap in the line. `labels` words the marks of the axis."""
    known = [value for values in series.values() for value in values if value is not None]
    marks = ticks(max(known, default=0), whole=whole)
    words = labels(marks)
    left = max(LEFT, round(GAP + CHARACTER * max(map(len, words)), 1))
    box = Area(left, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM, marks[-1])
    return Chart(
        [_line(name, values, box) for name, values in series.items()],
        [Tick(box.y(mark), mark, word) for mark, word in zip(marks, words, strict=True)],
        left,
    )


SPARK_WIDTH, SPARK_HEIGHT = 120, 24


def sparkline(values: Sequence[float | None]) -> Line | None:
    """Return a small line without axes from 0 to its largest value, in a box of SPARK_WIDTH by SPARK_HEIGHT.

    Without any value there is none.
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    top = max(known) or 1
    return _line("", values, Area(2, 2, SPARK_WIDTH - 2, SPARK_HEIGHT - 2, top))


def _line(name: str, values: Sequence[float | None], area: Area) -> Line:
    step = (area.right - area.left) / max(1, len(values) - 1)
    pieces: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((round(area.left + index * step, 1), area.y(value)))
    drawn = [piece for piece in pieces if len(piece) > 1]
    known = [value for value in values if value is not None]
    return Line(
        name=name,
        path="".join(_path(piece) for piece in drawn),
        area="".join(f"{_path([(piece[0][0], area.bottom), *piece, (piece[-1][0], area.bottom)])}Z" for piece in drawn),
        dots=[piece[0] for piece in pieces if len(piece) == 1],
        low=min(known, default=None),
        high=max(known, default=None),
        last=known[-1] if known else None,
    )


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points)


@dataclass(frozen=True)
class Segment:
    """A part of a bar: `x` and `width` in percent of the whole, `length` in the unit of the data."""

    name: str
    length: float
    x: float
    width: float


def segments(marks: Sequence[tuple[str, float]], start: float, total: float) -> list[Segment]:
    """Return the parts of a bar that begins at `start`; each mark is the name of a part and its end.

    Empty parts are left out. A mark that is smaller than the one before it counts as equal, so that nothing overlaps.
    """
    parts = []
    ends = [start]
    for _, end in marks:
        ends.append(max(ends[-1], end))
    for (name, _), (begin, end) in zip(marks, pairwise(ends), strict=True):
        if end > begin:
            parts.append(
                Segment(name, end - begin, round(100 * begin / total, 2), round(100 * (end - begin) / total, 2))
            )
    return parts


# The size of a plot of two shares in the units of its viewBox.
PLOT_WIDTH, PLOT_HEIGHT = 420, 260
PLOT_LEFT, PLOT_RIGHT, PLOT_TOP, PLOT_BOTTOM = 46, 14, 12, 40


@dataclass(frozen=True)
class Spot:
    """A named point of a plot, in the units of the chart."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Plot:
    """A curve of two shares with named points; both axes go from 0 to 1."""

    path: str
    spots: list[Spot]
    across: list[Tick]
    up: list[Tick]
    width: int = PLOT_WIDTH
    height: int = PLOT_HEIGHT
    left: int = PLOT_LEFT
    right: int = PLOT_WIDTH - PLOT_RIGHT
    top: int = PLOT_TOP
    bottom: int = PLOT_HEIGHT - PLOT_BOTTOM
    middle: float = (PLOT_LEFT + PLOT_WIDTH - PLOT_RIGHT) / 2


def plot(points: Sequence[tuple[float, float]], spots: dict[str, tuple[float, float]]) -> Plot:
    """Return the plot of a curve through `points` with the named `spots`; both are (horizontal, vertical) shares."""

    def x(share: float) -> float:
        return round(PLOT_LEFT + (PLOT_WIDTH - PLOT_LEFT - PLOT_RIGHT) * share, 1)

    def y(share: float) -> float:
        return round(PLOT_HEIGHT - PLOT_BOTTOM - (PLOT_HEIGHT - PLOT_BOTTOM - PLOT_TOP) * share, 1)

    marks = [0, 0.25, 0.5, 0.75, 1]
    return Plot(
        path=_path([(x(across), y(up)) for across, up in points]) if points else "",
        spots=[Spot(name, x(across), y(up)) for name, (across, up) in spots.items()],
        across=[Tick(x(mark), 100 * mark) for mark in marks],
        up=[Tick(y(mark), 100 * mark) for mark in marks],
    )


@dataclass(frozen=True)
class Box:
    """The spread of values, in percent of an axis from 0.

    The box from `x` with `width` is the middle half, `middle` the median. The line goes from `low`, the 5th percentile,
    to `high`, the 95th; `far` is the 99th.
    """

    low: float
    x: float
    width: float
    middle: float
    high: float
    far: float


def boxes(series: Sequence[Sequence[float]]) -> tuple[list[Box | None], list[Tick]]:
    """Return a box for each series on one axis (None without values), and the marks of the axis."""
    largest = max((_rank(sorted(values), 0.99) for values in series if values), default=0)
    marks = ticks(largest)
    return [_box(sorted(values), marks[-1]) if values else None for values in series], [
        Tick(round(100 * mark / marks[-1], 2), mark) for mark in marks
    ]


def _box(values: Sequence[float], top: float) -> Box:
    low, start, middle, end, high, far = (
        round(100 * _rank(values, share) / top, 2) for share in (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    )
    return Box(low, start, round(end - start, 2), middle, high, far)


def _rank(values: Sequence[float], share: float) -> float:
    """The smallest of the sorted values that at least this share of them does not exceed."""
    return values[max(1, math.ceil(len(values) * share - 1e-9)) - 1]
