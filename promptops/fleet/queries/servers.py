"""The servers with how they stand to what is live."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.utils import timezone

from promptops.fleet.enums import ServerKind, Standing
from promptops.fleet.models import Acknowledgement, Server
from promptops.fleet.standing import Live, is_current, standing_of
from promptops.ledger.models import LiveConfiguration, Release

ACKNOWLEDGEMENTS_SHOWN = 20
DIGITS = re.compile(r"([0-9]+)")
NAMED = 3
"""Servers that a sentence names before it only counts the rest."""


@dataclass(frozen=True)
class ServerRow:
    """A server and how it stands. `behind` counts the revisions that it lacks; None if that cannot be counted."""

    server: Server
    standing: Standing
    live: Live
    behind_since: datetime | None

    @property
    def is_process(self) -> bool:
        """Return whether it is a process of PromptOps itself."""
        return self.server.kind == ServerKind.PROCESS

    @property
    def behind(self) -> int | None:
        """Return how many revisions the server lacks, or None if that cannot be counted."""
        server = self.server
        if server.revision is None or server.epoch != self.live.epoch:
            return None
        return max(0, self.live.revision - server.revision)

    @property
    def reason(self) -> str:
        """Return why the server needs a person, as it reported it; "" if it does not."""
        server = self.server
        if self.standing == Standing.REFUSED:
            return server.refusal or "It refuses what is live."
        if self.standing == Standing.DRIFTED:
            return server.drift or "It runs other content than its revision has."
        return ""


@dataclass(frozen=True)
class Counts:
    """The number of servers, and how many of them run what is live. Processes of PromptOps do not count."""

    total: int
    current: int
    version: str
    """Names the picture that was counted (`Picture.version`)."""

    @property
    def is_complete(self) -> bool:
        """Return whether all servers run what is live."""
        return self.current == self.total


@dataclass(frozen=True)
class Picture:
    """The fleet at one moment."""

    live: Live
    rows: list[ServerRow]

    @property
    def servers(self) -> list[ServerRow]:
        """Return the servers without the processes of PromptOps."""
        return [row for row in self.rows if not row.is_process]

    @cached_property
    def counts(self) -> Counts:
        """Return how many servers run what is live."""
        servers = self.servers
        return Counts(len(servers), sum(row.standing == Standing.CURRENT for row in servers), self.version)

    @property
    def standings(self) -> "Counter[Standing]":
        """Return how many servers and processes stand how."""
        return Counter(row.standing for row in self.rows)

    @property
    def standings_shown(self) -> list[tuple[Standing, int]]:
        """Return how many servers and processes do not run what is live, by kind, worst first."""
        return [(each, count) for each in Standing if each != Standing.CURRENT and (count := self.standings[each])]

    @property
    def troubles(self) -> list[ServerRow]:
        """Return the servers and processes that refuse, drift or lag, by kind of trouble."""
        order = [Standing.REFUSED, Standing.DRIFTED, Standing.LAGGING]
        return sorted((row for row in self.rows if row.standing in order), key=lambda row: order.index(row.standing))

    @property
    def digest(self) -> tuple[object, ...]:
        """Return what open pages show of it: two equal ones need no hint."""
        return tuple(
            (row.server.pk, row.standing, row.server.revision, row.server.changed_at, row.server.is_connected)
            for row in self.rows
        )

    @cached_property
    def version(self) -> str:
        """Return a name of what open pages show of it, the same in every process."""
        return hashlib.sha256(repr(self.digest).encode()).hexdigest()[:16]


def picture() -> Picture:
    """Return all servers, by name (gpu-2 before gpu-10), with how they stand. Three queries."""
    epoch, revision = LiveConfiguration.objects.values_list("epoch", "revision").get(pk=1)
    live, now = Live(revision, epoch), timezone.now()
    servers = sorted(Server.objects.all(), key=_by_name)
    behind = {
        server.revision + 1
        for server in servers
        if server.revision is not None and server.epoch == epoch and server.revision < revision
    }
    released = dict(Release.objects.filter(revision__in=behind).values_list("revision", "at")) if servers else {}
    return Picture(live, [_row(server, live, released, now) for server in servers])


def _by_name(server: Server) -> tuple[object, ...]:
    parts = DIGITS.split(server.name.casefold())
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), server.pk


def _row(server: Server, live: Live, released: dict[int, datetime], now: datetime) -> ServerRow:
    behind_since = None
    if not is_current(server, live):
        next_at = released.get((server.revision or 0) + 1) if server.epoch == live.epoch else None
        behind_since = max(server.connected_at, next_at) if next_at else server.connected_at
    standing = standing_of(server, live, behind_since=behind_since, now=now)
    return ServerRow(server, standing, live, behind_since)


def find(name: str, instance: str) -> Server | None:
    """Return a server as it last reported itself to any process, or None."""
    return Server.objects.filter(name=name, instance=instance).first()


def acknowledgements(server: Server) -> list[Acknowledgement]:
    """Return the newest acknowledgements of a server, in all its lives."""
    return list(
        Acknowledgement.objects.filter(server=server.name).order_by("-revision", "-at")[:ACKNOWLEDGEMENTS_SHOWN]
    )


def recipients(shown: Picture) -> str:
    """Return a sentence that says who will get the next release; "" if no server has ever connected."""
    servers = shown.servers
    if not servers:
        return ""
    word = "server follows" if len(servers) == 1 else "servers follow"
    silent = [row for row in servers if row.standing == Standing.SILENT]
    if not silent:
        return f"{len(servers):,} {word} what is live."
    named = "; ".join(_silence(row) for row in silent[:NAMED])
    more = len(silent) - NAMED
    return f"{len(servers):,} {word} what is live; {named}{f'; {more:,} more are silent' if more > 0 else ''}."


def _silence(row: ServerRow) -> str:
    heard = timezone.localtime(row.server.heard_at)
    is_recent = timezone.now() - row.server.heard_at < timedelta(hours=20)
    when = f"{heard:%H:%M}" if is_recent else f"{heard:%-d %b, %H:%M}"
    runs = f"runs r{row.server.revision}" if row.server.revision is not None else "runs nothing yet"
    return f"{row.server.name} silent since {when}, {runs}"
