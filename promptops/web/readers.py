"""Reading the database for the messages of pages: all messages that wait are answered in one go, in one thread.

Each message gets the person as the database has them after the message came. What is read for a message belongs to the
socket and its parts.
"""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from channels.db import database_sync_to_async

from promptops.people import queries as people
from promptops.people.models import User

Result = TypeVar("Result")

MAX_AT_ONCE = 32
"""Messages that are answered in one go. A message waits for all of them, about 0.5 ms each."""


class Message(NamedTuple):
    """A message that waits: the session of its page, what to read for it, and where the result goes."""

    session_key: str
    read: Callable[[User | None], Any]
    result: "asyncio.Future[Any]"


class Reader:
    """Reads for the messages of one event loop."""

    def __init__(self) -> None:
        self._waiting: list[Message] = []
        self._reading: asyncio.Task[None] | None = None

    async def read(self, session_key: str, read: Callable[[User | None], Result]) -> Result:
        """Call `read` in a thread with the person whose session this is, None if nobody is signed in there."""
        loop = asyncio.get_running_loop()
        message = Message(session_key, read, loop.create_future())
        self._waiting.append(message)
        if self._reading is None or self._reading.done():
            self._reading = loop.create_task(self._read_waiting())
        result: Result = await message.result
        return result

    async def _read_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_AT_ONCE], self._waiting[MAX_AT_ONCE:]
            results: list[Any]
            try:
                results = await database_sync_to_async(_read)(batch)
            except Exception as error:
                results = [error] * len(batch)
            for message, result in zip(batch, results, strict=True):
                if message.result.done():  # its page is closed
                    continue
                if isinstance(result, Exception):
                    message.result.set_exception(result)
                else:
                    message.result.set_result(result)


def _read(batch: list[Message]) -> list[Any]:
    """Return the result for each message, or the error of reading it."""
    signed_in = people.people_of_sessions({message.session_key for message in batch})
    results: list[Any] = []
    for message in batch:
        try:
            results.append(message.read(signed_in.get(message.session_key)))
        except Exception as error:
            results.append(error)
    return results


_readers: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Reader]" = weakref.WeakKeyDictionary()


async def read_for(session_key: str, read: Callable[[User | None], Result]) -> Result:
    """Call `read` in a thread with the person whose session this is, None if nobody is signed in there."""
    return await _readers.setdefault(asyncio.get_running_loop(), Reader()).read(session_key, read)
