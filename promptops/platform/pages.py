"""Long lists, page by page: newest first, found by number, so that a page stays as it is while new rows arrive."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet

PAGE_SIZE = 50
REACH = 25_000
"""Rows that a search looks through for one page. It takes at most about a tenth of a second, however many there are."""

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows, newest first. `newer` and `older` are where the neighboring pages begin (None: there is none).

    `reached` is the last row that a search looked at before it stopped to be carried on (None: there is no more).
    """

    rows: list[Row]
    newer: int | None
    older: int | None
    reached: int | None = None


def page(rows: QuerySet[Row], *, before: int | None = None, after: int | None = None) -> Page[Row]:
    """The newest page, or the one right `before` or `after` the row of that number.

    One query, whatever the length of the list. A page `after` that would not be full is the newest one.
    """
    if after is not None:
        found = list(rows.filter(pk__gt=after).order_by("pk")[: PAGE_SIZE + 1])
        if len(found) <= PAGE_SIZE:
            return page(rows)
        found = found[:PAGE_SIZE][::-1]
        return Page(found, newer=found[0].pk, older=found[-1].pk)
    wanted = rows.filter(pk__lt=before) if before is not None else rows
    found = list(wanted.order_by("-pk")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    newer = None if before is None else shown[0].pk if shown else before - 1
    return Page(shown, newer=newer, older=shown[-1].pk if len(found) > PAGE_SIZE else None)


def searched(rows: QuerySet[Row], *, newest: int, before: int | None = None, after: int | None = None) -> Page[Row]:
    """`page` for rows that no index finds, of a table whose last number is `newest`.

    At most REACH rows are looked through. A page that is not full goes on where the search stopped.
    """
    if after is not None and after + REACH < newest:
        found = list(rows.filter(pk__gt=after, pk__lte=after + REACH).order_by("pk")[: PAGE_SIZE + 1])
        shown = found[:PAGE_SIZE][::-1]
        full = len(found) > PAGE_SIZE
        return Page(shown, newer=shown[0].pk if full else after + REACH, older=shown[-1].pk if shown else after + 1)
    top = newest if before is None else before - 1
    floor = max(0, top - REACH)
    found = list(rows.filter(pk__gt=floor, pk__lte=top).order_by("-pk")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    newer = None if before is None else shown[0].pk if shown else top
    if len(found) > PAGE_SIZE:
        return Page(shown, newer=newer, older=shown[-1].pk)
    return Page(shown, newer=newer, older=floor + 1 if floor else None, reached=floor + 1 if floor else None)


def arrived(rows: QuerySet[Row], *, since: int) -> tuple[list[Row], bool]:
    """What came after the row `since`, newest first, at most a page of it, and whether there is more than that."""
    found = list(rows.filter(pk__gt=since).order_by("-pk")[: PAGE_SIZE + 1])
    return found[:PAGE_SIZE], len(found) > PAGE_SIZE
