"""The threads in which background work asks the database: few, so that the connections of a process are bounded."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.db import Error, connection

Result = TypeVar("Result")

BACKGROUND_THREADS = 3
"""For housekeeping, the heartbeat, hints, and what open pages share: two may hang, and the others still go on."""

RESTED_SECONDS = 1.0
"""After so long without work the connection is looked at before it is used: the database may have been restarted."""

MOST_REST_SECONDS = 0.05
"""So that one slow disk does not make it twice as slow."""

_background = ThreadPoolExecutor(max_workers=BACKGROUND_THREADS, thread_name_prefix="database")


async def in_background(work: Callable[..., Result], *arguments: Any) -> Result:
    """Return what `work` returns, from a thread whose connection to the database is reused. Raises what it raises.

    It is neither the thread that sockets share, which a slow query would hold up, nor one that answers requests.
    """
    result: Result = await database_sync_to_async(work, thread_sensitive=False, executor=_background)(*arguments)
    return result


class DatabaseThread:
    """Does database work in order, in a thread of its own that rests half of the time.

    Writing from a dozen threads makes SQLite's lock, and Python's, what everybody waits for, pages included; opening a
    connection for each piece of work takes longer than the work. Resting as long as it worked leaves the other half to
    the pages.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._used = 0.0
        self._rested = 0.0

    async def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """What `work` returns or raises."""
        return await sync_to_async(self._work, thread_sensitive=False, executor=self._executor)(work, *arguments)

    async def close(self) -> None:
        """Close the connection and end the thread; what was handed in before is done first.

        Both happen also if the caller is canceled meanwhile.
        """
        # Looked up in there: each thread has its own.
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
