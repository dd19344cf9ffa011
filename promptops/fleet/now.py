"""The newest picture of the fleet in memory, for the top bar of every page, and what this process has lost."""

import time
from collections import Counter
from dataclasses import dataclass

from promptops.fleet.enums import Standing
from promptops.fleet.queries.servers import Counts, Picture, picture
from promptops.fleet.reports import reports
from promptops.platform import events

FRESH_SECONDS = 15.0
"""`following.keep_picture` reads every few seconds. Without it, as in tests, each page reads for itself."""

_newest: tuple[float, Picture] | None = None


@dataclass(frozen=True)
class Losses:
    """The services that this process lacks now, and its losses since its start."""

    is_redis_lost: bool
    """It gets no hints of other processes, and finds their releases by comparing numbers."""
    acknowledgements: int
    """Answers of servers that were dropped, because too many waited for the database."""

    def __bool__(self) -> bool:
        """Return whether there is something to show."""
        return self.is_redis_lost or self.acknowledgements > 0


def losses() -> Losses:
    """Return what this process lacks and has lost. Reads memory only."""
    return Losses(events.is_redis_lost(), reports.dropped)


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


def standings() -> Counter[Standing] | None:
    """Return how the servers stand in the newest picture; None before the first one. Reads memory only."""
    return Counter(row.standing for row in _newest[1].servers) if _newest else None


def forget() -> None:
    """Forget the picture. For tests."""
    global _newest
    _newest = None
