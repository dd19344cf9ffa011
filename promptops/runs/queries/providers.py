"""Providers as pages show them: their order, where the key comes from, and how each one is doing."""

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.db.models import Count, F, Max, OuterRef, Q, QuerySet, Subquery, Sum, Value, Window
from django.db.models.functions import Concat, RowNumber
from django.utils import timezone

from promptops.engine.health import FAILURES_TO_OPEN, HealthView
from promptops.live import snapshots as live
from promptops.platform import crypto
from promptops.providers.key_variables import key_variable, problem_of
from promptops.providers.models import Provider
from promptops.providers.queries import is_set, key_sentence
from promptops.runs.enums import RunStatus
from promptops.runs.models import Attempt, Run
from promptops.stats.percentiles import percentile

HOUR = timedelta(hours=1)
LATENCIES_READ = 5_000
"""At most so many latencies are read for a page, the newest of each provider, in equal parts."""

SHORTEST_MS, BARS_PER_DECADE, BARS = 10, 4, 16
"""The plot's scale: 16 bars from 10 ms to 100 s, each 1.8 times as long as the one before; the same for everybody."""

MISCONFIGURED = {"auth": "key refused", "missing_key": "no key", "not_found": "model not found"}
OUT_OF_CREDIT = "out of credit"
"""What is wrong with a provider that was marked misconfigured, by the kind of error."""


@dataclass(frozen=True)
class LastCall:
    """The newest call to a provider that was not canceled; `latency_ms` is the attempt's own time."""

    at: datetime
    run_id: int
    succeeded: bool
    reason: str  # why it failed; only the kind of error once the run's text is erased, or while its input is masked
    latency_ms: float
    error_kind: str = ""
    masked: bool = False  # the error may quote an input that the safety filter masks


@dataclass(frozen=True)
class Bar:
    """The calls of one span of latencies; all in percent of the plot, `failed` stands on top of `answered`."""

    x: float
    answered: float
    failed: float

    @property
    def answered_y(self) -> float:
        """From the top of the plot to the answered calls."""
        return round(100 - self.answered, 2)

    @property
    def failed_y(self) -> float:
        """From the top of the plot to the failed calls."""
        return round(100 - self.answered - self.failed, 2)


