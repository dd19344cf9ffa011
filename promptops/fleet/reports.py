"""The reports of servers to this process, in memory. `fleet.following` writes it in batches.

A heartbeat changes only an object in memory. Everything that a page shows at once counts as a change and is written
within `WRITE_SECONDS`; times and rates are written every `HEARD_SECONDS`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models.base import ModelState

from promptops.fleet import contents
from promptops.fleet.enums import Outcome, ReportedState, ServerKind
from promptops.fleet.messages import Applied, Content, Drifted, Heartbeat, InvalidMessage, Message, Refused, Register
from promptops.fleet.models import Server
from promptops.live import snapshots

log = logging.getLogger(__name__)

WRITE_SECONDS = 0.1
HEARD_SECONDS = 5.0
MOST_SERVERS = 5_000
MOST_WAITING = 50_000
"""Acknowledgements in memory while the database is unavailable. Then the oldest are dropped."""
UNKNOWN_FOR = timedelta(seconds=5)
"""A revision that this process still does not have after this time does not exist."""
KEPT_FOR = timedelta(minutes=1)
"""Seconds for which the last state of a server that left stays in memory."""

Key = tuple[str, str]
"""Name and instance."""


@dataclass(frozen=True)
class Acknowledged:
    """The reaction of a server to a revision, and its time. `connected_at` says whether it was there at the release."""

    revision: int
    server: str
    instance: str
    kind: str
    outcome: Outcome
    at: datetime
    connected_at: datetime
    why: str = ""

    @property
    def key(self) -> tuple[int, str, str]:
        """Return what there is one acknowledgement of."""
        return self.revision, self.server, self.instance


@dataclass
class Batch:
    """Rows to write: copies of the servers, and acknowledgements. `newcomers` are servers that have just registered."""

    servers: list[Server] = field(default_factory=list)
    newcomers: set[Key] = field(default_factory=set)
    acknowledgements: list[Acknowledged] = field(default_factory=list)
    has_news: bool = False
    """Pages show something of it. A batch of heartbeats has no news."""


ACKNOWLEDGED: list[Callable[[Acknowledged], None]] = []
"""Called with each acknowledgement."""


class Reports:
    """The servers that report to this process."""

    def __init__(self) -> None:
        self.servers: dict[Key, Server] = {}
        self.wake: Callable[[], object] = lambda: None
        """Called when there is something to write. `fleet.following` sets it."""
        self.dropped = 0
        self._held: set[Key] = set()
        """Those with a socket here: they report to no other process."""
        self._heard: set[Key] = set()
        self._news: set[Key] = set()
        self._newcomers: set[Key] = set()
        self._acknowledged: dict[tuple[int, str, str], Acknowledged] = {}
        self._unverified: dict[Key, datetime] = {}

    def register(
        self,
        message: Register,
        *,
        now: datetime,
        address: str = "",
        token: int | None = None,
        is_process: bool = False,
        has_socket: bool = False,
    ) -> Server:
        """Take in a server. Raises InvalidMessage if there are too many."""
        key = (message.server, message.instance)
        known = self.servers.get(key)
        if known is None and len(self.servers) >= MOST_SERVERS:
            raise InvalidMessage(f"This process follows {MOST_SERVERS:,} servers already. Connect to another one.")
        server = known or Server(name=message.server, instance=message.instance, first_heard_at=now)
        server.kind = ServerKind.PROCESS if is_process else message.kind
        server.version, server.labels, server.is_filtered = message.version, message.labels, message.filtered
        server.address, server.token = address, token
        server.connected_at, server.is_connected = now, True
        server.refused_revision = server.refused_at = server.drifted_at = None
        server.refusal = server.drift = ""
        server.state, server.runs_a_minute = message.state, message.runs_a_minute
        self.servers[key] = server
        self._newcomers.add(key)
        if has_socket or is_process:
            self._held.add(key)
        self._news.add(key)
        self._take_content(server, message, now)
        self._heard_from(server, now)
        return server

    def hear(self, server: Server, message: Message, *, now: datetime) -> None:
        """Take in a message of a registered server."""
        if isinstance(message, Heartbeat):
            if server.state != message.state:
                server.state = message.state
                self._is_news(server, now)
            server.runs_a_minute = message.runs_a_minute
        elif isinstance(message, Refused):
            self._refuse(server, message, now)
        elif isinstance(message, Drifted):
            server.drift, server.drifted_at = message.why or "Somebody else has changed what it runs.", now
            if server.refused_revision == message.revision:
                server.refused_revision, server.refused_at, server.refusal = None, None, ""
            self._is_news(server, now)
        elif isinstance(message, Applied):
            if server.drift or server.refusal:
                self._is_news(server, now)
            server.drift, server.drifted_at = "", None
            server.refused_revision, server.refused_at, server.refusal = None, None, ""
            server.state = ReportedState.READY if server.state == ReportedState.REFUSED else server.state
        if isinstance(message, Content):
            self._take_content(server, message, now)
        self._heard_from(server, now)

    def filters(self, server: Server, is_filtered: bool, *, now: datetime) -> None:
        """Note that the server began or ceased to judge texts."""
        server.is_filtered = is_filtered
        self._is_news(server, now)

    def leave(self, server: Server, *, now: datetime) -> None:
        """Note that the server has disconnected."""
        server.is_connected = False
        self._held.discard((server.name, server.instance))
        self._is_news(server, now)

    def settle(self, *, now: datetime) -> None:
        """Judge the servers that reported a revision before this process had it."""
        for key, since in list(self._unverified.items()):
            server = self.servers.get(key)
            if server is None or server.revision is None:
                del self._unverified[key]
            elif contents.expected_sha256(server.epoch, server.revision) is not None or now - since >= UNKNOWN_FOR:
                self._verify(server, now)

    def batch(self, *, everything: bool) -> Batch:
        """Return what has to be written and take it as written. Heartbeats are in it only with `everything`."""
        keys = self._news | self._heard if everything else set(self._news)
        batch = Batch(
            [_copy_of(self.servers[key]) for key in keys if key in self.servers],
            self._newcomers,
            list(self._acknowledged.values()),
            has_news=bool(self._news or self._acknowledged),
        )
        self._newcomers, self._acknowledged = set(), {}
        self._news.clear()
        self._heard -= keys
        return batch

    def give_back(self, batch: Batch) -> None:
        """Take back a batch that could not be written."""
        keys = {(server.name, server.instance) for server in batch.servers}
        self._heard |= keys
        self._news |= keys if batch.has_news else set()
        self._newcomers |= batch.newcomers
        for each in batch.acknowledgements:
            self._acknowledged.setdefault(each.key, each)
        self._bound()

    def drop_those_gone(self, *, now: datetime) -> None:
        """Drop servers that left, or that stopped posting, once everything about them is written."""
        for key, server in list(self.servers.items()):
            if now - server.heard_at > KEPT_FOR and not self.has_newest(key):
                del self.servers[key]

    def has_newest(self, key: Key) -> bool:
        """Return whether this process knows the newest state of a server, because of its socket or its last message.

        Otherwise the database has it: a server without a socket reports to any process.
        """
        return key in self._held or key in self._news or key in self._heard

    def forget(self) -> None:
        """Forget everything. For tests."""
        wake = self.wake
        self.__init__()  # type: ignore[misc]
        self.wake = wake

    def _heard_from(self, server: Server, now: datetime) -> None:
        server.heard_at = now
        self._heard.add((server.name, server.instance))

    def _is_news(self, server: Server, now: datetime) -> None:
        server.changed_at = now
        self._news.add((server.name, server.instance))
        self.wake()

    def _refuse(self, server: Server, message: Refused, now: datetime) -> None:
        server.refused_revision, server.refused_at = message.revision, now
        server.refusal = message.why or "It gave no reason."
        self._is_news(server, now)
        snapshot = snapshots.loaded_snapshot()
        if snapshot and message.revision <= snapshot.revision:
            self._acknowledge(server, message.revision, message.epoch, Outcome.REFUSED, now, server.refusal)

    def _take_content(self, server: Server, content: Content, now: datetime) -> None:
        before = (server.revision, server.epoch, server.sha256)
        if before != (content.revision, content.epoch, content.sha256):
            server.revision, server.epoch, server.sha256 = content.revision, content.epoch, content.sha256
            server.since = now
            self._is_news(server, now)
            self._unverified[server.name, server.instance] = now
            self._verify(server, now)
        elif (server.name, server.instance) in self._newcomers:
            self._is_news(server, now)

    def _verify(self, server: Server, now: datetime) -> None:
        """Compare the hash of what the server runs, and acknowledge the revision."""
        key = (server.name, server.instance)
        had_other_content, server.has_other_content = server.has_other_content, False
        if server.revision is not None:
            expected = contents.expected_sha256(server.epoch, server.revision)
            if expected is not None:
                server.has_other_content = server.sha256 != expected
                outcome = Outcome.DRIFTED if server.has_other_content else Outcome.APPLIED
                why = f"It runs other content: its hash begins with {server.sha256[:10]}."
                self._acknowledge(
                    server, server.revision, server.epoch, outcome, now, why if server.has_other_content else ""
                )
            elif not self._is_older(server):
                if now - self._unverified[key] < UNKNOWN_FOR:
                    return  # this process follows in a moment
                server.has_other_content = self._is_of_live_epoch(server.epoch)
        del self._unverified[key]
        if server.has_other_content != had_other_content:
            self._is_news(server, now)

    def _is_of_live_epoch(self, epoch: str) -> bool:
        snapshot = snapshots.loaded_snapshot()
        return snapshot is not None and epoch == snapshot.epoch

    def _is_older(self, server: Server) -> bool:
        snapshot = snapshots.loaded_snapshot()
        return self._is_of_live_epoch(server.epoch) and (server.revision or 0) <= (snapshot.revision if snapshot else 0)

    def _acknowledge(
        self, server: Server, revision: int, epoch: str, outcome: Outcome, now: datetime, why: str = ""
    ) -> None:
        """Acknowledge the revision. Those of another line of history have the same numbers, and do not count."""
        if not self._is_of_live_epoch(epoch):
            return
        acknowledged = Acknowledged(
            revision, server.name, server.instance, server.kind, outcome, now, server.connected_at, why
        )
        self._acknowledged[acknowledged.key] = acknowledged
        for callback in ACKNOWLEDGED:
            callback(acknowledged)
        self._bound()
        self.wake()

    def _bound(self) -> None:
        while len(self._acknowledged) > MOST_WAITING:
            del self._acknowledged[next(iter(self._acknowledged))]
            self.dropped += 1
            if self.dropped == 1:
                log.warning("Acknowledgements of servers are dropped, because the database is unavailable.")


def _copy_of(server: Server) -> Server:
    """Return a copy to write, which later reports leave as it is. `copy.copy` of a model takes four times as long."""
    copied = Server.__new__(Server)
    copied.__dict__.update(server.__dict__, _state=ModelState())
    return copied


reports = Reports()
"""The reports of this process."""
