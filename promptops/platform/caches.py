"""Results in the memory of a process that would be made again otherwise. Nothing here is shared by processes."""

from collections import OrderedDict
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
