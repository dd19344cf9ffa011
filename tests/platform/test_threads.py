"""The threads of background work."""

import asyncio
import time
from contextlib import suppress

import pytest
from django.db import connections

from promptops.platform.threads import DatabaseThread

pytestmark = pytest.mark.django_db(transaction=True)


def opened():
    """Open this thread's connection and return it."""
    connections["default"].ensure_connection()
    return connections["default"]


async def test_a_thread_closes_its_connection_even_if_nobody_waits():
    """Like a task that is canceled again while it ends."""
    thread = DatabaseThread("test")
    its_connection = await thread.run(opened)
    busy = asyncio.create_task(thread.run(time.sleep, 0.2))
    await asyncio.sleep(0.05)
    closing = asyncio.create_task(thread.close())
    await asyncio.sleep(0.05)
    closing.cancel()
    with suppress(asyncio.CancelledError):
        await closing
    await busy
    async with asyncio.timeout(5):
        while its_connection.connection is not None:  # noqa: ASYNC110 -- it closes in its own thread
            await asyncio.sleep(0.02)
