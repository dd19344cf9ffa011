"""The work of alerts beside requests: looking at conditions, in one process, and sending what is due, in every one."""

import asyncio
import logging

from django.db import Error
from django.utils import timezone

from promptops.alerts import queries, sending
from promptops.alerts.actions import deliveries, looking
from promptops.alerts.models import Delivery
from promptops.platform import background, leases
from promptops.platform.draining import gate
from promptops.platform.threads import in_background
from promptops.platform.waking import Signal

log = logging.getLogger(__name__)

LEASE = "alerts"
SECONDS = 5.0
"""Between two looks at what is due, and at the conditions every third time."""
LOOK_SECONDS = 15.0
SENT_AT_ONCE = 8

_wake = Signal()
deliveries.WAKE.append(_wake.set)


@background.task
async def send_alerts() -> None:
    """Look at conditions and send messages for ever. Without a destination there is nothing to do."""
    loop = asyncio.get_running_loop()
    sending_now: set[asyncio.Task[None]] = set()
    look_at = loop.time()
    _wake.hear()
    try:
        while True:
            try:
                if await in_background(queries.has_destinations):
                    if loop.time() >= look_at:
                        look_at = loop.time() + LOOK_SECONDS
                        await in_background(look_if_holder)
                    for delivery in await in_background(_claim, SENT_AT_ONCE - len(sending_now)):
                        task = loop.create_task(_send(delivery))
                        sending_now.add(task)
                        task.add_done_callback(sending_now.discard)
                        task.add_done_callback(lambda _: _wake.set())
            except Error:  # whoever follows the database logs an outage
                pass
            except Exception:
                log.exception("Alerts cannot be sent. Trying again.")
            await _wake.wait(SECONDS)
    finally:
        _wake.forget_loop()
        for task in sending_now:
            task.cancel()
        await asyncio.gather(*sending_now, return_exceptions=True)


def look_if_holder(holder: str = leases.HOLDER) -> bool:
    """Look at conditions and events if this process has the lease, and return whether it has."""
    is_holder = leases.take(LEASE, holder=holder, seconds=2 * LOOK_SECONDS)
    if is_holder:
        looking.look()
    return is_holder


def _claim(most: int) -> list[Delivery]:
    """Claim what is due: a test at once, however many messages wait, as somebody waits for its result."""
    if gate.closed:
        return []
    now = timezone.now()
    tests = deliveries.claim(now, SENT_AT_ONCE, is_test=True)
    return tests + (deliveries.claim(now, most) if most > 0 else [])


async def _send(delivery: Delivery) -> None:
    answer = await sending.send(delivery)
    try:
        await in_background(_settle, delivery, answer)
    except Error:
        log.warning("The answer to an alert cannot be stored. It is sent again, with the same id.")


def _settle(delivery: Delivery, answer: deliveries.Answer) -> None:
    deliveries.settle(delivery, answer, now=timezone.now())


@background.hourly
def prune_alerts() -> None:
    """Delete old messages and conditions that ended."""
    deliveries.prune()
