"""Providers in numbers: calls, latencies, tokens and cost. Their rows and states are in `runs.queries.providers`."""

import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from django.db.models import Count, F, Max, Min, Q, QuerySet, Sum, Value, Window
from django.db.models.functions import Coalesce, Concat, RowNumber
from django.utils import timezone

from promptops.runs.enums import RunStatus
from promptops.runs.models import Attempt, Run
from promptops.runs.queries.provider_calls import LastCall, last_calls
from promptops.stats.charts import Line, sparkline
from promptops.stats.percentiles import percentile

HOUR = timedelta(hours=1)
LATENCIES_READ = 5_000
"""The number of latencies that are read for a page at most: the newest of each provider, in equal parts."""

STEPS = 12
"""The points of a sparkline: medians of five minutes."""

FAILURES_SHOWN = 3
DAY = timedelta(days=1)

SHORTEST_MS, BARS_PER_DECADE, BARS = 10, 4, 16
"""The scale of every plot: 16 bars from 10 ms to 100 s, each 1.8 times as long as the one before."""


@dataclass(frozen=True)
class Bar:
    """The calls of one span of latencies, in percent of the plot. `failed` is drawn on top of `answered`."""

    x: float
    answered: float
    failed: float

    @property
    def answered_y(self) -> float:
        """Return the distance from the top of the plot to the answered calls."""
        return round(100 - self.answered, 2)

    @property
    def failed_y(self) -> float:
        """Return the distance from the top of the plot to the failed calls."""
        return round(100 - self.answered - self.failed, 2)


@dataclass(frozen=True)
class Figures:
    """A provider in numbers: calls and latencies of the last hour, tokens and cost of the reader's day.

    Drills never count; canceled calls count only in tokens and cost. The percentiles are those of answered calls, None
    if there are none; `spark` draws the medians of five minutes each. `cost` is in USD, None without prices.
    `last_error` is the newest one of the hour and the day.
    """

    answered: int = 0
    failed: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    bars: tuple[Bar, ...] = ()
    spark: Line | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_estimated: bool = False
    cost: float | None = None
    cost_estimated: bool = False
    last_error: LastCall | None = None

    @property
    def calls(self) -> int:
        """Return the number of calls in the last hour that were not canceled."""
        return self.answered + self.failed

    @property
    def success_percent(self) -> str:
        """Return the share of answered calls, never rounded up to 100 or down to 0."""
        share = 100 * self.answered / self.calls if self.calls else 0
        if 0 < share < 1 or 99 < share < 100:
            return f"{min(max(share, 0.1), 99.9):.1f}"
        return f"{share:.0f}"

    @property
    def p50_x(self) -> float | None:
        """Return the place of the median in the plot, in percent of its width."""
        return None if self.p50_ms is None else round(_place(self.p50_ms) * 100, 2)

    @property
    def p95_x(self) -> float | None:
        """Return the place of the 95th percentile in the plot, in percent of its width."""
        return None if self.p95_ms is None else round(_place(self.p95_ms) * 100, 2)

    @property
    def cost_shown(self) -> str:
        """Return the cost for people, with "~" before an estimate: "$1.20", "~$0.0042"; "" without prices."""
        if self.cost is None:
            return ""
        amount = f"{self.cost:,.2f}" if self.cost >= 0.1 or not self.cost else f"{self.cost:.2g}"
        return f"{'~' if self.cost_estimated else ''}${amount}"


def _counted_since(moment: datetime) -> QuerySet[Any]:
    """Return the attempts of runs since then, drills apart, with `name`: the provider's.

    The name is a copy, because SQLite would group by the index of `provider` and read all of history.
    """
    runs = Run.objects.filter(at__gte=moment)
    # Without the first number PostgreSQL reads all attempts. It is no plain column, which would make it read all runs.
    first = runs.aggregate(first=Min(Coalesce("pk", "pk")))["first"]
    attempts = Attempt.objects.filter(run__in=runs.filter(drill=""), run_id__gte=first or 0)
    return attempts.order_by().annotate(name=Concat("provider", Value("")))


