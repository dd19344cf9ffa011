"""The threads in which background work uses the database. They are few, to limit the connections of a process.

The threads that answer requests belong to `web.workers`.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.db import Error, connection

Result = TypeVar("Result")

BACKGROUND_THREADS = 3
"""For housekeeping, the heartbeat, hints and the shared parts of pages. If two of them hang, the others still work."""

RESTED_SECONDS = 1.0
"""After this time without work, the connection is checked before use: the database may have been restarted."""

MOST_REST_SECONDS = 0.05
"""The longest rest, so that a slow disk does not make work twice as slow."""

_background = ThreadPoolExecutor(max_workers=BACKGROUND_THREADS, thread_name_prefix="database")


async def in_background(work: Callable[..., Result], *arguments: Any) -> Result:
    """Call `work` in a background thread, which reuses its connection to the database. Return its result.

    A slow query here delays neither the thread that sockets share nor those that answer requests.
    """
    result: Result = await database_sync_to_async(work, thread_sensitive=False, executor=_background)(*arguments)
    return result


class DatabaseThread:
    """A thread that does database work in order and rests half of the time.

    With a dozen writing threads, all pages would wait for the locks of SQLite and Python, and opening a connection
    takes longer than most work. The thread rests as long as it worked, which leaves half of the time to the pages.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._used = 0.0
        self._rested = 0.0

    async def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Call `work` in the thread. Return its result."""
        return await sync_to_async(self._work, thread_sensitive=False, executor=self._executor)(work, *arguments)

    def submit(self, work: Callable[..., Result], *arguments: Any) -> "Future[Result]":
        """Call `work` in the thread, without an event loop that waits for it. Return its future result."""
        return self._executor.submit(self._work, work, *arguments)

    async def close(self) -> None:
        """Close the connection and end the thread, after the work that was handed in before.

        Both happen even if the caller is canceled.
        """
        # In the lambda, because each thread has its own connection.
        closing = self._executor.submit(lambda: connection.close())
        self._executor.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(closing))

    def _work(self, work: Callable[..., Result], *arguments: Any) -> Result:
        time.sleep(max(0.0, self._rested - time.monotonic()))
        began = time.monotonic()
        if began - self._used > RESTED_SECONDS and connection.connection is not None and not connection.is_usable():
            connection.close()
        try:
            return work(*arguments)
        except Error:
            connection.close()
            raise
        finally:
            self._used = time.monotonic()
            self._rested = self._used + min(self._used - began, MOST_REST_SECONDS)
