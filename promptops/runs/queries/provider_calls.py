"""The calls that statistics count, and the newest call to a provider as pages show it."""

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
    reason: str  # why it failed; only the kind of error once the run's text is erased, or while its input is masked
    latency_ms: float
    error_kind: str = ""
    masked: bool = False  # the error may quote an input that the safety filter masks


def counted_attempts() -> QuerySet[Attempt]:
    """The attempts that statistics are made of: not those of drills."""
    return Attempt.objects.filter(run__drill="")


def last_calls(ids: list[int | None]) -> dict[int | None, LastCall]:
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
