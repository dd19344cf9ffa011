"""An event loop whose time is false: waiting costs nothing, and an hour passes at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from promptops.client import Clock

EPOCH = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


class Selector(selectors.DefaultSelector):
    """Jumps to the next timer instead of waiting for it."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return what is ready; if nothing is, let the time pass."""
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is left that could ever happen"
            self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop without real waiting. Work for threads is done at once."""

    def __init__(self) -> None:
        self.now = 1_000.0
        selector = Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return the false time in seconds."""
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Call the function now."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def clock(self, random: Callable[[], float] = lambda: 0.5) -> Clock:
        """Return a clock that shows this loop's time."""
        return Clock(self.time, lambda: EPOCH + timedelta(seconds=self.now - 1_000.0), random)


def virtually(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test in a loop of its own, with false time."""

    @wraps(test)
    def run(**arguments: Any) -> None:
        loop = VirtualLoop()
        try:
            loop.run_until_complete(test(**arguments))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    return run
