"""The newest picture of the fleet in memory, for the top bar of every page."""

import time

from promptops.fleet.queries.servers import Counts, Picture, picture

FRESH_SECONDS = 15.0
"""`following.keep_picture` reads every few seconds. Without it, as in tests, each page reads for itself."""

_newest: tuple[float, Picture] | None = None


def refresh() -> bool:
    """Read the fleet. Return whether open pages have to show something new."""
    global _newest
    before, read = _newest, picture()
    _newest = (time.monotonic(), read)
    return before is None or before[1].digest != read.digest


def counts() -> Counts:
    """Return how many servers run what is live."""
    if _newest is not None and time.monotonic() - _newest[0] < FRESH_SECONDS:
        return _newest[1].counts
    return picture().counts


def forget() -> None:
    """Forget the picture. For tests."""
    global _newest
    _newest = None
