"""The work of one check of an answer, counted in units, so that no schema and no answer can make it endless."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MAX_WORK = 75_000
"""The most units of work of one check. One keyword at one value is a unit, which takes 3 to 10 microseconds. The
largest answer, 10,000 texts with four keywords each, needs 50,000."""


class TooMuchWork(Exception):
    """The work of a check is used up."""


class _Work(threading.local):
    limit = MAX_WORK
    left = MAX_WORK


_work = _Work()


def begin() -> None:
    """Begin a check in this thread, with all of its work left."""
    _work.left = _work.limit


def spend(units: int) -> None:
    """Spend work of the check in this thread. Raises `TooMuchWork`."""
    _work.left -= units
    if _work.left < 0:
        raise TooMuchWork


def left() -> int:
    """Return the work that the last check in this thread left."""
    return _work.left


@contextmanager
def at_most(units: int) -> Iterator[None]:
    """Give each check in this thread less work. One that needs more raises `TooMuchWork`, and may be made again."""
    _work.limit = units
    try:
        yield
    finally:
        _work.limit = MAX_WORK


def is_limited() -> bool:
    """Return whether checks in this thread have less work than usual."""
    return _work.limit < MAX_WORK
