"""The verdicts that wait for a review, and the number of reviewed texts."""

from django.db.models import Count, QuerySet

from promptops.runs.enums import SafetyQueue
from promptops.runs.models import SafetyCheck
from promptops.safety.models import SafetyExample


def queue_counts() -> dict[str, int]:
    """Count the verdicts that wait for a review, by queue; "" counts all of them."""
    waiting = _waiting().order_by().values_list("queue").annotate(Count("id"))
    counts = {str(name): 0 for name in SafetyQueue} | dict(waiting)
    return {"": sum(counts.values()), **counts}


def next_in_queue(queue: str = "", before: int | None = None) -> SafetyCheck | None:
    """Return the newest verdict that waits for a review, with its run; with `before`, the newest of the older ones."""
    waiting = _waiting().select_related("run", "model", "reported_by").defer("model__data", "run__draft_body")
    if queue:
        waiting = waiting.filter(queue=queue)
    if before is not None:
        waiting = waiting.filter(pk__lt=before)
    return waiting.order_by("-id").first()


def find_check(pk: int) -> SafetyCheck | None:
    """Return one verdict with its run, or None."""
    checks = SafetyCheck.objects.select_related("run", "model", "reported_by").defer("model__data", "run__draft_body")
    return checks.filter(pk=pk).first()


def example_count() -> int:
    """Count the reviewed texts that the next training adds to the rubric."""
    return SafetyExample.objects.count()


def _waiting() -> QuerySet[SafetyCheck]:
    return SafetyCheck.objects.filter(review="", queue__in=SafetyQueue.values, run__erased_at=None)
