"""Pages of long lists, newest first. They begin at a number, so a page stays the same while new rows arrive.

Lists with another order, which grow slowly, have numbered pages.

Views of lists belong to `web.lists`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet

PAGE_SIZE = 50
REACH = 25_000
"""The most rows that a search reads for one page, in at most about 0.1 s."""

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows, newest first. The neighboring pages begin at `newer` and `older` (None: no such page).

    `reached` is the last row that a search has read, if it can go on (None: it has read all rows).
    """

    rows: list[Row]
    newer: int | None
    older: int | None
    reached: int | None = None


Item = TypeVar("Item")


@dataclass(frozen=True)
class Numbered(Generic[Item]):
    """One page of a list that has an order of its own. Pages are numbered from 1. `total` counts all rows."""

    rows: Sequence[Item]
    number: int
    pages: int
    total: int

    @property
    def previous(self) -> int | None:
        """Return the number of the page before (None: there is none)."""
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        """Return the number of the page after (None: there is none)."""
        return self.number + 1 if self.number < self.pages else None


def numbered(rows: QuerySet[Any] | Sequence[Item], number: int | None, *, size: int = PAGE_SIZE) -> Numbered[Any]:
    """Return the page of that number, or the nearest one. No number means the first page."""
    total = rows.count() if isinstance(rows, QuerySet) else len(rows)
    pages = max(1, -(-total // size))
    number = min(max(1, number or 1), pages)
    return Numbered(list(rows[(number - 1) * size : number * size]), number, pages, total)


def page(
    rows: QuerySet[Row], *, before: int | None = None, after: int | None = None, size: int = PAGE_SIZE
) -> Page[Row]:
    """Return the newest page, or the page directly `before` or `after` the row with that number, by one query.

    If the page `after` would not be full, it is the newest page.
    """
    if after is not None:
        upwards = list(rows.filter(pk__gt=after).order_by("pk")[: size + 1])
        if len(upwards) <= size:
            return page(rows, size=size)
        shown = upwards[:size][::-1]
        return Page(shown, newer=shown[0].pk, older=shown[-1].pk)
    wanted = rows.filter(pk__lt=before) if before is not None else rows
    downwards = list(wanted.order_by("-pk")[: size + 1])
    shown = downwards[:size]
    newer = None if before is None else shown[0].pk if shown else before - 1
    return Page(shown, newer=newer, older=shown[-1].pk if len(downwards) > size else None)


def searched(rows: QuerySet[Row], *, newest: int, before: int | None = None, after: int | None = None) -> Page[Row]:
    """Return a page of rows that no index finds, in a table whose last number is `newest`.

    Read at most REACH rows. If the page is not full, its `older` continues the search.
    """
    if after is not None and after + REACH < newest:
        upwards = list(rows.filter(pk__gt=after, pk__lte=after + REACH).order_by("pk")[: PAGE_SIZE + 1])
        shown = upwards[:PAGE_SIZE][::-1]
        is_full = len(upwards) > PAGE_SIZE
        return Page(shown, newer=shown[0].pk if is_full else after + REACH, older=shown[-1].pk if shown else after + 1)
    top = newest if before is None else before - 1
    floor = max(0, top - REACH)
    downwards = list(rows.filter(pk__gt=floor, pk__lte=top).order_by("-pk")[: PAGE_SIZE + 1])
    shown = downwards[:PAGE_SIZE]
    newer = None if before is None else shown[0].pk if shown else top
    if len(downwards) > PAGE_SIZE:
        return Page(shown, newer=newer, older=shown[-1].pk)
    return Page(shown, newer=newer, older=floor + 1 if floor else None, reached=floor + 1 if floor else None)


def arrived(rows: QuerySet[Row], *, since: int) -> tuple[list[Row], bool]:
    """Return the rows after the row `since`, newest first and at most a page, and whether there are more."""
    newer = list(rows.filter(pk__gt=since).order_by("-pk")[: PAGE_SIZE + 1])
    return newer[:PAGE_SIZE], len(newer) > PAGE_SIZE
