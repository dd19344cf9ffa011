"""Background tasks of a server. Features register theirs with `task`, `hourly` and `at_start`; none belongs here.

Daphne has no lifespan events, so the tasks start with the application's first call in an event loop and end with it.
"""

import asyncio
import contextlib
import logging
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from django.db import Error

from promptops.platform import events, leases
from promptops.platform.draining import gate
from promptops.platform.threads import in_background

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 3600.0
HOUSEKEEPING = "housekeeping"
"""The lease of the process that does the hourly chores of the installation."""
RELEASE_SECONDS = 2.0
"""Seconds for which the end of the process waits to give its lease back."""

Application = Callable[[Any, Any, Any], Awaitable[None]]
Task = Callable[[], Coroutine[Any, Any, None]]
Chore = TypeVar("Chore", bound=Callable[[], object])

TASKS: list[Task] = []
HOURLY: list[Callable[[], object]] = []
AT_START: list[Callable[[], object]] = []
_errors: Counter[str] = Counter()
_running: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[asyncio.Task[None]]]" = weakref.WeakKeyDictionary()


def task(function: Task) -> Task:
    """Register a coroutine function that runs, until it is canceled, in each event loop of the application."""
    TASKS.append(function)
    return function


def hourly(function: Chore) -> Chore:
    """Register a function that one process of the installation calls, in a thread: when it starts, then every hour.

    A second process may call it too if the first one hangs. So it must stay correct when two call it at once.
    """
    HOURLY.append(function)
    return function


def at_start(function: Chore) -> Chore:
    """Register a function that is called when the tasks start."""
    AT_START.append(function)
    return function


def errors() -> dict[str, int]:
    """Return how often each task has ended by an error, and how often each chore has failed."""
    names = [function.__name__ for function in (*TASKS, _housekeeping, *HOURLY)]
    return {name: _errors[name] for name in names}


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
        _running[loop] = [loop.create_task(function(), name=function.__name__) for function in (*TASKS, _housekeeping)]
        for each in _running[loop]:
            each.add_done_callback(_note_end)


def _note_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("The background task %s ended with an error. Restart the server.", task.get_name(), exc_info=error)
        _errors[task.get_name()] += 1


async def stop() -> None:
    """End the tasks of the running loop, in tests and at a clean shutdown."""
    tasks = _running.pop(asyncio.get_running_loop(), [])
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _housekeeping() -> None:
    """Do the hourly chores for ever, while this process has the lease. The next holder begins with all of them."""
    loop = asyncio.get_running_loop()
    is_holder, due = False, loop.time()
    try:
        while True:
            was_holder, is_holder = is_holder, await _keeps_lease(is_holder)
            if is_holder and (not was_holder or loop.time() >= due):
                due = loop.time() + HOUSEKEEPING_SECONDS
                is_holder = await _do_chores()
            await asyncio.sleep(leases.SECONDS / 3)
    finally:
        if is_holder:
            with contextlib.suppress(Exception):  # else it ends by itself
                async with asyncio.timeout(RELEASE_SECONDS):
                    await in_background(leases.release, HOUSEKEEPING)


async def _keeps_lease(is_holder: bool) -> bool:
    """Take or renew the lease, and return whether this process has it. An outage of the database changes nothing."""
    try:
        return await in_background(_take_lease)
    except Error:  # whoever follows the database logs it
        return is_holder


def _take_lease() -> bool:
    return leases.take(HOUSEKEEPING, seconds=leases.SECONDS)


async def _do_chores() -> bool:
    """Do each chore, and renew the lease meanwhile. Stop when another process has it, and return whether none has."""
    for chore in tuple(HOURLY):
        work = asyncio.ensure_future(in_background(chore))
        while not (await asyncio.wait({work}, timeout=leases.SECONDS / 3))[0]:
            await _keeps_lease(True)
        try:
            work.result()
        except Exception:
            log.exception("Housekeeping failed. Retrying in an hour.")
            _errors[chore.__name__] += 1
        if not await _keeps_lease(True):
            return False
    return True
