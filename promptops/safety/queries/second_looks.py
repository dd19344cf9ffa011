"""Verdicts that two people review: those that wait for a second person, those that are disputed, and the agreement."""

from django.db.models import Count, Q, QuerySet

from promptops.people.enums import Permission
from promptops.people.models import User
from promptops.runs.enums import SafetyReview
from promptops.runs.models import REVIEWED, SafetyCheck
from promptops.safety.enums import PairQueue, QueueOrder
from promptops.safety.models import SafetySecondLook
from promptops.safety.queries.review_queue import Place, Waiting, counted, first_of, in_order
from promptops.stats.agreement import Agreement

DISPUTED_SHOWN = 100


def next_for(reader: User, queue: PairQueue, order: QueueOrder, place: Place | None = None) -> SafetyCheck | None:
    """Return the first verdict that this person may look at again, or settle, from the place on. At most two queries.

    The verdict has the first review, which a page must not show to the second person.
    """
    return first_of(in_order(_QUEUES[queue](reader), order, place))


def counts(reader: User) -> dict[str, Waiting]:
    """Count the verdicts that this person may look at again, or settle. One query for each queue."""
    return {queue.value: counted(checks(reader)) for queue, checks in _QUEUES.items()}


def disputed() -> list[SafetyCheck]:
    """Return the newest disputed verdicts with both people, also those that this person may not settle. One query."""
    people = ("second_look__first_by", "second_look__second_by", "second_look")
    return list(_disputed().select_related(*people).order_by("-pk")[:DISPUTED_SHOWN])


def agreement() -> Agreement:
    """Return how often two people agree that a text is harmful. One query."""
    kinds = SafetySecondLook.objects.order_by().values_list("first_harmful", "second_harmful").annotate(Count("pk"))
    counts = {(first, second): count for first, second, count in kinds}
    return Agreement(*(counts.get(pair, 0) for pair in ((True, True), (True, False), (False, True), (False, False))))


def _offered(reader: User) -> QuerySet[SafetyCheck]:
    """Return the verdicts with one review by another person, which this person did not report."""
    one = SafetyCheck.objects.filter(REVIEWED, second_look=None, run__erased_at=None)
    return one.exclude(reviewed_by=reader).exclude(reported_by=reader)


def _disputed() -> QuerySet[SafetyCheck]:
    return SafetyCheck.objects.filter(review=SafetyReview.DISPUTED, run__erased_at=None)


def _may_settle(reader: User) -> QuerySet[SafetyCheck]:
    """Return the disputed verdicts that this person may settle, as the action allows."""
    if reader.may(Permission.RELEASE):
        return _disputed()
    return _disputed().exclude(Q(second_look__first_by=reader) | Q(second_look__second_by=reader))


_QUEUES = {PairQueue.SECOND: _offered, PairQueue.DISPUTED: _may_settle}
