"""The queue of messages: queueing, claiming, settling, and sending again. Sending itself is in `alerts.sending`.

A claim is a conditional update of one row, so exactly one process sends it. If that process dies, the row is due again
when its claim has ended. Then a receiver may get a message twice, with the same id.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from promptops.alerts.actions import destinations
from promptops.alerts.enums import DeliveryState
from promptops.alerts.models import WAITING, Alert, Delivery, Destination
from promptops.ledger import audit
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.platform.ids import new_uuid

RETRIES = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600)
"""Seconds between attempts: the beginning of the schedule that Standard Webhooks gives."""
JITTER = 0.2
"""A pause is up to this share longer, so that receivers do not get all retries at once."""
LONGEST_PAUSE = 24 * 3600
"""The longest pause that a receiver can ask for with Retry-After, in seconds."""
CLAIMED_FOR = timedelta(seconds=60)
"""After this time a claim has ended, because the process that made it has died. An attempt takes 30 s at most."""
GIVES_UP_AFTER = timedelta(days=2)
"""A destination where no delivery succeeded for so long is turned off when the next one fails for good."""
KEPT_FOR = timedelta(days=30)
MOST_DELIVERIES = 10_000
ANSWER_CHARACTERS = 300

WAKE: list[Callable[[], object]] = []
"""Called when a delivery of this process is due at once: `alerts.following` sends it without waiting."""


@dataclass(frozen=True)
class Message:
    """Something to tell. `cause` is the same in every process, so that no destination gets it twice."""

    cause: str
    type: str
    title: str
    happened_at: datetime
    data: dict[str, Any] = field(default_factory=dict)
    page: str = ""
    alert: Alert | None = None
    is_test: bool = False


@dataclass(frozen=True)
class Answer:
    """The end of an attempt: whether the receiver has the message, and what it answered, in short.

    `is_gone` says that it wants no more messages (410). `retry_after` is the pause that it asks for, in seconds.
    """

    is_delivered: bool
    words: str
    is_gone: bool = False
    retry_after: float | None = None


def queue(message: Message, to: Iterable[Destination], *, after: int | None = None) -> None:
    """Queue the message for the destinations that do not have it yet. `after` is the delivery that goes first."""
    message_id = f"msg_{new_uuid().hex}"
    rows = [
        Delivery(
            destination=destination,
            alert=message.alert,
            after_id=after,
            cause=message.cause,
            message_id=message_id,
            type=f"promptops.{message.type}",
            title=message.title,
            data=message.data,
            page=message.page,
            happened_at=message.happened_at,
            is_test=message.is_test,
        )
        for destination in to
    ]
    if rows:
        Delivery.objects.bulk_create(rows, ignore_conflicts=True)


def claim(now: datetime, most: int, *, is_test: bool = False) -> list[Delivery]:
    """Claim tests or other deliveries that are due, oldest first, and return them with their destinations."""
    first = Q(after=None) | ~Q(after__state=DeliveryState.WAITING)
    due = Delivery.objects.filter(WAITING, first, next_at__lte=now, is_test=is_test).select_related("destination")
    claimed = []
    for delivery in due.order_by("next_at", "pk")[:most]:
        mine = Delivery.objects.filter(WAITING, pk=delivery.pk, attempts=delivery.attempts, next_at=delivery.next_at)
        if mine.update(attempts=F("attempts") + 1, next_at=now + CLAIMED_FOR):
            delivery.attempts += 1
            claimed.append(delivery)
    return claimed


@transaction.atomic
def settle(delivery: Delivery, answer: Answer, *, now: datetime, share: Callable[[], float] = random.random) -> None:
    """Store how a claimed attempt ended, and when the next one is due. `share` returns a number from 0 to 1."""
    values: dict[str, Any] = {"answer": answer.words[:ANSWER_CHARACTERS]}
    is_last = answer.is_gone or delivery.is_test or delivery.attempts > len(RETRIES)
    if answer.is_delivered:
        values |= {"state": DeliveryState.DELIVERED, "ended_at": now}
    elif is_last:
        values |= {"state": DeliveryState.FAILED, "ended_at": now}
    else:
        pause = RETRIES[delivery.attempts - 1] * (1 + JITTER * share())
        values["next_at"] = now + timedelta(seconds=max(pause, min(answer.retry_after or 0, LONGEST_PAUSE)))
    # Somebody may have canceled it, or its claim has ended and another process sends it.
    if not Delivery.objects.filter(WAITING, pk=delivery.pk, attempts=delivery.attempts).update(**values):
        return
    here = Destination.objects.filter(pk=delivery.destination_id)
    if answer.is_delivered:
        here.exclude(failing_since=None).update(failing_since=None)
    elif not delivery.is_test:
        here.filter(failing_since=None).update(failing_since=now)
    if answer.is_gone:
        destinations.give_up(delivery.destination, "The receiver answered 410: it wants no more messages.")
    elif is_last and not delivery.is_test and here.filter(failing_since__lte=now - GIVES_UP_AFTER).exists():
        days = GIVES_UP_AFTER.days
        destinations.give_up(delivery.destination, f"No delivery succeeded for {days} days. Last: {answer.words}")


@transaction.atomic
def send_test(destination: Destination, *, by: Actor) -> Delivery:
    """Queue a test message, which is tried once, and return its delivery."""
    now = timezone.now()
    message = Message(
        cause=f"test:{new_uuid().hex}",
        type="test",
        title=f"Test of {destination.name} by {by.name}. Alerts will arrive here.",
        happened_at=now,
        data={"by": by.name},
        is_test=True,
    )
    queue(message, [destination])
    audit.record("alerts.tested", by=by, object=destination)
    transaction.on_commit(_wake)
    return Delivery.objects.get(destination=destination, cause=message.cause)


def send_again(delivery: Delivery) -> None:
    """Send a message once more, with the same id and from the first attempt on. Raises Refused if it cannot be sent."""
    if not delivery.destination.enabled:
        raise Refused(f"{delivery.destination.name} is off. Turn it on, then send the message again.")
    ended = Delivery.objects.filter(pk=delivery.pk).exclude(WAITING)
    if not ended.update(state=DeliveryState.WAITING, attempts=0, next_at=timezone.now(), ended_at=None):
        raise Stale("This message waits to be sent already.")
    _wake()


def cancel(delivery: Delivery) -> bool:
    """Cancel a delivery that waits, and return whether it did. An attempt in progress may still reach the receiver."""
    return bool(
        Delivery.objects.filter(WAITING, pk=delivery.pk).update(
            state=DeliveryState.CANCELED, ended_at=timezone.now(), answer="Canceled before an answer came."
        )
    )


def prune() -> int:
    """Delete old messages and alerts, and return how many rows. None that waits or holds is deleted."""
    now = timezone.now()
    ended = Delivery.objects.exclude(WAITING)
    newest = Delivery.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    deleted, _ = ended.filter(Q(ended_at__lt=now - KEPT_FOR) | Q(pk__lte=newest - MOST_DELIVERIES)).delete()
    deleted += Alert.objects.filter(ended_at__lt=now - KEPT_FOR).delete()[0]
    return deleted


def _wake() -> None:
    for wake in WAKE:
        wake()
