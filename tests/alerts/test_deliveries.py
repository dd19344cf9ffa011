"""The queue: retries by an injected clock, giving up, claims, and messages in their order."""

from datetime import UTC, datetime, timedelta

import pytest

from promptops.alerts.actions import deliveries, destinations
from promptops.alerts.actions.deliveries import Answer, Message
from promptops.alerts.enums import DeliveryState
from promptops.alerts.models import Delivery
from promptops.alerts.queries import troubles
from promptops.ledger.errors import Refused
from promptops.ledger.models import AuditEntry
from tests.alerts.helpers import save_webhook

pytestmark = pytest.mark.django_db
BEGIN = datetime(2026, 11, 28, 12, tzinfo=UTC)
DOWN, FINE, GONE = Answer(False, "500: down"), Answer(True, "204 No Content"), Answer(False, "410 Gone", is_gone=True)


@pytest.fixture
def webhook(actor):
    return save_webhook(actor)


def queued(webhook, cause: str = "1", **fields) -> Delivery:
    deliveries.queue(Message(cause, "test", "Something.", BEGIN, **fields), [webhook])
    delivery = Delivery.objects.get(destination=webhook, cause=cause)
    Delivery.objects.filter(pk=delivery.pk).update(next_at=BEGIN)
    delivery.refresh_from_db()
    return delivery


def attempt(now: datetime, answer: Answer, share: float = 0.0, *, is_test: bool = False) -> Delivery:
    """Make the one attempt that is due."""
    (delivery,) = deliveries.claim(now, 9, is_test=is_test)
    deliveries.settle(delivery, answer, now=now, share=lambda: share)
    delivery.refresh_from_db()
    return delivery


def test_retries_follow_the_schedule_until_they_are_given_up(webhook):
    delivery, now, pauses = queued(webhook), BEGIN, []
    while True:
        delivery = attempt(now, DOWN)
        if delivery.state != DeliveryState.WAITING:
            break
        pauses.append((delivery.next_at - now).total_seconds())
        assert deliveries.claim(delivery.next_at - timedelta(seconds=1), 9) == []
        now = delivery.next_at
    assert pauses == [5, 300, 1800, 7200, 18000, 36000]
    assert (delivery.state, delivery.attempts, delivery.answer) == ("failed", 7, "500: down")
    assert webhook.deliveries.get().destination.enabled


@pytest.mark.parametrize(
    ("share", "retry_after", "seconds"), [(1.0, None, 6), (0.5, None, 5.5), (0.0, 90.0, 90), (0.0, 1e9, 86400)]
)
def test_a_pause_has_jitter_and_minds_retry_after(webhook, share, retry_after, seconds):
    queued(webhook)
    delivery = attempt(BEGIN, Answer(False, "503", retry_after=retry_after), share)
    assert (delivery.next_at - BEGIN).total_seconds() == seconds


def test_a_success_ends_the_failure_of_the_destination(webhook):
    queued(webhook)
    attempt(BEGIN, DOWN)
    webhook.refresh_from_db()
    assert webhook.failing_since == BEGIN
    assert troubles(BEGIN + timedelta(minutes=59)) == []
    assert troubles(BEGIN + timedelta(minutes=60)) == [webhook]
    assert attempt(BEGIN + timedelta(minutes=60), FINE).state == "delivered"
    webhook.refresh_from_db()
    assert webhook.failing_since is None


def test_410_turns_the_destination_off_at_once_and_cancels_what_waits(webhook):
    queued(webhook)
    other = queued(webhook, "2")
    Delivery.objects.filter(pk=other.pk).update(next_at=BEGIN + timedelta(hours=1))
    attempt(BEGIN, GONE)
    webhook.refresh_from_db()
    other.refresh_from_db()
    assert (webhook.enabled, other.state) == (False, "canceled")
    assert "410" in webhook.off_reason
    assert AuditEntry.objects.filter(action="alerts.given_up", actor_name="PromptOps").count() == 1
    assert troubles() == [webhook]


@pytest.mark.parametrize(("failing_for", "is_on"), [(timedelta(hours=47), True), (timedelta(hours=48), False)])
def test_a_destination_that_failed_for_two_days_is_turned_off(webhook, failing_for, is_on):
    webhook.failing_since = BEGIN - failing_for
    webhook.save()
    queued(webhook)
    Delivery.objects.update(attempts=len(deliveries.RETRIES))
    attempt(BEGIN, DOWN)
    webhook.refresh_from_db()
    assert webhook.enabled is is_on


