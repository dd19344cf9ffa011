"""Shared by the long lists: clean addresses, and the rows that arrived since a page was opened."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRefresh

from promptops.platform.pages import arrived
from promptops.texts.numbers import whole_number


@dataclass(frozen=True)
class Neighbor:
    """The next older or newer thing of the kind that a page shows, for `_neighbors.html`."""

    number: int
    label: str
    url: str


def clean_query(request: HttpRequest) -> str | None:
    """Return the address without empty parameters, which HTML forms add for unused filters; None if there are none."""
    query = request.GET.copy()
    for name in list(query):
        if not any(query.getlist(name)):
            del query[name]
    if len(query) == len(request.GET):
        return None
    return f"{request.path}?{query.urlencode()}" if query else request.path


def news(
    request: HttpRequest,
    rows: QuerySet[Any],
    template: str,
    *,
    shown: Callable[[list[Any]], list[Any]] = list,
    **context: Any,
) -> HttpResponse:
    """Return what arrived after the row `since` of an open list: as rows (`news=rows`) or as their number.

    `shown` turns the rows into what the template shows. An open list without a row is reloaded. More than a page is
    never put into a list that somebody reads.
    """
    since = whole_number(request.GET.get("since"))
    fresh, more = arrived(rows, since=since or 0)
    if not fresh:
        return HttpResponse(status=204)
    if since is None:
        return HttpResponseClientRefresh()
    as_rows = request.GET["news"] == "rows" and not more
    return render(request, template, {"rows": shown(fresh), "more": more, "as_rows": as_rows, **context})
