"""Requests that wait in memory until something happens: a swap of the snapshot, the end of the process or of a token.

They may be in several event loops. What they wait for belongs to their callers.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from enum import Enum

MOST_WAITING = 5_000
"""Requests that wait at once in this process. Each takes a few kilobytes and a connection."""


class TooManyWaiting(Exception):
    """No further request may wait."""


class Reason(Enum):
    """The reasons for which waiting ends without news."""

    STOPPING = "The process stops."
    REVOKED = "The token was revoked, has changed or has expired."


class Ended(Exception):
    """Waiting ended without news, for the `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Waiter:
    """One waiting request, of one token."""

    def __init__(self, token: int) -> None:
        self.token = token
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._ended: Reason | None = None

    def rest(self) -> None:
        """Forget earlier calls. Look for news after this call, so that none is missed."""
        self._woken.clear()

    async def woken_before(self, ends: float) -> bool:
        """Wait for the next call until the loop's time `ends`. Return whether it came. Raises Ended."""
        if self._ended is None:
            try:
                async with asyncio.timeout_at(ends):
                    await self._woken.wait()
            except TimeoutError:
                return False
        if self._ended is not None:
            raise Ended(self._ended)
        return True

    def call(self, ended: Reason | None = None) -> None:
        """Wake the request, from any thread; with a reason, end it."""
        self._ended = self._ended or ended
        with contextlib.suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._woken.set)


class Waiting:
    """All waiting requests of this process."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.most = most
        self._waiters: dict[Waiter, None] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    @contextlib.contextmanager
    def waiter(self, token: int) -> Iterator[Waiter]:
        """Return a waiter for the body. Raises TooManyWaiting."""
        if len(self._waiters) >= self.most:
            raise TooManyWaiting
        waiter = Waiter(token)
        self._waiters[waiter] = None
        try:
            yield waiter
        finally:
            del self._waiters[waiter]

    def wake(self) -> None:
        """Let all look for news."""
        for waiter in tuple(self._waiters):
            waiter.call()

    def stop(self) -> None:
        """End all, because the process stops."""
        for waiter in tuple(self._waiters):
            waiter.call(Reason.STOPPING)

    def revoke(self, token: int) -> None:
        """End those of a token."""
        for waiter in tuple(self._waiters):
            if waiter.token == token:
                waiter.call(Reason.REVOKED)
