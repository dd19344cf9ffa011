"""Figures of each operation over time: runs, fallback, errors, latency and cost. Deleted runs count by their totals.

Figures of each provider are in `runs.queries.provider_figures`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any

from django.db.models import Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from promptops.live import polling
from promptops.platform.at_once import rows_at_once
from promptops.platform.caches import Shared
from promptops.prompts.queries import operations
from promptops.runs.enums import RunSource, RunStatus
from promptops.runs.models import Attempt, Run, RunTotals
from promptops.stats import charts
from promptops.stats.buckets import middle
from promptops.stats.percentiles import counted_percentile
from promptops.texts.formats import axis

# The choices of hours, each with the minutes of one step of its charts.
STEP_MINUTES = {1: 5, 24: 60, 168: 360}
DEFAULT_HOURS = 24
# Reading this many runs takes a tenth of a second.
MAX_RUNS = 20_000
TOKENS = Coalesce(Sum("input_tokens"), 0) + Coalesce(Sum("output_tokens"), 0)
LIVING_HOURS = 24
"""No younger run is deleted."""
NOT_COUNTED = [RunSource.TEST, RunSource.COMPARISON]
NOT_ANSWERED = (RunStatus.CANCELED, RunStatus.BLOCKED)
DENSE_FROM = 4
SHARED_SECONDS = 5
"""Pages of one role after the other ask for the same figures after a hint."""

AXES = {unit: partial(axis, unit=unit) for unit in ("count", "percent", "ms", "usd")}


@dataclass(frozen=True)
class Rate:
    """`part` of `whole`. `share` (0 to 1) and `percent` (0 to 100) are None if `whole` is 0."""

    part: int
    whole: int

    @property
    def share(self) -> float | None:
        return self.part / self.whole if self.whole else None

    @property
    def percent(self) -> float | None:
        return None if self.share is None else 100 * self.share


@dataclass
class Tally:
    """Counts of some runs. `latencies` (ms) are those of runs that were not canceled or blocked.

    `deleted_latencies` are those of deleted runs, each with its number of runs, to `stats.buckets.ERROR`.
    `unchanged` are the runs that nobody answered and whose input went on; `failed` are the others without an answer.
    """

    runs: int = 0
    answered: int = 0
    fallbacks: int = 0
    failed: int = 0
    unchanged: int = 0
    latencies: list[float] = field(default_factory=list)
    deleted_latencies: Counter[float] = field(default_factory=Counter)
    cost: float | None = None
    cost_estimated: bool = False

    def add(self, status: str, fallback: bool, latency_ms: float, cost: float | None, estimated: bool) -> None:
        """Count one run."""
        self.runs += 1
        if cost is not None:
            self.cost = (self.cost or 0) + cost
            self.cost_estimated |= estimated
        if status in NOT_ANSWERED:
            return
        self.latencies.append(latency_ms)
        if status == RunStatus.FAILED:
            self.failed += 1
        elif status == RunStatus.UNCHANGED:
            self.unchanged += 1
        else:
            self.answered += 1
            self.fallbacks += fallback

    def add_deleted(self, totals: Mapping[str, Any]) -> None:
        """Count deleted runs by their totals."""
        self.runs += totals["runs"]
        if totals["cost"] is not None:
            self.cost = (self.cost or 0) + totals["cost"]
            self.cost_estimated |= totals["cost_estimated"] > 0
        if totals["status"] in NOT_ANSWERED:
            return
        for place, count in totals["latencies"].items():
            self.deleted_latencies[middle(int(place))] += count
        if totals["status"] == RunStatus.FAILED:
            self.failed += totals["runs"]
        elif totals["status"] == RunStatus.UNCHANGED:
            self.unchanged += totals["runs"]
        else:
            self.answered += totals["runs"]
            self.fallbacks += totals["fallbacks"]

    @property
    def fallback(self) -> Rate:
        """Return the share of answers that came from a fallback."""
        return Rate(self.fallbacks, self.answered)

    @property
    def errors(self) -> Rate:
        """Return the share of runs that no provider answered, without those that were canceled or blocked."""
        unanswered = self.failed + self.unchanged
        return Rate(unanswered, unanswered + self.answered)

    @property
    def p50(self) -> float | None:
        return counted_percentile(self.latencies, self.deleted_latencies, 50)

    @property
    def p95(self) -> float | None:
        return counted_percentile(self.latencies, self.deleted_latencies, 95)


@dataclass(frozen=True)
class OperationFigures:
    """The figures of one operation: in total, by step, and as charts. `cost` is None without prices."""

    operation: str
    total: Tally
    steps: list[tuple[datetime, Tally]]
    runs: charts.Chart
    shares: charts.Chart
    latency: charts.Chart
    cost: charts.Chart | None

    @property
    def lately(self) -> Rate:
        """Return the errors of the last two steps; those of all steps if the last two have no answers."""
        errors = [tally.errors for _, tally in self.steps[-2:]]
        rate = Rate(sum(each.part for each in errors), sum(each.whole for each in errors))
        return rate if rate.whole else self.total.errors


@dataclass(frozen=True)
class Figures:
    """The figures since `start`. `capped` means that they have only the newest MAX_RUNS runs, and begin with these."""

    hours: int
    start: datetime
    capped: bool
    operations: list[OperationFigures]

    @property
    def choices(self) -> list[int]:
        return list(STEP_MINUTES)

    @property
    def step_minutes(self) -> int:
        return STEP_MINUTES[self.hours]

    @property
    def max_runs(self) -> int:
        return MAX_RUNS

    @property
    def runs(self) -> int:
        return sum(figures.total.runs for figures in self.operations)

    @property
    def cost(self) -> float | None:
        """Return the cost of all runs in USD; None without prices."""
        costs = [figures.total.cost for figures in self.operations if figures.total.cost is not None]
        return sum(costs) if costs else None

    @cached_property
    def tokens(self) -> int:
        """Return the tokens of input and output of all calls, in one query, or two if runs are deleted."""
        calls = Attempt.objects.filter(run__at__gte=self.start, run__drill="").exclude(run__source__in=NOT_COUNTED)
        count: int = calls.aggregate(count=TOKENS)["count"]
        if not self.capped and self.hours > LIVING_HOURS:
            deleted = RunTotals.objects.filter(hour__gte=self.start, is_drill=False).exclude(source__in=NOT_COUNTED)
            count += deleted.aggregate(count=TOKENS)["count"]
        return count

    @property
    def cost_estimated(self) -> bool:
        return any(figures.total.cost_estimated for figures in self.operations)

    @property
    def is_dense(self) -> bool:
        """Return whether there are so many operations that the page shows them in two columns."""
        return len(self.operations) > DENSE_FROM

    @property
    def idle(self) -> list[str]:
        """Return the names of the operations without runs."""
        return [figures.operation for figures in self.operations if not figures.total.runs]

    @property
    def times(self) -> list[datetime]:
        """Return the starts of the first, the middle and the last step, for the labels of the axis."""
        steps = [at for at, _ in self.operations[0].steps]
        return [steps[0], steps[(len(steps) - 1) // 2], steps[-1]]


_shared: Shared[Figures] = Shared(size=2 * len(STEP_MINUTES), seconds=SHARED_SECONDS)
forget = _shared.forget


def figures(hours: int) -> Figures:
    """Return the figures of about the last `hours` (a key of STEP_MINUTES). All who ask share them until they change.

    All steps are whole, except the last. Drills, comparisons and provider tests do not count. Canceled runs count only
    as runs and in the cost.
    """
    times = step_starts(timezone.now(), hours)
    heads = polling.heads()
    return _shared.get((hours, times[0], heads.epoch, *sorted(heads.items())), lambda: _read(hours, times))


def _read(hours: int, times: list[datetime]) -> Figures:
    """Read the figures from the start of the first step on, in one query, or two if runs are deleted."""
    step = timedelta(minutes=STEP_MINUTES[hours])
    runs = Run.objects.filter(at__gte=times[0], drill="").exclude(source__in=NOT_COUNTED).order_by("-at")
    columns = ("at", "operation", "status", "fallback_used", "latency_ms", "cost", "cost_estimated")
    rows = rows_at_once(runs[: MAX_RUNS + 1], *columns)
    capped = len(rows) > MAX_RUNS
    rows = rows[:MAX_RUNS]
    named = dict.fromkeys(spec.name for spec in operations.live_operations())
    totals = {name: Tally() for name in named | dict.fromkeys(row[1] for row in rows)}  # some may be archived by now
    tallies = {operation: [Tally() for _ in times] for operation in totals}
    for at, operation, *ran in rows:
        place = min((at - times[0]) // step, len(times) - 1)
        totals[operation].add(*ran)
        tallies[operation][place].add(*ran)
    if not capped and hours > LIVING_HOURS:
        for deleted in _deleted_since(times[0], totals):
            totals[deleted["operation"]].add_deleted(deleted)
            tallies[deleted["operation"]][(deleted["hour"] - times[0]) // step].add_deleted(deleted)
    if capped:
        first = max(0, (rows[-1][0] - times[0]) // step)
        times = times[first:]
        tallies = {operation: counted[first:] for operation, counted in tallies.items()}
    return Figures(
        hours=hours,
        start=rows[-1][0] if capped else times[0],
        capped=capped,
        operations=[_drawn(operation, totals[operation], times, tallies[operation]) for operation in totals],
    )


def _deleted_since(start: datetime, names_of_operations: Collection[str]) -> Iterable[dict[str, Any]]:
    """Return the totals of the deleted runs of some operations that count, from an hour on."""
    deleted = RunTotals.objects.filter(hour__gte=start, is_drill=False, operation__in=names_of_operations)
    names = ("hour", "operation", "status", "runs", "fallbacks", "cost", "cost_estimated", "latencies")
    return deleted.exclude(source__in=NOT_COUNTED).values(*names)


def step_starts(now: datetime, hours: int) -> list[datetime]:
    """Return the start of each step up to the current one, on round times of the reader's clock.

    Round times keep the points of a chart in place when it is drawn again a little later. Long steps begin
    with an hour of UTC, as totals do; a clock that is half an hour apart from it shows them at half past.
    """
    step = STEP_MINUTES[hours] * 60
    offset = (timezone.localtime(now).utcoffset() or timedelta()).total_seconds()
    if hours > LIVING_HOURS:
        offset -= offset % 3600
    last = (now.timestamp() + offset) // step * step - offset
    count = hours * 3600 // step
    return [datetime.fromtimestamp(last - step * back, UTC) for back in range(count - 1, -1, -1)]


def _drawn(operation: str, total: Tally, times: list[datetime], tallies: list[Tally]) -> OperationFigures:
    costs = [tally.cost or 0 for tally in tallies]
    return OperationFigures(
        operation=operation,
        total=total,
        steps=list(zip(times, tallies, strict=True)),
        runs=charts.lines({"runs": [tally.runs for tally in tallies]}, whole=True, labels=AXES["count"]),
        shares=charts.lines(
            {
                "fallback": [tally.fallback.percent for tally in tallies],
                "errors": [tally.errors.percent for tally in tallies],
            },
            labels=AXES["percent"],
        ),
        latency=charts.lines(
            {"p50": [tally.p50 for tally in tallies], "p95": [tally.p95 for tally in tallies]}, labels=AXES["ms"]
        ),
        cost=charts.lines({"cost": costs}, labels=AXES["usd"]) if total.cost is not None else None,
    )
