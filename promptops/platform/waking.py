"""Events that threads set and tasks of any event loop wait for."""

import asyncio
import contextlib
import threading


class Signal:
    """An event that any thread sets, and one task in each event loop waits for."""

    def __init__(self) -> None:
        self._events: dict[asyncio.AbstractEventLoop, asyncio.Event] = {}
        self._lock = threading.Lock()

    def set(self) -> None:
        """Wake the tasks."""
        with self._lock:
            waiting = list(self._events.items())
        for loop, event in waiting:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(event.set)

    def hear(self) -> None:
        """Take part from now on: `set` wakes the next `wait` of the running loop, even one that begins later."""
        with self._lock:
            self._events[asyncio.get_running_loop()] = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait until somebody calls `set`, at most `seconds`."""
        event = self._events[asyncio.get_running_loop()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
        event.clear()

    def forget_loop(self) -> None:
        """Stop waking the running loop."""
        with self._lock:
            self._events.pop(asyncio.get_running_loop(), None)
