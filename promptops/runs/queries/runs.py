"""Runs as pages show them: the list with its filters, one run, and the timeline of its attempts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, Model, OuterRef, Prefetch
from django.db.models.functions import Left

from promptops.engine.judged_runs import Outcome
from promptops.engine.safety.guard import VerdictDecision
from promptops.ledger.models import LiveConfiguration
from promptops.people.enums import Scope
from promptops.people.models import Token, User
from promptops.platform.narrowing import Filter, Narrowed, by_column
from promptops.prompts.content import long_fields
from promptops.prompts.models import Operation, Template
from promptops.providers.models import Provider
from promptops.runs.enums import RunSource, RunStatus
from promptops.runs.models import MASKED, STOPS, Attempt, Run, SafetyCheck
from promptops.runs.queries.outcomes import NOT_JUDGED, OUTCOMES, having, verdicts_of
from promptops.stats import charts

# The list shows the beginning of each text: whole texts could make a page of many megabytes.
EXCERPT_CHARACTERS = 101
LINE_CHARACTERS = 240

ALL_SOURCES = "all"
USUAL_SOURCES = [source.value for source in RunSource if source is not RunSource.COMPARISON]
"""A comparison makes thousands of runs at once, and has pages of its own for them."""

TOKENS_OFFERED = 50
"""More would make the page heavier than its rows. The page of a run links to the runs of any token."""


@dataclass(frozen=True)
class RunFilters:
    """Filters of the list; None and "" filter nothing, except `source`. `provider` matches runs that called it."""

    operation: str = ""
    status: str = ""
    source: str = ""  # "" leaves out the runs of comparisons, ALL_SOURCES does not
    template: Template | None = None
    user: User | None = None
    token: str = ""  # its name, which rotated tokens share
    provider: str = ""
    contract: str = ""
    safety: str = ""  # blocked, masked, not_judged or one of OUTCOMES
    revision: int | None = None
    start: datetime | None = None
    end: datetime | None = None  # exclusive
    since: datetime | None = None
    until: datetime | None = None  # inclusive


def listed(filters: RunFilters) -> Narrowed[Run]:
    """Return the runs that match, each with the beginnings of its texts: `excerpt`, `answer_begins`, `error_begins`."""
    runs = Run.objects.select_related("user", "token", "template", "version").annotate(
        excerpt=Left("input", EXCERPT_CHARACTERS),
        answer_begins=Left("output", LINE_CHARACTERS),
        error_begins=Left("error", LINE_CHARACTERS),
    )
    runs = runs.defer("input", "output", "raw", "error", *long_fields("draft_"), *long_fields("version__"))
    return Narrowed(runs, tuple(_filters(filters)), tuple(_times(filters)))


def shown(runs: list[Run]) -> list[Run]:
    """Return the runs of a page, each with `unjudged`: it was blocked without a verdict. One query."""
    checks = SafetyCheck.objects.filter(blocked=True, decision=VerdictDecision.UNAVAILABLE.value)
    unjudged = set(checks.filter(run__in=[run.pk for run in runs]).values_list("run_id", flat=True))
    for run in runs:
        run.unjudged = run.pk in unjudged  # type: ignore[attr-defined]
    return runs


def _filters(filters: RunFilters) -> Iterator[Filter]:
    if not filters.source:
        yield by_column(Run.objects.all(), "source", *USUAL_SOURCES)
    elif filters.source != ALL_SOURCES:
        yield by_column(Run.objects.all(), "source", filters.source)
    for name in ("operation", "status", "template", "user", "contract", "revision"):
        if value := getattr(filters, name):
            name, value = (f"{name}_id", value.pk) if isinstance(value, Model) else (name, value)
            yield by_column(Run.objects.all(), name, value)
    if filters.token:
        used = Token.objects.filter(Exists(Run.objects.filter(token=OuterRef("pk"))), name=filters.token)
        yield by_column(Run.objects.all(), "token_id", *used.values_list("pk", flat=True))
    if filters.provider:
        calls = Attempt.objects.filter(provider=filters.provider)
        yield Filter((calls,), lambda runs: runs.filter(Exists(calls.filter(run=OuterRef("pk")))), "run_id")
    if filters.safety == "blocked":
        yield by_column(Run.objects.all(), "status", RunStatus.BLOCKED)
    elif filters.safety == "masked":
        yield Filter((Run.objects.filter(MASKED),), lambda runs: runs.filter(MASKED))
    elif filters.safety == "not_judged":
        checks = SafetyCheck.objects.filter(STOPS)
        parts = tuple(checks.filter(decision=decision) for decision in NOT_JUDGED)
        is_match = Exists(checks.filter(run=OuterRef("pk"), decision__in=NOT_JUDGED))
        yield Filter(parts, lambda runs: runs.filter(is_match), "run_id")
    elif filters.safety in OUTCOMES:
        outcome = filters.safety
        is_worst = outcome == OUTCOMES[0]
        yield Filter((verdicts_of(outcome),), lambda runs: runs.filter(having(outcome)), "run_id", is_exact=is_worst)


def _times(filters: RunFilters) -> Iterator[tuple[str, datetime]]:
    if starts := [moment for moment in (filters.start, filters.since) if moment]:
        yield "gte", max(starts)
    if filters.end:
        yield "lt", filters.end
    if filters.until:
        yield "lte", filters.until


def number_of(public_id: UUID) -> int | None:
    """Return the number of the run with this id in the answer to a machine; None if it is not recorded."""
    return Run.objects.filter(public_id=public_id).values_list("pk", flat=True).first()


def find_run(pk: int) -> Run:
    """Return one run with its attempts, verdicts and comparison. Raises Run.DoesNotExist."""
    attempts = Prefetch("attempts", Attempt.objects.order_by("position"))
    checks = Prefetch(
        "safety_checks",
        SafetyCheck.objects.select_related("model", "reported_by", "reviewed_by").defer("model__data").order_by("side"),
    )
    related = ("user", "token", "template", "version", "trial__comparison")
    return Run.objects.select_related(*related).prefetch_related(attempts, checks).get(pk=pk)


def neighbors(run: Run) -> tuple[int | None, int | None]:
    """Return the numbers of the runs recorded before and after this one (None: there is none)."""
    numbers = Run.objects.values_list("pk", flat=True)
    return numbers.filter(pk__lt=run.pk).order_by("-pk").first(), numbers.filter(pk__gt=run.pk).order_by("pk").first()


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


def token_names() -> list[str]:
    """Return the names of the tokens that may run operations, at most TOKENS_OFFERED, those that were used last."""
    used_last = Token.objects.order_by(F("last_used_at").desc(nulls_last=True), "-pk").values_list("name", "scopes")
    names = dict.fromkeys(name for name, scopes in used_last if Scope.RUN in scopes)
    return sorted([*names][:TOKENS_OFFERED])


def kept_days() -> dict[str, Any]:
    """Return for how many days texts (`run_retention_days`) and runs (`run_deletion_days`, None: forever) are kept.

    `own_retention` has the operations that keep texts for other days, in words.
    """
    days = LiveConfiguration.objects.values("run_retention_days", "run_deletion_days").get(pk=1)
    return {**days, "own_retention": own_retention()}


def own_retention() -> str:
    """Return the operations that keep texts for days of their own, such as "caption: 3, plan: 90"; "" if none does."""
    rows = Operation.objects.filter(archived_at=None).exclude(retention_days=None)
    return ", ".join(f"{name}: {days:,}" for name, days in rows.values_list("name", "retention_days"))


def recorded_runs(outcomes: Sequence[Outcome]) -> list[int | None]:
    """Return the ids of the runs with exactly these ends, latencies and states, None for each that is not recorded.

    A connection may break between the commit and its answer. This finds the runs then, so that none is recorded twice.
    """
    ids: dict[tuple[Any, ...], list[int]] = {}
    ends = [outcome.at for outcome in outcomes if outcome.at]
    for *run, pk in Run.objects.filter(at__in=ends).order_by("-pk").values_list("at", "latency_ms", "status", "pk"):
        ids.setdefault(tuple(run), []).append(pk)
    found = (ids.get((outcome.at, outcome.latency_ms, outcome.status)) for outcome in outcomes)
    return [pks.pop() if pks else None for pks in found]
