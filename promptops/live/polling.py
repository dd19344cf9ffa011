"""What a process asks the database twice a second, in one statement, and what it does when an answer has changed.

The statement opens no transaction. Features add what they watch (`watch`), what opens pages' hints (`head`), and what
follows from new audit entries (`after_entries`). `live.snapshots` does the asking.
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
    """Something of a feature that a process watches."""

    query: Callable[[], Any]
    """Returns the expression of its one value in the statement."""
    parse: Callable[[Any], Any]
    """Turns what the database answers into a value to compare; the value of nothing is `parse(None)`."""
    changed: "Callable[[Any, Any, InThread], Awaitable[None]] | None" = None
    """Called with the value before and now when they differ."""
    looked: Callable[[Any], None] | None = None
    """Called with the value at each look."""


@dataclass(frozen=True)
class Look:
    """What one look at the database found."""

    heads: dict[str, int]
    """The newest revision, audit entry and run, by event name: what an open page compares itself with."""
    values: dict[str, Any]
    """What each watch found, by its name."""


_heads: dict[str, Callable[[], Any]] = {
    events.AUDIT_RECORDED: lambda: Subquery(AuditHead.objects.filter(pk=1).values("seq")),
}
_watches: dict[str, Watch] = {}
AFTER_ENTRIES: list[Callable[[int, InThread], Awaitable[None]]] = []
"""Called with the number of the last known audit entry when there are newer ones."""


class JSONRows(Func):
    """All rows of a query as one value: a list."""

    function = "jsonb_agg"
    output_field = JSONField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="json_group_array", **context)


def head(event: str, newest: Callable[[], QuerySet[Any, Any]]) -> None:
    """Let open pages hear of this event; `newest` returns a query of its one newest number."""
    _heads[event] = lambda: Subquery(newest())


def watch(name: str, watched: Watch) -> None:
    """Watch something. Raises ValueError for a name that is watched already."""
    if name in _watches:
        raise ValueError(f"{name} is watched already.")
    _watches[name] = watched


def watches() -> dict[str, Watch]:
    """Return what is watched, by name."""
    return _watches


def _named(revision: int, *newest: int | None) -> dict[str, int]:
    return {events.REVISION_RELEASED: revision} | {
        event: number or 0 for event, number in zip(_heads, newest, strict=True)
    }


def heads() -> dict[str, int]:
    """Return the newest revision, audit entry and run, by event name."""
    newest = [query() for query in _heads.values()]
    return _named(*LiveConfiguration.objects.values_list("revision", *newest).get(pk=1))


def look() -> Look:
    """Read in one statement all that a process watches."""
    newest = [query() for query in _heads.values()]
    watched = [each.query() for each in _watches.values()]
    row = LiveConfiguration.objects.values_list("revision", *newest, *watched).get(pk=1)
    found = row[1 + len(newest) :]
    return Look(
        heads=_named(*row[: 1 + len(newest)]),
        values={name: each.parse(value) for (name, each), value in zip(_watches.items(), found, strict=True)},
    )
