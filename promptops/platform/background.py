"""What the server does beside answering. Features add their tasks with `task`, `hourly` and `at_start`.

Daphne has no lifespan events, so the tasks start with the application's first call in an event loop and end with it.
"""

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from promptops.platform import events
from promptops.platform.draining import gate
from promptops.platform.threads import in_background

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 3600.0

Application = Callable[[Any, Any, Any], Awaitable[None]]
Task = Callable[[], Coroutine[Any, Any, None]]
Chore = TypeVar("Chore", bound=Callable[[], object])

TASKS: list[Task] = []
HOURLY: list[Callable[[], object]] = []
AT_START: list[Callable[[], object]] = []
_running: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[asyncio.Task[None]]]" = weakref.WeakKeyDictionary()


def task(function: Task) -> Task:
    """Run this coroutine function in each event loop that the application runs in; it ends only when canceled."""
    TASKS.append(function)
    return function


def hourly(function: Chore) -> Chore:
    """Call this function in a thread when the server starts and then every hour."""
    HOURLY.append(function)
    return function


def at_start(function: Chore) -> Chore:
    """Call this function when the tasks start."""
    AT_START.append(function)
    return function


def with_background_tasks(application: Application) -> Application:
    """Return the application, which also starts the background tasks, once in each event loop that it runs in."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        start()
        await application(scope, receive, send)

    return wrapped


def start() -> None:
    """Start the tasks in the running loop, unless they run already or the server is about to end."""
    loop = asyncio.get_running_loop()
    events.pages_are_in(loop)
    if loop not in _running and not gate.closed:
        for function in AT_START:
            function()
        _running[loop] = [loop.create_task(function()) for function in (*TASKS, _housekeeping)]


async def stop() -> None:
    """End the running loop's tasks (tests and a clean shutdown)."""
    tasks = _running.pop(asyncio.get_running_loop(), [])
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _housekeeping() -> None:
    while True:
        for chore in HOURLY:
            try:
                await in_background(chore)
            except Exception:
                log.exception("Housekeeping failed; trying again in an hour.")
        await asyncio.sleep(HOUSEKEEPING_SECONDS)
