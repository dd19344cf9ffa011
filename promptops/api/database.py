"""The threads in which routes use the database. They are few, and a bounded number of requests waits for them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from channels.db import database_sync_to_async

from promptops.api.problems import later
from promptops.platform import outages

Result = TypeVar("Result")

THREADS = 4
"""Each has a connection of its own. Pages have other threads (`web.workers`), so neither waits for the other."""
MOST_WAITING = 200
LONGEST_SECONDS = 30.0
"""After this time, as with a database that hangs, the caller gets an answer without a result."""
BUSY = "The server is busy. Try again in a few seconds."
SILENT = (
    "The database does not answer at the moment. A change that you asked for may still be made, so repeat the request "
    "with its Idempotency-Key."
)

_threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="api")
_waiting = 0


async def in_database(work: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
    """Call `work` in one of the threads and return its result. Raises a problem if too many wait, or one for too long.

    A caller that goes away does not stop `work`: a change that has begun is finished.
    """
    global _waiting
    if _waiting >= MOST_WAITING:
        raise later("busy", BUSY, outages.RETRY_SECONDS)
    _waiting += 1
    call = database_sync_to_async(work, thread_sensitive=False, executor=_threads)
    task = asyncio.ensure_future(call(*arguments, **named))
    task.add_done_callback(_count_down)
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            result: Result = await asyncio.shield(task)
    except TimeoutError:
        if task.done():  # it is an error of `work`
            raise
        raise later("unavailable", SILENT, outages.RETRY_SECONDS) from None
    return result


def _count_down(task: "asyncio.Future[Any]") -> None:
    global _waiting
    _waiting -= 1
    if not task.cancelled():
        task.exception()  # of a caller that is gone; nobody else reads it