def test_of_two_processes_one_gets_a_message_and_a_dead_one_loses_it(webhook):
    delivery = queued(webhook)
    assert [row.pk for row in deliveries.claim(BEGIN, 9)] == [delivery.pk]
    assert deliveries.claim(BEGIN, 9) == []
    later = BEGIN + deliveries.CLAIMED_FOR
    (again,) = deliveries.claim(later, 9)
    delivery.attempts = 1  # the first process comes back with an answer
    deliveries.settle(delivery, GONE, now=later)
    webhook.refresh_from_db()
    assert webhook.enabled
    deliveries.settle(again, FINE, now=later)
    assert Delivery.objects.get().state == "delivered"


def test_the_claim_is_conditional_on_the_row_that_was_read(webhook, monkeypatch):
    queued(webhook)
    update = Delivery.objects.all().__class__.update
    other: list[Delivery] = []

    def slow(rows, **values):
        if not other:
            other.append(Delivery())
            other[:] = deliveries.claim(BEGIN, 9)
        return update(rows, **values)

    monkeypatch.setattr(Delivery.objects.all().__class__, "update", slow)
    assert deliveries.claim(BEGIN, 9) == []
    assert len(other) == 1


def test_an_end_waits_for_its_begin(webhook):
    begin = queued(webhook)
    deliveries.queue(Message("end", "test", "It ended.", BEGIN), [webhook], after=begin.pk)
    Delivery.objects.update(next_at=BEGIN)
    assert attempt(BEGIN, DOWN).pk == begin.pk
    assert deliveries.claim(BEGIN + timedelta(seconds=4), 9) == []
    assert attempt(BEGIN + timedelta(seconds=5), FINE).pk == begin.pk
    assert attempt(BEGIN + timedelta(seconds=5), FINE).title == "It ended."


def test_no_destination_gets_a_message_twice(webhook, actor):
    other = save_webhook(actor, "Other")
    for _ in range(2):
        deliveries.queue(Message("1", "test", "Something.", BEGIN), [webhook, other])
    assert Delivery.objects.count() == 2


def test_a_message_is_sent_again_with_its_id(webhook, actor):
    delivery = queued(webhook)
    with pytest.raises(Refused, match="waits to be sent"):
        deliveries.send_again(delivery)
    attempt(BEGIN, FINE)
    deliveries.send_again(delivery)
    fresh = Delivery.objects.get()
    assert (fresh.state, fresh.attempts, fresh.message_id) == ("waiting", 0, delivery.message_id)
    destinations.set_enabled(webhook, False, by=actor)
    delivery.refresh_from_db()
    with pytest.raises(Refused, match="On call is off"):
        deliveries.send_again(Delivery.objects.select_related("destination").get())


def test_a_test_is_tried_once_even_while_the_destination_is_off(webhook, actor):
    destinations.set_enabled(webhook, False, by=actor)
    queued(webhook, "waits too")
    delivery = deliveries.send_test(webhook, by=actor)
    delivery = attempt(delivery.next_at, DOWN, is_test=True)
    assert (delivery.state, delivery.attempts) == ("failed", 1)
    webhook.refresh_from_db()
    assert webhook.failing_since is None


def test_the_answer_to_a_canceled_test_counts_for_nothing(webhook, actor):
    delivery = deliveries.send_test(webhook, by=actor)
    (claimed,) = deliveries.claim(delivery.next_at, 9, is_test=True)
    assert deliveries.cancel(delivery)
    assert not deliveries.cancel(delivery)
    deliveries.settle(claimed, FINE, now=BEGIN)
    assert Delivery.objects.get().state == "canceled"


def test_old_messages_are_deleted_and_waiting_ones_stay(webhook, monkeypatch):
    old, young, waiting = (queued(webhook, cause) for cause in "123")
    ended = Delivery.objects.exclude(pk=waiting.pk)
    ended.update(state="delivered", ended_at=old.made_at)
    Delivery.objects.filter(pk=old.pk).update(ended_at=old.made_at - deliveries.KEPT_FOR)
    deliveries.prune()
    assert set(Delivery.objects.all()) == {young, waiting}
    monkeypatch.setattr(deliveries, "MOST_DELIVERIES", 0)
    deliveries.prune()
    assert set(Delivery.objects.all()) == {waiting}
