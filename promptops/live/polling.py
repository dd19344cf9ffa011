"""The statement with which a process reads twice a second what other processes changed. It opens no transaction.

Features register values to watch (`watch`), numbers that open pages compare (`head`), and reactions to audit entries
(`AFTER_ENTRIES`). `live.snapshots.follow` runs the statement and reacts. No feature's tables are named here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from django.db.models import Func, JSONField, QuerySet, Subquery

from promptops.ledger.models import AuditHead, LiveConfiguration
from promptops.platform import events

T = TypeVar("T")


class InThread(Protocol):
    """Runs a function that reads the database in the follower's own thread."""

    async def __call__(self, work: Callable[..., T], /, *arguments: Any) -> T: ...


@dataclass(frozen=True)
class Watch:
    """A value of a feature that a process watches in the database."""

    query: Callable[[], Any]
    """Returns the expression that reads the value. It is one column of the statement."""
    parse: Callable[[Any], Any]
    """Turns the database's answer into a value to compare. `parse(None)` is the value before the first look."""
    changed: "Callable[[Any, Any, InThread], Awaitable[None]] | None" = None
    """Called with the old and the new value when they differ."""
    looked: Callable[[Any], None] | None = None
    """Called with the value after each look."""


class Heads(dict[str, int]):
    """The newest revision, audit entry and run, by event name. Open pages compare these with their own numbers."""

    epoch = ""
    """The line of history of these numbers. A restore starts a new one, in which lower numbers are news."""


@dataclass(frozen=True)
class Look:
    """The result of one look at the database."""

    heads: Heads
    values: dict[str, Any]
    """The value of each watch, by name."""


_heads: dict[str, Callable[[], Any]] = {
    events.AUDIT_RECORDED: lambda: Subquery(AuditHead.objects.filter(pk=1).values("seq")),
}
_watches: dict[str, Watch] = {}
AFTER_ENTRIES: list[Callable[[int, InThread], Awaitable[None]]] = []
"""Called with the number of the last audit entry before this look, if there are newer ones."""


class JSONRows(Func):
    """All rows of a query as one JSON list."""

    function = "jsonb_agg"
    output_field = JSONField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="json_group_array", **context)


def head(event: str, newest: Callable[[], QuerySet[Any, Any]]) -> None:
    """Send this event to open pages when its number grows. `newest` returns a query for the newest number."""
    _heads[event] = lambda: Subquery(newest())


def watch(name: str, watched: Watch) -> None:
    """Register a watch. Raises ValueError for a name that is registered already."""
    if name in _watches:
        raise ValueError(f"{name} is watched already.")
    _watches[name] = watched


def watches() -> dict[str, Watch]:
    """Return the watches by name."""
    return _watches


def _named(epoch: str, revision: int, *newest: int | None) -> Heads:
    named = Heads({events.REVISION_RELEASED: revision})
    named.update((event, number or 0) for event, number in zip(_heads, newest, strict=True))
    named.epoch = epoch
    return named


def heads() -> Heads:
    """Return the newest revision, audit entry and run, by event name, and their epoch."""
    newest = [query() for query in _heads.values()]
    return _named(*LiveConfiguration.objects.values_list("epoch", "revision", *newest).get(pk=1))


def look() -> Look:
    """Read the heads and all watched values in one statement."""
    newest = [query() for query in _heads.values()]
    watched = [each.query() for each in _watches.values()]
    row = LiveConfiguration.objects.values_list("epoch", "revision", *newest, *watched).get(pk=1)
    values = row[2 + len(newest) :]
    return Look(
        heads=_named(*row[: 2 + len(newest)]),
        values={name: each.parse(value) for (name, each), value in zip(_watches.items(), values, strict=True)},
    )
