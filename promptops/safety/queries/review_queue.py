"""The verdicts that wait for a review, in the order that a person chose, and the number of reviewed texts.

Second looks and their agreement belong to second_looks.py.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from promptops.prompts.content import long_fields
from promptops.runs.enums import SafetyQueue
from promptops.runs.models import WAITS, SafetyCheck
from promptops.safety.enums import QueueOrder
from promptops.safety.models import SafetyExample

MAX_ID = 2**63 - 1
LOWEST = -1e300
WAITING_COUNTED = 1_000
"""Waiting verdicts of a queue are counted up to this number: no person reviews more, and the page is fast."""
SORTED_BY = {QueueOrder.NEWEST: "", QueueOrder.UNCERTAIN: "distance", QueueOrder.DISAGREEING: "-disagreement"}
"""The column of `SafetyCheck` that an order sorts by, with "-" the highest first; then, and without one, by age.

A column needs two indexes: with the id, and with the queue and the id, of the verdicts that wait.
"""


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


@dataclass(frozen=True)
class Place:
    """A place in a queue: behind the verdict `check`, or before it. The verdict need not wait any longer."""

    check: SafetyCheck
    is_before: bool = False

    @property
    def bound(self) -> int:
        """The verdicts of the same rank that follow have lower ids than this."""
        return self.check.pk + self.is_before


def queue_counts() -> dict[str, Waiting]:
    """Count the verdicts that wait for a review, by queue; "" counts all of them. One query for each queue."""
    counts = {queue: counted(_waiting(queue)) for queue in SafetyQueue.values}
    return {"": sum(counts.values(), Waiting()), **counts}


def counted(checks: QuerySet[SafetyCheck]) -> Waiting:
    """Count verdicts up to the bound. One query."""
    count = checks.order_by("-id")[: WAITING_COUNTED + 1].count()
    return Waiting(min(count, WAITING_COUNTED), count > WAITING_COUNTED)


def next_in_queue(
    queue: str = "", order: QueueOrder = QueueOrder.NEWEST, place: Place | None = None
) -> SafetyCheck | None:
    """Return the first verdict that waits for a review, with its run; with `place`, the first from there on.

    Reported verdicts come first, because somebody waits for the answer. At most four queries.
    """
    if queue:
        return first_of(in_order(_waiting(queue), order, place))
    reports = _waiting(SafetyQueue.REPORTED)
    others = _waiting().exclude(queue=SafetyQueue.REPORTED)
    if place is None or place.check.queue == SafetyQueue.REPORTED:
        return first_of(in_order(reports, order, place)) or first_of(in_order(others, order))
    return first_of(in_order(others, order, place))


def in_order(
    checks: QuerySet[SafetyCheck], order: QueueOrder, place: Place | None = None
) -> Iterator[QuerySet[SafetyCheck]]:
    """Yield the verdicts from the place on, in order: first those with a value to sort by, then the others."""
    ordering = SORTED_BY[order]
    column, follows = ordering.removeprefix("-"), "lt" if ordering.startswith("-") else "gt"
    value = getattr(place.check, column) if place and column else None
    bound = place.bound if place else MAX_ID
    # A bound in any case: without one, SQLite sorts all that wait.
    if column and (place is None or value is not None):
        if value is None:
            ranked = checks.filter(**{f"{column}__gte": LOWEST})
        else:
            ranked = checks.filter(**{f"{column}__{follows}e": value})
            ranked = ranked.filter(Q(**{f"{column}__{follows}": value}) | Q(pk__lt=bound))
            bound = MAX_ID
        yield ranked.order_by(ordering, "-pk")
    if column:
        checks = checks.filter(**{f"{column}__isnull": True})
    yield checks.filter(pk__lt=bound).order_by("-pk")


def any_of_both_stages() -> bool:
    """Return whether a verdict that waits has scores of both stages. One query."""
    both = SafetyCheck.objects.filter(WAITS, disagreement__gte=LOWEST)
    # In this order, PostgreSQL reads the index, and never the table.
    return both.order_by("-disagreement").values_list("pk").first() is not None


def first_of(parts: Iterable[QuerySet[SafetyCheck]]) -> SafetyCheck | None:
    """Return the first verdict of these parts, with what its page shows."""
    return next((check for part in parts if (check := _with_run(part).first())), None)


def find_check(pk: int) -> SafetyCheck | None:
    """Return one verdict with its run, or None."""
    return _with_run(SafetyCheck.objects.filter(pk=pk)).first()


def example_count() -> int:
    """Count the reviewed texts that the next training adds to the rubric."""
    return SafetyExample.objects.count()


def _with_run(checks: QuerySet[SafetyCheck]) -> QuerySet[SafetyCheck]:
    related = checks.select_related("run", "model", "reported_by", "reviewed_by")
    return related.defer("model__data", *long_fields("run__draft_"))


def _waiting(queue: str = "") -> QuerySet[SafetyCheck]:
    waiting = SafetyCheck.objects.filter(WAITS, run__erased_at=None)
    return waiting.filter(queue=queue) if queue else waiting
