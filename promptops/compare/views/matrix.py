"""The pages of the answers: inputs by arms, and two arms' answers to one input side by side."""

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render

from promptops.compare import blindness
from promptops.compare.enums import ComparisonState
from promptops.compare.queries import matrix as queries
from promptops.compare.queries.comparisons import answers_in_json
from promptops.compare.queries.matrix import SHOWS, Filters
from promptops.compare.queries.offers import offers
from promptops.compare.views.comparisons import comparison_or_404
from promptops.people.enums import Permission
from promptops.texts.json_lines import indented
from promptops.texts.numbers import whole_number
from promptops.web.access import requires
from promptops.web.request import Request

MOST_CELLS = 400
"""The most cells that an open page may request at once: a page of the matrix with five repeats."""


@requires(Permission.READ)
def index(request: Request, pk: int) -> HttpResponse:
    """Show inputs by arms: every answer with its time, tokens and cost.

    An open page sends the ids of its waiting trials as `open`. With `news=rows`, return the cells among them that no
    longer wait; with `news=count`, return only a button with their number.
    """
    comparison = comparison_or_404(pk)
    # A page that is already open names the arms, so a warning would come too late.
    if "news" not in request.GET and (left := blindness.left_before_seeing(request, comparison)):
        return blindness.warning(request, comparison, left=left, tab="matrix")
    filters = _filters(request)
    base = queries.letter(request.GET.get("base", ""), "A")
    if "news" in request.GET:
        waiting = [number for each in request.GET.getlist("open")[:MOST_CELLS] if (number := whole_number(each))]
        arrived = queries.cells(comparison, waiting, base=base, is_json=answers_in_json(comparison))
        if not arrived:
            return HttpResponse(status=204)
        as_rows = request.GET["news"] == "rows"
        context = {"comparison": comparison, "cells": arrived, "as_rows": as_rows, "query": _query(request)}
        return render(request, "compare/_cells.html", context)
    number = whole_number(request.GET.get("page")) or 1
    shown = queries.matrix(comparison, filters, number=number, base=base, is_json=answers_in_json(comparison))
    context = {
        "comparison": comparison,
        "matrix": shown,
        "filters": filters,
        "shows": SHOWS,
        "offers": offers(comparison),
        "query": _query(request),
        "goes_on": comparison.state in {ComparisonState.RUNNING, ComparisonState.PAUSED},
    }
    return render(request, "compare/matrix.html", context)


@requires(Permission.READ)
def pair(request: Request, pk: int, input: int) -> HttpResponse:
    """Show two arms' answers to one input (`a` and `b` are their letters), with their differences and settings."""
    comparison = comparison_or_404(pk)
    if left := blindness.left_before_seeing(request, comparison):
        return blindness.warning(request, comparison, left=left, tab="matrix")
    repeat = whole_number(request.GET.get("repeat")) or 0
    shown = queries.pair(
        comparison,
        input,
        _filters(request),
        first=queries.letter(request.GET.get("a", ""), "A"),
        second=queries.letter(request.GET.get("b", ""), "B"),
        repeat=repeat,
    )
    if shown is None:
        raise Http404
    outputs = [trial.run.output if trial.run else "" for trial in (shown.first, shown.second)]
    context: dict[str, Any] = {
        "comparison": comparison,
        "pair": shown,
        "texts": [indented(output) if answers_in_json(comparison) else output for output in outputs],
        "number": input,
        "repeats": range(comparison.repeats),
        "sides": [("a", shown.first), ("b", shown.second)],
    }
    return render(request, "compare/pair.html", context)


def _filters(request: Request) -> Filters:
    show = request.GET.get("show", "")
    search = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    return Filters(show if show in SHOWS else "", search)


def _query(request: Request) -> str:
    """Return the filters as a query string for the links to pairs."""
    query = request.GET.copy()
    for name in ("page", "news", "open", "base"):
        query.pop(name, None)
    return query.urlencode()
