"""Calls to providers, read from attempts: the query of those that count in statistics, and single calls for pages."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from promptops.runs.enums import RunStatus
from promptops.runs.models import Attempt


@dataclass(frozen=True)
class LastCall:
    """The newest call to a provider that was not canceled; `latency_ms` is the attempt's own time."""

    at: datetime
    run_id: int
    succeeded: bool
    reason: str  # of its failure; only the kind of error if the run's text is erased or its input masked
    latency_ms: float
    error_kind: str = ""
    masked: bool = False  # the error may quote an input that the safety filter masks


def counted_attempts() -> QuerySet[Attempt]:
    """Return the attempts that count in statistics: all but those of drills."""
    return Attempt.objects.filter(run__drill="")


def last_calls(ids: list[int | None]) -> dict[int | None, LastCall]:
    """Return calls by the ids of their attempts, in one query."""
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
    """Return why a call failed, in the provider's words if these may be shown."""
    kind = attempt.error_kind.replace("_", " ")
    if attempt.message and attempt.run.input_masked:
        return f"{kind or 'failed'} (the message is masked, because it may quote the input)"
    return attempt.message or kind
