"""Sharing a processor with an event loop: when scoring pauses, and which thread scores.

fastText holds Python's lock, so a loop waits as long as the steps of scoring are. Nothing here knows texts or verdicts.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from weakref import WeakKeyDictionary

INLINE_BYTES = 400
"""Event loops judge shorter texts themselves, one in each of their turns; longer ones go to the scoring thread."""
HOLD_SECONDS = 0.0005
"""A thread beside an event loop lets go of Python's lock after the first step that ends this much work."""

_thread = threading.local()


def let_go() -> None:
    """Let other threads run, if this one has worked for `HOLD_SECONDS` since it last did.

    Python itself takes the lock from a thread only after 5 ms, and never from fastText. A sleep of zero seconds would
    take the lock again before the waiting thread has woken up.
    """
    if time.perf_counter() - getattr(_thread, "since", 0.0) > HOLD_SECONDS:
        time.sleep(0.0001)
        _thread.since = time.perf_counter()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def turn() -> asyncio.Lock:
    """Return the running event loop's lock for judging, so that it never judges a thousand texts in one turn."""
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())


@cache
def scorer() -> ThreadPoolExecutor:
    """Return the scoring thread. There is one: fastText holds Python's lock, so a second would gain nothing."""
    return ThreadPoolExecutor(1, thread_name_prefix="safety")
