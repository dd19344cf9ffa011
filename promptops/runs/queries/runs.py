"""Runs as pages show them: the list with its filters, one run, and the timeline of its attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.db.models.functions import Left

from promptops.engine.safety.guard import VerdictDecision
from promptops.ledger.models import LiveConfiguration
from promptops.people.models import User
from promptops.prompts.models import Operation, Template
from promptops.providers.models import Provider
from promptops.runs.enums import RunStatus
from promptops.runs.models import Attempt, Run, SafetyCheck
from promptops.runs.plans import Outcome
from promptops.runs.queries.outcomes import NOT_JUDGED, OUTCOMES, having
from promptops.stats import charts

# The list shows the beginning of each input: whole texts could make a page of many megabytes.
EXCERPT_CHARACTERS = 101


@dataclass(frozen=True)
class RunFilters:
    """Filters of the list; None and "" filter nothing. `provider` matches runs that called it."""

    operation: str = ""
    status: str = ""
    source: str = ""
    template: Template | None = None
    user: User | None = None
    provider: str = ""
    safety: str = ""  # blocked, masked, not_judged or one of OUTCOMES
    revision: int | None = None
    start: datetime | None = None
    end: datetime | None = None  # exclusive
    since: datetime | None = None
    until: datetime | None = None  # inclusive


def listed(filters: RunFilters) -> QuerySet[Run]:
    """Return the runs that match, each with `excerpt` (the beginning of its input) and `unjudged`.

    `unjudged` means that the run was blocked without a verdict.
    """
    unjudged = SafetyCheck.objects.filter(run=OuterRef("pk"), blocked=True, decision=VerdictDecision.UNAVAILABLE.value)
    runs = Run.objects.select_related("user", "template", "version").annotate(
        excerpt=Left("input", EXCERPT_CHARACTERS), unjudged=Exists(unjudged)
    )
    runs = runs.defer("input", "output", "raw", "draft_body", "error", "version__body")
    exact = {name: getattr(filters, name) for name in ("operation", "status", "source", "template", "user", "revision")}
    runs = runs.filter(**{name: value for name, value in exact.items() if value})
    if filters.provider:
        runs = runs.filter(Exists(Attempt.objects.filter(run=OuterRef("pk"), provider=filters.provider)))
    if filters.safety == "blocked":
        runs = runs.filter(status=RunStatus.BLOCKED)
    elif filters.safety == "masked":
        runs = runs.filter(Q(input_masked=True) | Q(output_masked=True))
    elif filters.safety == "not_judged":
        runs = runs.filter(Exists(SafetyCheck.objects.filter(run=OuterRef("pk"), decision__in=NOT_JUDGED)))
    elif filters.safety in OUTCOMES:
        runs = runs.filter(having(filters.safety))
    if filters.start:
        runs = runs.filter(at__gte=filters.start)
    if filters.end:
        runs = runs.filter(at__lt=filters.end)
    if filters.since:
        runs = runs.filter(at__gte=filters.since)
    if filters.until:
        runs = runs.filter(at__lte=filters.until)
    return runs


def found(pk: int) -> Run:
    """Return one run with its attempts and verdicts. Raises Run.DoesNotExist."""
    attempts = Prefetch("attempts", Attempt.objects.order_by("position"))
    checks = Prefetch(
        "safety_checks", SafetyCheck.objects.select_related("model").defer("model__data").order_by("side")
    )
    return Run.objects.select_related("user", "template", "version").prefetch_related(attempts, checks).get(pk=pk)


@dataclass(frozen=True)
class TimelineRow:
    """One attempt on the time axis of its run. `end` is in percent of the axis."""

    attempt: Attempt
    segments: list[charts.Segment]
    end: float
    is_retry: bool = False


@dataclass(frozen=True)
class Timeline:
    """The attempts of a run on one axis of milliseconds, and the longest stretch of all (None without attempts)."""

    rows: list[TimelineRow]
    ticks: list[charts.Tick]
    longest: tuple[str, charts.Segment] | None
    phases: list[str]


PHASES = ["queued", "connecting", "waiting", "streaming"]
# Kinds of errors of a call that may not have reached a connection.
WITHOUT_CONNECTION = {"transport", "timeout"}


def with_retries(attempts: Sequence[Any]) -> list[tuple[Any, bool]]:
    """Return each attempt of a run, and whether it is a retry: an earlier attempt had the same provider."""
    names = [attempt.provider for attempt in attempts]
    return [(attempt, attempt.provider in names[:place]) for place, attempt in enumerate(attempts)]


def timeline(run: Run) -> Timeline:
    """Return how each attempt spent the time of the run."""
    attempts = list(run.attempts.all())
    ends = [attempt.started_ms + attempt.latency_ms for attempt in attempts]
    marks = charts.ticks(max([run.latency_ms, *ends]))
    # The axis ends with the run, not at the round number after it.
    total = max(run.latency_ms, *ends, 1.0)
    rows = [
        TimelineRow(
            attempt,
            charts.segments(phases(attempt), max(0.0, attempt.started_ms - attempt.queued_ms), total),
            round(100 * end / total, 2),
            is_retry,
        )
        for (attempt, is_retry), end in zip(with_retries(attempts), ends, strict=True)
    ]
    stretches = [(row.attempt.provider, segment) for row in rows for segment in row.segments]
    used = {segment.name for _, segment in stretches}
    return Timeline(
        rows=rows,
        ticks=[charts.Tick(round(100 * mark / total, 2), mark) for mark in marks if mark <= total],
        longest=max(stretches, key=lambda stretch: stretch[1].length, default=None),
        phases=[phase for phase in PHASES if phase in used],
    )


def phases(attempt: Attempt) -> list[tuple[str, float]]:
    """Return an attempt's phases in order, each with its end in milliseconds since the run began."""
    start, end = attempt.started_ms, attempt.started_ms + attempt.latency_ms
    reached = attempt.connect_ms is not None or attempt.first_text_ms is not None or attempt.status is not None
    if not reached and attempt.error_kind in WITHOUT_CONNECTION:
        return [("queued", start), ("connecting", end)]
    first_text = end if attempt.first_text_ms is None else attempt.first_text_ms
    # A provider that is no HTTP server has no phase of connecting.
    return [
        ("queued", start),
        ("connecting", start + (attempt.connect_ms or 0)),
        ("waiting", first_text),
        ("streaming", end),
    ]


def provider_names() -> list[str]:
    """Return the names of the current providers, in the order of the chain."""
    return list(Provider.objects.values_list("name", flat=True))


def retention_days() -> int:
    """Return for how many days the text of a run is kept."""
    return LiveConfiguration.objects.values_list("run_retention_days", flat=True).get(pk=1)


def own_retention() -> str:
    """Return the operations that keep texts for days of their own, such as "caption: 3, plan: 90"; "" if none does."""
    rows = Operation.objects.filter(archived_at=None).exclude(retention_days=None)
    return ", ".join(f"{name}: {days:,}" for name, days in rows.values_list("name", "retention_days"))


def recorded_run(outcome: Outcome) -> int | None:
    """Return the id of the run with exactly this end and latency, or None.

    A connection may break between the commit and its answer. This finds the run then, so that it is not recorded twice.
    """
    if outcome.at is None:
        return None
    runs = Run.objects.filter(at=outcome.at, latency_ms=outcome.latency_ms, status=outcome.status)
    return runs.values_list("pk", flat=True).first()
