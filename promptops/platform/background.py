"""What the server does beside answering: following releases made elsewhere, running comparisons, hourly housekeeping.

Daphne has no lifespan events, so the tasks start with the application's first call in an event loop and end with it.
"""

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from django.contrib.sessions.backends.db import SessionStore

from promptops.compare.actions.trials import Runner
from promptops.ledger.actions.exports import record_counted_exports
from promptops.live import snapshots as live
from promptops.platform import events
from promptops.platform.draining import gate
from promptops.platform.threads import in_background
from promptops.prompts.actions import presence
from promptops.providers.actions import adaptations
from promptops.runs.actions.erasing import erase_expired

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 3600.0

Application = Callable[[Any, Any, Any], Awaitable[None]]
_tasks: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[asyncio.Task[None]]]" = weakref.WeakKeyDictionary()


def with_background_tasks(application: Application) -> Application:
    """The application, which also starts the background tasks, once in each event loop that it runs in."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        start()
        await application(scope, receive, send)

    return wrapped


def start() -> None:
    """Start the tasks in the running loop, unless they run already or the server is about to end."""
    loop = asyncio.get_running_loop()
    events.pages_are_in(loop)
    if loop not in _tasks and not gate.closed:
        adaptations.listen()
        runner = Runner()
        _tasks[loop] = [
            loop.create_task(live.follow(on_comparison=runner.wake)),
            loop.create_task(events.relay(live.hear)),
            loop.create_task(runner.run()),
            loop.create_task(_housekeeping()),
            loop.create_task(_heartbeat()),
        ]


async def stop() -> None:
    """End the running loop's tasks (tests and a clean shutdown)."""
    tasks = _tasks.pop(asyncio.get_running_loop(), [])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _housekeeping() -> None:
    while True:
        try:
            await in_background(_tidy)
        except Exception:
            log.exception("Housekeeping failed; trying again in an hour.")
        await asyncio.sleep(HOUSEKEEPING_SECONDS)


async def _heartbeat() -> None:
    """Say again and again that this process still has its pages."""
    while True:
        await asyncio.sleep(presence.HEARTBEAT_SECONDS)
        try:
            await in_background(presence.still_here)
        except Exception:
            log.exception("The heartbeat of open pages failed; trying again in %d s.", presence.HEARTBEAT_SECONDS)


def _tidy() -> None:
    """Erase the text of runs that are older than the retention setting; drop expired sessions; record exports."""
    if erased := erase_expired():
        log.info("Erased the text of %d expired runs.", erased)
    SessionStore.clear_expired()
    record_counted_exports()
