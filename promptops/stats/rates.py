"""A rate: how many events there were in the last minute, in memory that does not grow with them."""

import threading
import time
from collections.abc import Callable

SECONDS = 60


class Rate:
    """Counts events by the second. Any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[int, int] = {}
        self._lock = threading.Lock()

    def add(self) -> None:
        """Count one event now."""
        with self._lock:
            second = self._now()
            self._counts[second] = self._counts.get(second, 0) + 1

    def a_minute(self) -> int:
        """Return how many events there were in the last minute."""
        with self._lock:
            self._now()
            return sum(self._counts.values())

    def _now(self) -> int:
        """Return the running second, and forget those that are older than a minute."""
        second = int(self._clock())
        if self._counts and next(iter(self._counts)) <= second - SECONDS:
            self._counts = {each: count for each, count in self._counts.items() if each > second - SECONDS}
        return second
