"""Draining: when the server stops, runs in progress may end and are recorded."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Gate:
    """Counts the runs in progress. Nobody starts a new run once the gate is closed."""

    def __init__(self) -> None:
        self.closed = False
        self.when_closed: list[Callable[[], None]] = []
        """Called in the event loop when the gate closes. They end what only waits."""
        self._in_progress: dict[object, asyncio.Task[object] | None] = {}

    @contextmanager
    def passing(self, task: "asyncio.Task[object] | None" = None) -> Iterator[None]:
        """Count the run of the body, which is in `task`. Without a task, `cut_off` does not cancel it."""
        self._in_progress[one := object()] = task
        try:
            yield
        finally:
            del self._in_progress[one]

    async def drain(self, seconds: float) -> int:
        """Close the gate and wait for the runs in progress, at most `seconds`. Return how many are left."""
        self.closed = True
        for callback in self.when_closed:
            callback()
        return await self.emptied(seconds)

    async def cut_off(self, seconds: float) -> int:
        """Cancel the runs in progress and wait until they are recorded, at most `seconds`. Return how many are left."""
        for task in tuple(self._in_progress.values()):  # a copy, because other event loops add and remove runs
            if task is not None:
                task.get_loop().call_soon_threadsafe(task.cancel)
        return await self.emptied(seconds)

    async def emptied(self, seconds: float) -> int:
        """Wait for the runs in progress, at most `seconds`. Return how many are left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._in_progress:  # noqa: ASYNC110 -- runs may end in another event loop
                    await asyncio.sleep(0.02)
        return len(self._in_progress)


gate = Gate()
"""The gate of this process."""
