"""Background tasks of a server. Features register theirs with `task`, `hourly` and `at_start`; none belongs here.

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
    """Register a coroutine function that runs, until it is canceled, in each event loop of the application."""
    TASKS.append(function)
    return function


def hourly(function: Chore) -> Chore:
    """Register a function that is called in a thread when the server starts and then every hour."""
    HOURLY.append(function)
    return function


def at_start(function: Chore) -> Chore:
    """Register a function that is called when the tasks start."""
    AT_START.append(function)
    return function


def with_background_tasks(application: Application) -> Application:
    """Return an application that also starts the background tasks, once in each event loop."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        start()
        await application(scope, receive, send)

    return wrapped


def start() -> None:
    """Start the tasks in the running loop, unless they run already or the server is stopping."""
    loop = asyncio.get_running_loop()
    events.pages_are_in(loop)
    if loop not in _running and not gate.closed:
        for function in AT_START:
            function()
        _running[loop] = [loop.create_task(function()) for function in (*TASKS, _housekeeping)]


async def stop() -> None:
    """End the tasks of the running loop, in tests and at a clean shutdown."""
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
                log.exception("Housekeeping failed. Retrying in an hour.")
        await asyncio.sleep(HOUSEKEEPING_SECONDS)
