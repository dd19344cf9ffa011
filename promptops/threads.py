"""The threads in which background work asks the database: few, so that the connections of a process are bounded."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from channels.db import database_sync_to_async

Result = TypeVar("Result")

BACKGROUND_THREADS = 4
"""For following, housekeeping, the heartbeat, and what open pages share: two may hang, and the others still go on."""

_background = ThreadPoolExecutor(max_workers=BACKGROUND_THREADS, thread_name_prefix="database")


async def in_background(work: Callable[..., Result], *arguments: Any) -> Result:
    """Return what `work` returns, from a thread whose connection to the database is reused. Raises what it raises.

    It is neither the thread that sockets share, which a slow query would hold up, nor one that answers requests.
    """
    result: Result = await database_sync_to_async(work, thread_sensitive=False, executor=_background)(*arguments)
    return result
