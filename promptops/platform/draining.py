"""Letting runs end before the server does, and be recorded."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Gate:
    """Counts the runs under way, and lets no new one in once it is closed."""

    def __init__(self) -> None:
        self.closed = False
        self._under_way: dict[object, asyncio.Task[object] | None] = {}

    @contextmanager
    def passing(self, task: "asyncio.Task[object] | None" = None) -> Iterator[None]:
        """Around one run, in `task`; without one around work that nobody may cut off."""
        self._under_way[one := object()] = task
        try:
            yield
        finally:
            del self._under_way[one]

    async def drain(self, seconds: float) -> int:
        """Close, and wait for the runs under way, at most `seconds`; how many are left then."""
        self.closed = True
        return await self.emptied(seconds)

    async def cut_off(self, seconds: float) -> int:
        """Cancel the runs under way, and wait until they are recorded, at most `seconds`; how many are left then."""
        for task in tuple(self._under_way.values()):  # runs of other event loops come and go meanwhile
            if task is not None:
                task.get_loop().call_soon_threadsafe(task.cancel)
        return await self.emptied(seconds)

    async def emptied(self, seconds: float) -> int:
        """Wait for the runs under way, at most `seconds`; how many are left then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._under_way:  # noqa: ASYNC110 -- runs end in the event loop that they run in, maybe another
                    await asyncio.sleep(0.02)
        return len(self._under_way)


gate = Gate()  # this process's