def figures(now: datetime, providers: int) -> dict[str, Figures]:
    """Return the figures of all providers that were called lately, by name. `providers` is their number."""
    local_now = timezone.localtime(now)
    today = datetime.combine(local_now.date(), time(), local_now.tzinfo)
    hour = now - HOUR
    this_hour, this_day = Q(run__at__gte=hour), Q(run__at__gte=today)
    failed = Q(outcome=RunStatus.FAILED)
    rows = list(
        _counted_since(min(hour, today))
        .values("name")
        .annotate(
            answered=Count("id", filter=this_hour & Q(outcome=RunStatus.SUCCEEDED)),
            failed=Count("id", filter=this_hour & failed),
            input=Sum("input_tokens", filter=this_day),
            output=Sum("output_tokens", filter=this_day),
            guessed=Count("id", filter=this_day & Q(usage_estimated=True)),
            usd=Sum("cost", filter=this_day),
            usd_guessed=Count("id", filter=this_day & Q(cost_estimated=True)),
            newest_error=Max("id", filter=failed),
        )
    )
    errors = last_calls([row["newest_error"] for row in rows])
    latencies, medians = _latencies(hour, LATENCIES_READ // providers)
    return {
        row["name"]: Figures(
            answered=row["answered"],
            failed=row["failed"],
            p50_ms=percentile(latencies[row["name"]][True], 50),
            p95_ms=percentile(latencies[row["name"]][True], 95),
            bars=_bars(latencies[row["name"]]),
            spark=sparkline(medians[row["name"]]),
            input_tokens=row["input"] or 0,
            output_tokens=row["output"] or 0,
            tokens_estimated=row["guessed"] > 0,
            cost=row["usd"],
            cost_estimated=row["usd_guessed"] > 0,
            last_error=errors.get(row["newest_error"]),
        )
        for row in rows
    }


def last_failures(providers: Collection[str], now: datetime) -> dict[str, list[LastCall]]:
    """Return the newest failed calls of the last day of each named provider, newest first, in three queries."""
    failed = _counted_since(now - DAY).filter(outcome=RunStatus.FAILED, provider__in=providers)
    newest = failed.annotate(place=Window(RowNumber(), partition_by="name", order_by=F("id").desc()))
    rows = list(newest.filter(place__lte=FAILURES_SHOWN).order_by("-id").values_list("name", "id"))
    calls = last_calls([pk for _, pk in rows])
    failures: dict[str, list[LastCall]] = defaultdict(list)
    for name, pk in rows:
        failures[name].append(calls[pk])
    return failures


Latencies = dict[str, dict[bool, list[float]]]


def _latencies(since: datetime, each: int) -> tuple[Latencies, dict[str, list[float | None]]]:
    """Return the latencies of each provider's newest calls, at most `each`: of answered (True) and of failed ones.

    With them come the medians of the answered ones in each of `STEPS` steps of an hour; None without an answer.
    """
    newest = (
        _counted_since(since)
        .exclude(outcome=RunStatus.CANCELED)
        .annotate(place=Window(RowNumber(), partition_by="name", order_by=F("id").desc()))
        .filter(place__lte=each)
    )
    latencies: Latencies = defaultdict(lambda: {True: [], False: []})
    steps: dict[str, list[list[float]]] = defaultdict(lambda: [[] for _ in range(STEPS)])
    for provider, outcome, latency_ms, at in newest.values_list("provider", "outcome", "latency_ms", "run__at"):
        latencies[provider][outcome == RunStatus.SUCCEEDED].append(latency_ms)
        if outcome == RunStatus.SUCCEEDED:
            steps[provider][min(int((at - since) / (HOUR / STEPS)), STEPS - 1)].append(latency_ms)
    medians = {name: [percentile(values, 50) for values in of_name] for name, of_name in steps.items()}
    return latencies, defaultdict(list, medians)


def _place(latency_ms: float) -> float:
    """Return the place of a latency on the plot's logarithmic scale, from 0 to 1."""
    steps = math.log10(max(latency_ms, SHORTEST_MS) / SHORTEST_MS) * BARS_PER_DECADE
    return min(steps / BARS, 1.0)


def _bars(latencies: dict[bool, list[float]]) -> tuple[Bar, ...]:
    """Return the bars that are not empty; the highest is 100% high. Latencies off the scale go into the end bars."""
    counts = {answered: [0] * BARS for answered in (True, False)}
    for answered, of_calls in latencies.items():
        for latency_ms in of_calls:
            counts[answered][min(int(_place(latency_ms) * BARS), BARS - 1)] += 1
    pairs = list(zip(counts[True], counts[False], strict=True))
    highest = max(sum(pair) for pair in pairs)
    return tuple(
        Bar(100 * index / BARS, round(100 * answered / highest, 2), round(100 * failed / highest, 2))
        for index, (answered, failed) in enumerate(pairs)
        if answered or failed
    )
