"""The task that looks and sends: one process looks, every message leaves once, and an error stops nothing."""

import asyncio
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.db.models import F

from promptops.alerts import following, sending
from promptops.alerts.actions import deliveries, looking
from promptops.alerts.actions.deliveries import Answer, Message
from promptops.alerts.models import Delivery
from promptops.platform.models import Lease
from tests.alerts.helpers import save_webhook
from tests.compare.trial_runs import until

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_process_looks_until_it_dies(monkeypatch):
    looks: list[int] = []
    monkeypatch.setattr(looking, "look", lambda: looks.append(1))
    assert following.look_if_holder("one")
    assert not following.look_if_holder("two")
    assert following.look_if_holder("one")
    Lease.objects.update(until=F("until") - timedelta(seconds=2 * following.LOOK_SECONDS + 1))
    assert following.look_if_holder("two")
    assert len(looks) == 3


async def test_every_message_leaves_once_though_two_send_and_looking_fails(actor, monkeypatch, caplog):
    webhook = await database_sync_to_async(save_webhook)(actor)
    for number in range(5):
        message = Message(str(number), "test", "Something.", webhook.made_at)
        await database_sync_to_async(deliveries.queue)(message, [webhook])
    sent: list[str] = []

    async def send(delivery: Delivery) -> Answer:
        sent.append(delivery.cause)
        await asyncio.sleep(0.01)
        return Answer(True, "204 No Content")

    def broken() -> None:
        raise ValueError("broken")

    monkeypatch.setattr(sending, "send", send)
    monkeypatch.setattr(looking, "look", broken)
    monkeypatch.setattr(following, "SECONDS", 0.02)
    tasks = [asyncio.create_task(following.send_alerts()) for _ in range(2)]
    delivered = Delivery.objects.filter(state="delivered")
    try:
        await until(lambda: len(sent) >= 5, seconds=10)
        for _ in range(200):
            if await delivered.acount() == 5:
                break
            await asyncio.sleep(0.02)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(sent) == ["0", "1", "2", "3", "4"]
    assert await delivered.acount() == 5
    assert "Alerts cannot be sent" in caplog.text