@dataclass(frozen=True)
class Figures:
    """A provider in numbers: calls and latencies of the last hour, tokens and cost of the reader's day.

    Drills count nowhere, canceled calls only in tokens and cost. The percentiles are of answered calls, None without
    one. `cost` is in USD, None without prices. `last_error` is the newest one of these times.
    """

    answered: int = 0
    failed: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    bars: tuple[Bar, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_estimated: bool = False
    cost: float | None = None
    cost_estimated: bool = False
    last_error: LastCall | None = None

    @property
    def calls(self) -> int:
        """The calls of the last hour that were not canceled."""
        return self.answered + self.failed

    @property
    def success_percent(self) -> str:
        """The share of calls that were answered; never rounded up to 100 or down to 0."""
        share = 100 * self.answered / self.calls if self.calls else 0
        if 0 < share < 1 or 99 < share < 100:
            return f"{min(max(share, 0.1), 99.9):.1f}"
        return f"{share:.0f}"

    @property
    def p50_x(self) -> float | None:
        """Where the median lies in the plot, in percent of its width."""
        return None if self.p50_ms is None else round(_place(self.p50_ms) * 100, 2)

    @property
    def p95_x(self) -> float | None:
        """Where the 95th percentile lies in the plot, in percent of its width."""
        return None if self.p95_ms is None else round(_place(self.p95_ms) * 100, 2)

    @property
    def cost_shown(self) -> str:
        """The cost as people read it, "~" before an estimate: "$1.20", "~$0.0042"; "" without prices."""
        if self.cost is None:
            return ""
        amount = f"{self.cost:,.2f}" if self.cost >= 0.1 or not self.cost else f"{self.cost:.2g}"
        return f"{'~' if self.cost_estimated else ''}${amount}"


@dataclass(frozen=True)
class ProviderRow:
    """One provider. `priority` is its place in the chain, None for one that is off.

    `state` says in a word or three how it is doing, `tone` is the chip's (ok, warn, bad or nothing), and `detail` is
    what is wrong, in a sentence; a failed last call tells its reason there.
    """

    id: int
    name: str
    kind: str
    base_url: str
    model_shown: str
    key: str
    timeout_ms: int | None
    enabled: bool
    priority: int | None
    state: str
    tone: str
    detail: str
    last: LastCall | None
    health: HealthView = field(default_factory=HealthView)
    figures: Figures = field(default_factory=Figures)
    stops_runs: bool = False  # while it is misconfigured: the operator chose that its error ends a run

    @property
    def alone_until(self) -> datetime | None:
        """Return when its cooldown ends, None where nothing keeps runs from asking it for a time."""
        left = self.health.cooldown_left_ms
        return timezone.now() + timedelta(milliseconds=left) if left and self.enabled else None

    @property
    def out_of_credit_since(self) -> datetime | None:
        """Return when it last answered that its account has no credit left, None where that is over."""
        since = self.health.cooldown_since
        return datetime.fromtimestamp(since, UTC) if since and self.out_of_credit else None

    @property
    def out_of_credit(self) -> bool:
        """Return whether its account has no credit left, as this process has found."""
        return self.enabled and self.health.out_of_credit

    @property
    def cooling(self) -> str:
        """How long it still cools down, where the state tells something worse; "" otherwise."""
        left = self.health.cooldown_left_ms
        return f"cooling down {_left(left)}" if left and self.enabled and not self.state.startswith("cooling") else ""

    @property
    def passing(self) -> bool:
        """Whether its state ends by itself, without an event that would tell."""
        health = self.health
        busy = health.limit is not None and health.in_flight >= health.limit
        return self.enabled and (health.state != "closed" or health.cooldown_left_ms > 0 or busy)


def listed() -> list[ProviderRow]:
    """All providers in their order, in two queries, without figures."""
    newest = _counted().filter(provider=OuterRef("name")).exclude(outcome=RunStatus.CANCELED).order_by("-id")
    providers = list(Provider.objects.annotate(newest_call=Subquery(newest.values("id")[:1])))
    calls = _calls([provider.newest_call for provider in providers])
    priorities = {
        provider.pk: place for place, provider in enumerate([row for row in providers if row.enabled], start=1)
    }
    return [_row(provider, priorities.get(provider.pk), calls.get(provider.newest_call)) for provider in providers]


def one(provider: Provider) -> ProviderRow:
    """Return one of `listed`."""
    return next(row for row in listed() if row.id == provider.pk)


def with_figures() -> list[ProviderRow]:
    """All providers in their order with their figures, in five queries."""
    rows = listed()
    figures = _figures(timezone.now(), max(1, len(rows)))
    return [replace(row, figures=figures.get(row.name, row.figures)) for row in rows]


def chain() -> list[ProviderRow]:
    """The providers that are on, in their order."""
    return [row for row in listed() if row.enabled]


def _counted() -> QuerySet[Attempt]:
    """The attempts that statistics are made of: not those of drills."""
    return Attempt.objects.filter(run__drill="")


def _counted_since(moment: datetime) -> QuerySet[Any]:
    """Those of the runs since then. The names are copied, or SQLite would group by their index: all of history."""
    attempts = Attempt.objects.filter(run__in=Run.objects.filter(at__gte=moment, drill=""))
    return attempts.order_by().annotate(name=Concat("provider", Value("")))


def _figures(now: datetime, providers: int) -> dict[str, Figures]:
    """The figures of all providers that were asked lately, by name."""
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
    errors = _calls([row["newest_error"] for row in rows])
    latencies = _latencies(hour, LATENCIES_READ // providers)
    return {
        row["name"]: Figures(
            answered=row["answered"],
            failed=row["failed"],
            p50_ms=percentile(latencies[row["name"]][True], 50),
            p95_ms=percentile(latencies[row["name"]][True], 95),
            bars=_bars(latencies[row["name"]]),
            input_tokens=row["input"] or 0,
            output_tokens=row["output"] or 0,
            tokens_estimated=row["guessed"] > 0,
            cost=row["usd"],
            cost_estimated=row["usd_guessed"] > 0,
            last_error=errors.get(row["newest_error"]),
        )
        for row in rows
    }


def _latencies(since: datetime, each: int) -> dict[str, dict[bool, list[float]]]:
    """The latencies of each provider's newest calls, at most `each`: those answered (True) and those that failed."""
    newest = (
        _counted_since(since)
        .exclude(outcome=RunStatus.CANCELED)
        .annotate(place=Window(RowNumber(), partition_by="name", order_by=F("id").desc()))
        .filter(place__lte=each)
    )
    found: dict[str, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})
    for provider, outcome, latency_ms in newest.values_list("provider", "outcome", "latency_ms"):
        found[provider][outcome == RunStatus.SUCCEEDED].append(latency_ms)
    return found


def _place(latency_ms: float) -> float:
    """Where a latency lies on the plot's logarithmic scale, from 0 to 1."""
    steps = math.log10(max(latency_ms, SHORTEST_MS) / SHORTEST_MS) * BARS_PER_DECADE
    return min(steps / BARS, 1.0)


def _bars(latencies: dict[bool, list[float]]) -> tuple[Bar, ...]:
    """The bars that are not empty, the highest 100% high; what is off the scale goes into the first or last."""
    counts = {answered: [0] * BARS for answered in (True, False)}
    for answered, known in latencies.items():
        for latency_ms in known:
            counts[answered][min(int(_place(latency_ms) * BARS), BARS - 1)] += 1
    pairs = list(zip(counts[True], counts[False], strict=True))
    highest = max(sum(pair) for pair in pairs)
    return tuple(
        Bar(100 * index / BARS, round(100 * answered / highest, 2), round(100 * failed / highest, 2))
        for index, (answered, failed) in enumerate(pairs)
        if answered or failed
    )


def _calls(ids: list[int | None]) -> dict[int | None, LastCall]:
    attempts = Attempt.objects.filter(pk__in=[pk for pk in ids if pk]).select_related("run")
    return {
        attempt.pk: LastCall(
            at=attempt.run.at,
            run_id=attempt.run_id,
            succeeded=attempt.outcome == RunStatus.SUCCEEDED,
            reason=_reason(attempt),
            latency_ms=attempt.latency_ms,
            error_kind=attempt.error_kind,
            masked=attempt.run.input_masked,
        )
        for attempt in attempts.only("outcome", "message", "error_kind", "latency_ms", "run__at", "run__input_masked")
    }


def _reason(attempt: Attempt) -> str:
    """Why a call failed, in the provider's words where they can be shown."""
    kind = attempt.error_kind.replace("_", " ")
    if attempt.message and attempt.run.input_masked:
        return f"{kind or 'failed'}; the words of the error are masked, since they may quote the input"
    return attempt.message or kind


def _row(provider: Provider, priority: int | None, last: LastCall | None) -> ProviderRow:
    health = live.health.view(provider.name)
    state, tone, detail = _state(provider, last, health)
    return ProviderRow(
        id=provider.pk,
        name=provider.name,
        kind=provider.get_kind_display(),
        base_url=provider.base_url,
        model_shown=provider.model or provider.kind_spec.model or "the prompt's own",
        key="no key needed" if provider.kind_spec.embedded else key_sentence(provider),
        timeout_ms=provider.timeout_ms,
        enabled=provider.enabled,
        priority=priority,
        state=state,
        tone=tone,
        detail=detail,
        last=last,
        health=health,
        stops_runs=_stops_runs(provider, health.trouble),
    )


def _stops_runs(provider: Provider, trouble: str | None) -> bool:
    if trouble in {"auth", "missing_key"}:
        return not provider.fall_back_on_auth
    return trouble == "not_found" and not provider.fall_back_on_not_found


def _state(provider: Provider, last: LastCall | None, health: HealthView) -> tuple[str, str, str]:
    """State, tone and detail: the first thing that is wrong, or that it is ready."""
    if not provider.enabled:
        return "off", "", ""
    if problem := _problem(provider):
        return problem[0], "bad", problem[1]
    if hindered := _hindered(health, last):
        return hindered
    if last and not last.succeeded:
        return "last call failed", "warn", last.reason
    return "ready", "ok", ""


def _hindered(health: HealthView, last: LastCall | None) -> tuple[str, str, str] | None:
    """Why runs pass the provider over now, or would fail with it, as this process has found."""
    # What this process was told last and the newest call are one error, as no other call is made before it is over.
    reason = last.reason if last and last.masked and health.reason else health.reason or ""
    if health.out_of_credit:
        return OUT_OF_CREDIT, "bad", reason
    if health.misconfigured:
        what = MISCONFIGURED.get(health.trouble or "")
        return f"misconfigured: {what}" if what else "misconfigured", "bad", reason
    if health.state == "open":
        return f"open: last {FAILURES_TO_OPEN} calls failed", "bad", reason
    if health.state == "half_open":
        return "probing", "warn", reason
    if health.cooldown_left_ms:
        return (
            f"cooling down {_left(health.cooldown_left_ms)}",
            "warn",
            last.reason if last and not last.succeeded else "",
        )
    if health.limit is not None and health.in_flight >= health.limit:
        return f"full {health.in_flight}/{health.limit}", "warn", "The next provider is asked until a call ends."
    return None


def _left(milliseconds: int) -> str:
    """A time to wait, rounded up: "12 s", "3 min", "2 h"."""
    seconds = math.ceil(milliseconds / 1000)
    if seconds < 100:
        return f"{seconds} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{math.ceil(minutes / 60)} h"


def _problem(provider: Provider) -> tuple[str, str] | None:
    """What keeps every call from succeeding, as far as that can be known without one."""
    kind = provider.kind_spec
    if kind.problem and (reason := kind.problem()):
        return "not installed", reason
    if kind.embedded:
        return None
    if provider.key_encrypted:
        try:
            crypto.decrypt(provider.key_encrypted)
        except crypto.UnreadableSecret as error:
            return "key unreadable", str(error)
        return None
    if problem := problem_of(provider):
        return "key not sent", problem
    variable = key_variable(provider)
    if variable and not is_set(variable):
        return "no key", f"{variable} is not set in the server's environment."
    return None
