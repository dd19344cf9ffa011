"""Finding the runs of a page by the indexes of its filters, so that the time of a page does not grow with the table.

A database that has to combine filters may read a whole table for one page: it does not know that a provider was called
only last year, or that no run has both values. So the numbers of the newest runs of each filter are read from its index,
and only runs of the filter with the fewest of them are looked at. If these are not enough for a page, it can be
continued.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, Max, Min, Q, QuerySet
from django.db.models.functions import Coalesce

from promptops.platform.pages import PAGE_SIZE, Page
from promptops.runs.models import Run

MOST = 5_000
"""The most runs that are looked at for one page, in at most about 0.1 s."""
SLACK = 10_000
"""Numbers follow time, but runs that waited for the database are recorded late. A filter by time reads this many more."""
NEAR = 500
"""The number of runs next to a moment of which the first number counts, in case one of them was recorded late."""

Narrow = Callable[[QuerySet[Run]], QuerySet[Run]]


@dataclass(frozen=True)
class Index:
    """A filter that an index finds in the order of numbers. `column` has the run's number in the rows of the index.

    `narrow` applies the same filter to a few given runs. `is_exact`: each row of the index is a match.
    """

    rows: QuerySet[Any]
    narrow: Narrow
    column: str = "pk"
    is_exact: bool = True

    def numbers(self, span: "Span", most: int, *, upwards: bool) -> list[int]:
        """Return the numbers of the first runs in the span, and one more than `most` if there are more."""
        rows = self.rows.filter(span.condition(self.column)).order_by(self.column if upwards else f"-{self.column}")
        if self.column != "pk":  # a run may have several attempts or verdicts
            rows = rows.distinct()
        return list(rows.values_list(self.column, flat=True)[: most + 1])


@dataclass(frozen=True)
class Span:
    """Numbers from `first` to `last`, both included; None is open."""

    first: int | None = None
    last: int | None = None

    def condition(self, column: str = "pk") -> Q:
        """Return the condition that the column is in the span."""
        ends = {f"{column}__gte": self.first, f"{column}__lte": self.last}
        return Q(**{name: number for name, number in ends.items() if number is not None})

    def within(self, first: int | None, last: int | None) -> "Span":
        """Return the part of the span in these bounds."""
        firsts = [number for number in (self.first, first) if number is not None]
        lasts = [number for number in (self.last, last) if number is not None]
        return Span(max(firsts, default=None), min(lasts, default=None))


def by_column(name: str, value: Any) -> Index:
    """Return the filter by a column of runs that has an index together with the number."""
    return Index(Run.objects.filter(**{name: value}), lambda runs: unindexed(runs, name, value))


def unindexed(runs: QuerySet[Run], name: str, value: Any, lookup: str = "exact") -> QuerySet[Run]:
    """Apply a condition on a column of runs so that no database looks for an index of that column."""
    alias = f"plain_{name}_{lookup}"
    return runs.alias(**{alias: Coalesce(F(name), F(name))}).filter(**{f"{alias}__{lookup}": value})


@dataclass(frozen=True)
class RunList:
    """Runs that match all filters: those of `indexes`, and times from `start` until `end`, which may be included."""

    runs: QuerySet[Run]
    indexes: tuple[Index, ...] = ()
    times: tuple[tuple[str, datetime], ...] = ()

    def page(self, *, before: int | None = None, after: int | None = None) -> Page[Run]:
        """Return the newest page, or the page directly `before` or `after` the run with that number.

        If the page `after` would not be full, it is the newest page. Sends at most one query for each filter and one
        for the rows.
        """
        if after is not None:
            rows, end = self._rows(Span(first=after + 1), upwards=True)
            if len(rows) <= PAGE_SIZE and end is None:
                return self.page()
            shown = rows[:PAGE_SIZE][::-1]
            newer = shown[0].pk if len(rows) > PAGE_SIZE or end is None else end
            return Page(shown, newer=newer, older=shown[-1].pk if shown else after + 1)
        rows, end = self._rows(Span(last=None if before is None else before - 1), upwards=False)
        shown = rows[:PAGE_SIZE]
        newer = None if before is None else shown[0].pk if shown else before - 1
        if len(rows) > PAGE_SIZE:
            return Page(shown, newer=newer, older=shown[-1].pk)
        return Page(shown, newer=newer, older=end, reached=end)

    def since(self, number: int) -> QuerySet[Run]:
        """Return the runs after that number, at least the newest page of them."""
        runs, _ = self._candidates(Span(first=number + 1), upwards=False)
        return runs

    def _rows(self, span: Span, *, upwards: bool) -> tuple[list[Run], int | None]:
        """Return the first rows of the span, one more than a page, and where to go on if more were not looked at."""
        runs, end = self._candidates(span, upwards=upwards)
        return list(runs.order_by("pk" if upwards else "-pk")[: PAGE_SIZE + 1]), end

    def _candidates(self, span: Span, *, upwards: bool) -> tuple[QuerySet[Run], int | None]:
        """Return the matching runs among those that are looked at, and the number of the last one if there are more."""
        if self.times:
            span = span.within(*self._times_as_numbers())
            if span.last is not None and span.last < (span.first or 1):
                return self.runs.none(), None
        runs = self.runs.filter(span.condition())
        for lookup, moment in self.times:
            runs = unindexed(runs, "at", moment, lookup)
        if not self.indexes:
            return runs, None
        is_exact = len(self.indexes) == 1 and self.indexes[0].is_exact and not self.times
        most = PAGE_SIZE if is_exact else MOST
        found = [(index.numbers(span, most, upwards=upwards), index) for index in self.indexes]
        # The fewest, or of those with more the one that goes farthest.
        numbers, chosen = min(found, key=lambda each: (len(each[0]), (-1 if upwards else 1) * (each[0] or [0])[-1]))
        for index in self.indexes:
            if index is not chosen or not index.is_exact:
                runs = index.narrow(runs)
        return runs.filter(pk__in=numbers), numbers[-1] if len(numbers) > most else None

    def _times_as_numbers(self) -> tuple[int | None, int | None]:
        """Return the first and the last number that runs of these times may have; the last is 0 if there are none."""
        first = last = None
        for lookup, moment in self.times:
            near = Run.objects.filter(**{f"at__{lookup}": moment})
            if lookup in ("gt", "gte"):
                number = near.order_by("at")[:NEAR].aggregate(number=Min("pk"))["number"]
                first = None if number is None else max(first or 0, number - SLACK)
            else:
                number = near.order_by("-at")[:NEAR].aggregate(number=Max("pk"))["number"]
                last = None if number is None else min(last or number + SLACK, number + SLACK)
            if number is None:
                return None, 0
        return first, last
