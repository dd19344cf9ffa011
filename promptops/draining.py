"""Letting runs end before the server does."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Gate:
    """Counts the runs under way, and lets no new one in once it is closed."""

    def __init__(self) -> None:
        self.closed = False
        self._under_way: set[object] = set()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Around one run."""
        self._under_way.add(one := object())
        try:
            yield
        finally:
            self._under_way.discard(one)

    async def drain(self, seconds: float) -> int:
        """Close, and wait for the runs under way, at most `seconds`; how many are left then."""
        self.closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._under_way:  # noqa: ASYNC110 -- runs end in the event loop that they run in, maybe another
                    await asyncio.sleep(0.02)
        return len(self._under_way)


gate = Gate()  # this process's
