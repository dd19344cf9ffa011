"""Results in the memory of a process that would be made again otherwise. Nothing here is shared by processes."""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """The newest `size` results of reading texts, in memory only; threads may share it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[Any, T] = OrderedDict()

    def get(self, key: Any) -> T | None:
        return self._entries.get(key)

    def put(self, key: Any, value: T) -> None:
        self._entries[key] = value
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)


class Shared(Generic[T]):
    """The newest `size` results of reading the database, each for a few seconds. One thread reads, the others wait.

    A key has everything that the result depends on, such as the newest numbers of the database.
    """

    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds
        self._lock = Lock()
        self._entries: OrderedDict[Any, tuple[float, T]] = OrderedDict()

    def get(self, key: Any, read: Callable[[], T]) -> T:
        """Return the result for the key, read at most `seconds` ago. Raises what `read` raises."""
        with self._lock:
            found = self._entries.get(key)
            if found and time.monotonic() - found[0] < self._seconds:
                return found[1]
            result = read()
            self._entries[key] = (time.monotonic(), result)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
            return result

    def forget(self) -> None:
        """Forget all results."""
        with self._lock:
            self._entries.clear()
