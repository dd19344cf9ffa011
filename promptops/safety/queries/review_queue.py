"""The verdicts that wait for a review, and the number of reviewed texts."""

from dataclasses import dataclass

from django.db.models import QuerySet

from promptops.prompts.content import long_fields
from promptops.runs.enums import SafetyQueue
from promptops.runs.models import WAITS, SafetyCheck
from promptops.safety.models import SafetyExample

MAX_ID = 2**63 - 1
WAITING_COUNTED = 1_000
"""Waiting verdicts of a queue are counted up to this number: no person reviews more, and the page is fast."""


@dataclass(frozen=True)
class Waiting:
    """The number of verdicts that wait for a review, "1,000+" if there are more than were counted."""

    count: int = 0
    is_more: bool = False

    def __add__(self, other: "Waiting") -> "Waiting":
        return Waiting(self.count + other.count, self.is_more or other.is_more)

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        return f"{self.count:,}{'+' if self.is_more else ''}"


def queue_counts() -> dict[str, Waiting]:
    """Count the verdicts that wait for a review, by queue; "" counts all of them. One query for each queue."""
    counts = {}
    for queue in SafetyQueue.values:
        count = _waiting(queue).order_by("-id")[: WAITING_COUNTED + 1].count()
        counts[queue] = Waiting(min(count, WAITING_COUNTED), count > WAITING_COUNTED)
    return {"": sum(counts.values(), Waiting()), **counts}


def next_in_queue(queue: str = "", before: int | None = None) -> SafetyCheck | None:
    """Return the newest verdict that waits for a review, with its run; with `before`, the newest of the older ones."""
    waiting = (
        _waiting(queue).select_related("run", "model", "reported_by").defer("model__data", *long_fields("run__draft_"))
    )
    # A bound in any case: without one, SQLite sorts all that wait.
    waiting = waiting.filter(pk__lt=MAX_ID if before is None else before)
    return waiting.order_by("-id").first()


def find_check(pk: int) -> SafetyCheck | None:
    """Return one verdict with its run, or None."""
    checks = SafetyCheck.objects.select_related("run", "model", "reported_by").defer(
        "model__data", *long_fields("run__draft_")
    )
    return checks.filter(pk=pk).first()


def example_count() -> int:
    """Count the reviewed texts that the next training adds to the rubric."""
    return SafetyExample.objects.count()


def _waiting(queue: str = "") -> QuerySet[SafetyCheck]:
    waiting = SafetyCheck.objects.filter(WAITS, run__erased_at=None)
    return waiting.filter(queue=queue) if queue else waiting
