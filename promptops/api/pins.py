"""Pinned runs: the snapshot of an earlier revision, and the ids of sessions, which carry their revision.

A session's id is signed with the installation's secret key, so that every process serves it without a table. Its holder
cannot make one up. Snapshots of recent revisions stay in bounded memory, and others are read from what their release
stored.
"""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from django.core import signing

from promptops.api.database import in_database
from promptops.api.problems import Problem
from promptops.engine.pins import is_overridden, with_live_protection
from promptops.engine.snapshot import SafetySpec, Snapshot
from promptops.history.queries.snapshots import earlier_snapshot
from promptops.ledger.configurations import DamagedConfiguration
from promptops.live import snapshots

Policy = Literal["session", "segment"]

IDLE_SECONDS = 60 * 60
"""A session whose id is older has ended. Each run after half of this time returns a newer id."""
LONGEST_SECONDS = 24 * 60 * 60
"""No session lasts longer, so that no earlier text is used for ever."""
MOST_SNAPSHOTS = 32

SALT = "promptops.api.sessions"
ENDED = "The session has ended. Begin a new one with `POST /api/v1/sessions`."

Key = tuple[str, int]


@dataclass(frozen=True)
class Session:
    """A session: its policy, the revision of its texts, when it began and when its id was made (Unix seconds)."""

    policy: Policy
    epoch: str
    revision: int
    began: int
    at: int

    @property
    def id(self) -> str:
        """Return the signed id."""
        return signing.dumps([self.policy, self.epoch, self.revision, self.began, self.at], salt=SALT)

    @property
    def expires_at(self) -> datetime:
        """Return when this id ends."""
        return datetime.fromtimestamp(min(self.at + IDLE_SECONDS, self.began + LONGEST_SECONDS), UTC)

    def renewed(self, now: float) -> "Session":
        """Return the session with a younger id, once half of its idle time is over."""
        return replace(self, at=int(now)) if now - self.at > IDLE_SECONDS / 2 else self

    def moved_on(self, live: Snapshot, now: float) -> "Session":
        """Return the session at its next segment: with what is live now if its policy says so."""
        moves = self.policy == "segment"
        return replace(self, revision=live.revision if moves else self.revision, at=int(now))


def begin(policy: Policy, live: Snapshot) -> Session:
    """Return a new session that is pinned to what is live."""
    now = int(time.time())
    return Session(policy, live.epoch, live.revision, now, now)


def read(id: str, live: Snapshot) -> Session:
    """Return the session with this id. Raises a problem for one that is unknown or has ended.

    A session that began before a release for pinned sessions is pinned to that release.
    """
    try:
        session = Session(*signing.loads(id, salt=SALT))
    except (signing.BadSignature, TypeError, ValueError):
        raise Problem(410, "session-ended", f"The session is unknown. {ENDED.partition('. ')[2]}") from None
    if session.epoch != live.epoch or session.expires_at.timestamp() <= time.time():
        raise Problem(410, "session-ended", ENDED)
    if is_overridden(session.epoch, session.revision, live):
        return replace(session, revision=live.pins_from)
    return session


class Snapshots:
    """Snapshots of earlier revisions in bounded memory, the least recently used one first."""

    def __init__(self, most: int = MOST_SNAPSHOTS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Snapshot] = OrderedDict()

    def keep(self, snapshot: Snapshot) -> None:
        """Add a snapshot, and drop the one that was used longest ago if there are too many."""
        with self._lock:
            self._kept[snapshot.epoch, snapshot.revision] = snapshot
            self._kept.move_to_end((snapshot.epoch, snapshot.revision))
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def get(self, key: Key) -> Snapshot | None:
        """Return the snapshot of an epoch and a revision, or None."""
        with self._lock:
            snapshot = self._kept.get(key)
            if snapshot is not None:
                self._kept.move_to_end(key)
            return snapshot

    def clear(self) -> None:
        """Forget all, for tests."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)


kept = Snapshots()


async def pinned_snapshot(revision: int, live: Snapshot) -> Snapshot:
    """Return the texts of a revision with the chain, safety filter and levers that are live.

    Reads memory, and the database for a revision that this process does not have. Raises a problem for one that is
    unknown, or that no release stored.
    """
    if revision == live.revision:
        return live
    content = kept.get((live.epoch, revision))
    if content is None:
        try:
            content = await in_database(earlier_snapshot, live.epoch, revision)
        except DamagedConfiguration:
            detail = f"The stored configuration of revision {revision} is damaged. Ask an administrator to check it."
            raise Problem(500, "internal", detail) from None
        if content is None:
            detail = f"Revision {revision} is unknown, or too old to be run. Leave it out to run what is live."
            raise Problem(404, "not-found", detail)
        kept.keep(content)
    return with_live_protection(content, live)


def _keep_swapped(before: Snapshot | None, after: Snapshot) -> None:
    """Keep what was live before, because sessions may be pinned to it. Models of the safety filter are left out."""
    if before is not None:
        kept.keep(replace(before, providers=(), safety=SafetySpec(), levers=()))


snapshots.SWAPPED.append(_keep_swapped)
