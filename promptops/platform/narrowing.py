"""Pages of long lists with several filters, in a time that does not grow with the table.

A database that combines filters may read a whole table for one page: it does not know that a provider was called only
last year, or that no run has both values. So the numbers of the newest rows of each filter are read from its index, and
only rows of the filter with the fewest of them are looked at. If these are not enough for a page, it can be continued.

Filters that no index finds belong to `platform.pages.searched`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from typing import Any, Generic

from django.db.models import F, Max, Min, Q, QuerySet
from django.db.models.functions import Coalesce

from promptops.platform.pages import PAGE_SIZE, Page, Row

MOST = 3_000
"""The most rows that are looked at for one page, in at most about 0.05 s."""
SLACK = 10_000
"""Numbers follow time, except for rows that were recorded late or after a clock was set back. A filter by time reads
this many more numbers, not all."""
NEAR = 500
"""The number of rows next to a moment of which the first number counts, in case one of them has an odd number."""


@dataclass(frozen=True)
class Span:
    """Numbers from `first` to `last`, both included; None is open."""

    first: int | None = None
    last: int | None = None

    @property
    def is_empty(self) -> bool:
        """Return whether there is no number in the span."""
        return self.last is not None and self.last < (self.first or 1)

    def condition(self, column: str = "pk") -> Q:
        """Return the condition that the column is in the span."""
        ends = {f"{column}__gte": self.first, f"{column}__lte": self.last}
        return Q(**{name: number for name, number in ends.items() if number is not None})

    def within(self, other: "Span") -> "Span":
        """Return the numbers that are in both spans."""
        firsts = [span.first for span in (self, other) if span.first is not None]
        lasts = [span.last for span in (self, other) if span.last is not None]
        return Span(max(firsts, default=None), min(lasts, default=None))


@dataclass(frozen=True)
class Filter:
    """A filter that an index finds in the order of numbers.

    `parts` are the rows of the index, by one query for each of several values; `column` has the number in them.
    `narrow` applies the same filter to a few given rows of the list. `is_exact`: each row of the index is a match.
    """

    parts: tuple[QuerySet[Any], ...]
    narrow: Callable[[QuerySet[Any]], QuerySet[Any]]
    column: str = "pk"
    is_exact: bool = True

    def numbers(self, span: Span, most: int, *, upwards: bool) -> list[int]:
        """Return the first numbers in the span, and one more than `most` if there are more."""
        found = (self._numbers(part.filter(span.condition(self.column)), most, upwards=upwards) for part in self.parts)
        return list(dict.fromkeys(merge(*found, reverse=not upwards)))[: most + 1]

    def _numbers(self, rows: QuerySet[Any], most: int, *, upwards: bool) -> list[int]:
        rows = rows.order_by(self.column if upwards else f"-{self.column}")
        if self.column != "pk":  # several of these rows may belong to one row of the list
            rows = rows.distinct()
        return list(rows.values_list(self.column, flat=True)[: most + 1])


def by_column(rows: QuerySet[Any], name: str, *values: Any) -> Filter:
    """Return the filter by a column that has an index together with the number: one of the values."""
    parts = tuple(rows.filter(**{name: value}) for value in values)
    return Filter(parts, lambda chosen: unindexed(chosen, name, values, "in"))


def unindexed(rows: QuerySet[Any], name: str, value: Any, lookup: str = "exact") -> QuerySet[Any]:
    """Apply a condition on a column so that no database looks for an index of that column."""
    alias = f"plain_{name}_{lookup}"
    return rows.alias(**{alias: Coalesce(F(name), F(name))}).filter(**{f"{alias}__{lookup}": value})


@dataclass(frozen=True)
class Narrowed(Generic[Row]):
    """The rows of a list that match all filters. `times` are lookups of the column `at`, such as ("gte", moment).

    A page has `size` rows, or PAGE_SIZE.
    """

    rows: QuerySet[Row]
    filters: tuple[Filter, ...] = ()
    times: tuple[tuple[str, datetime], ...] = ()
    size: int | None = None

    @property
    def _size(self) -> int:
        return self.size or PAGE_SIZE

    def page(self, *, before: int | None = None, after: int | None = None) -> Page[Row]:
        """Return the newest page, or the page directly `before` or `after` the row with that number.

        If the page `after` would not be full, it is the newest page. Sends a query for each value of a filter, one for
        each time, and one for the rows.
        """
        if after is not None:
            rows, end = self._first(Span(first=after + 1), upwards=True)
            if len(rows) <= self._size and end is None:
                return self.page()
            shown = rows[: self._size][::-1]
            newer = shown[0].pk if len(rows) > self._size else end
            return Page(shown, newer=newer, older=shown[-1].pk if shown else after + 1)
        rows, end = self._first(Span(last=None if before is None else before - 1), upwards=False)
        shown = rows[: self._size]
        newer = None if before is None else shown[0].pk if shown else before - 1
        if len(rows) > self._size:
            return Page(shown, newer=newer, older=shown[-1].pk)
        return Page(shown, newer=newer, older=end, reached=end)

    def since(self, number: int) -> QuerySet[Row]:
        """Return the rows after that number, or the newest of them if there are very many."""
        return self._looked_at(Span(first=number + 1), upwards=False)[0]

    def _first(self, span: Span, *, upwards: bool) -> tuple[list[Row], int | None]:
        """Return the first rows of the span, one more than a page, and where to go on if not all were looked at."""
        rows, end = self._looked_at(span, upwards=upwards)
        return list(rows.order_by("pk" if upwards else "-pk")[: self._size + 1]), end

    def _looked_at(self, span: Span, *, upwards: bool) -> tuple[QuerySet[Row], int | None]:
        """Return the matching rows among those that are looked at, and the number of the last one if there are more."""
        if self.times:
            span = span.within(numbers_of(self.rows.model._default_manager.all(), self.times))
            if span.is_empty:
                return self.rows.none(), None
        rows = self.rows.filter(span.condition())
        for lookup, moment in self.times:
            rows = unindexed(rows, "at", moment, lookup)
        if not self.filters:
            return rows, None
        is_exact = len(self.filters) == 1 and self.filters[0].is_exact and not self.times
        most = self._size if is_exact else MOST
        found = [(each.numbers(span, most, upwards=upwards), each) for each in self.filters]
        # The fewest; of those with too many, the one whose numbers go farthest.
        numbers, chosen = min(found, key=lambda pair: (len(pair[0]), (-1 if upwards else 1) * (pair[0] or [0])[-1]))
        for each in self.filters:
            if each is not chosen or not each.is_exact:
                rows = each.narrow(rows)
        return rows.filter(pk__in=numbers), numbers[-1] if len(numbers) > most else None


def numbers_of(rows: QuerySet[Any], times: Iterable[tuple[str, datetime]]) -> Span:
    """Return the numbers that rows of these times may have, by one query for each of the times."""
    span = Span()
    for lookup, moment in times:
        near = rows.filter(**{f"at__{lookup}": moment})
        is_start = lookup in ("gt", "gte")
        number = (
            near.order_by("at")[:NEAR].aggregate(number=Min("pk"))
            if is_start
            else near.order_by("-at")[:NEAR].aggregate(number=Max("pk"))
        )["number"]
        if number is None:
            return Span(first=1, last=0)
        span = span.within(Span(first=number - SLACK) if is_start else Span(last=number + SLACK))
    return span
