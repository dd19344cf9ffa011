"""Pages of long lists, newest first. They begin at a number, so a page stays the same while new rows arrive.

Views of lists belong to `web.lists`.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

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


def page(rows: QuerySet[Row], *, before: int | None = None, after: int | None = None) -> Page[Row]:
    """Return the newest page, or the page directly `before` or `after` the row with that number, by one query.

    If the page `after` would not be full, it is the newest page.
    """
    if after is not None:
        upwards = list(rows.filter(pk__gt=after).order_by("pk")[: PAGE_SIZE + 1])
        if len(upwards) <= PAGE_SIZE:
            return page(rows)
        shown = upwards[:PAGE_SIZE][::-1]
        return Page(shown, newer=shown[0].pk, older=shown[-1].pk)
    wanted = rows.filter(pk__lt=before) if before is not None else rows
    downwards = list(wanted.order_by("-pk")[: PAGE_SIZE + 1])
    shown = downwards[:PAGE_SIZE]
    newer = None if before is None else shown[0].pk if shown else before - 1
    return Page(shown, newer=newer, older=shown[-1].pk if len(downwards) > PAGE_SIZE else None)


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
