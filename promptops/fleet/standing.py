"""The standing of a server against what is live: a pure rule that pages, the top bar and notices share."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from promptops.fleet.enums import ReportedState, Standing

HEARTBEAT_SECONDS = 10
SILENT_AFTER = timedelta(seconds=3 * HEARTBEAT_SECONDS)
LAGS_AFTER = timedelta(seconds=2 * HEARTBEAT_SECONDS)


@dataclass(frozen=True)
class Live:
    """The live revision and its content."""

    revision: int
    epoch: str


class Reported(Protocol):
    """The known facts of a server."""

    heard_at: datetime
    revision: int | None
    epoch: str
    state: str
    refused_revision: int | None
    drift: str
    has_other_content: bool


def standing_of(server: Reported, live: Live, *, behind_since: datetime | None, now: datetime) -> Standing:
    """Return how the server stands. `behind_since` is when a newer revision than its own went live."""
    if now - server.heard_at >= SILENT_AFTER:
        return Standing.SILENT
    if server.state == ReportedState.REFUSED or server.refused_revision == live.revision:
        return Standing.REFUSED
    if server.drift or server.has_other_content:
        return Standing.DRIFTED
    if is_current(server, live):
        return Standing.CURRENT
    if behind_since is None or now - behind_since >= LAGS_AFTER:
        return Standing.LAGGING
    return Standing.UPDATING


def is_current(server: Reported, live: Live) -> bool:
    """Return whether the server runs the revision that is live."""
    return server.revision == live.revision and server.epoch == live.epoch
