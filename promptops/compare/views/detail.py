"""The page of one comparison: its verdict, answers, votes, measures, and what a person can do with the result.

A person who still has to vote sees its progress only; `blindness` decides that for every part. The report to print is
in `reports`, the release of an arm in `arms`.
"""

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django_htmx.http import HttpResponseClientRefresh

from promptops.compare.blindness import blind
from promptops.compare.enums import ComparisonState
from promptops.compare.models import Comparison
from promptops.compare.queries import comparisons as queries
from promptops.compare.queries import matrix
from promptops.compare.queries.arm_names import named_arms
from promptops.compare.queries.larger import larger
from promptops.compare.queries.matrix import FIRST_ROWS, ROWS, SHOWS, Filters
from promptops.compare.queries.measures import measured
from promptops.compare.queries.offers import offers
from promptops.compare.queries.verdicts import verdicts
from promptops.compare.views.comparisons import comparison_or_404
from promptops.people.enums import Permission
from promptops.texts.json_lines import indented
from promptops.texts.numbers import whole_number
from promptops.web.access import requires
from promptops.web.request import Request

MOST_CELLS = 400
"""The most cells that an open page may request at once: five presses for more answers of four arms."""


@requires(Permission.READ)
def detail(request: Request, pk: int) -> HttpResponse:
    """Show the page, or the part of it that an open page requests as `part`: `live`, `rows` or `news`.

    An open page sends the ids of its waiting trials as `open`. With `news=rows`, return the cells among them that no
    longer wait; with `news=count`, return only a button with their number.
    """
    comparison = comparison_or_404(pk)
    goes_on = comparison.state in {ComparisonState.RUNNING, ComparisonState.PAUSED}
    context: dict[str, Any] = {"comparison": comparison, "goes_on": goes_on}
    hidden = blind(request, comparison)
    if hidden and request.htmx and "was_blind" not in request.GET:
        return HttpResponseClientRefresh()  # the page shows more than the person may see now, as in another session
    if hidden:
        context |= {"blind": hidden, "progress": queries.progress(comparison)}
        return render(request, "compare/_live.html" if request.htmx else "compare/comparison.html", context)
    if "was_blind" in request.GET:
        return HttpResponseClientRefresh()  # the person has voted or chosen to see: now there is more to show
    if "news" in request.GET:
        return _news(request, comparison)
    if request.GET.get("part") == "rows":
        return render(request, "compare/_rows.html", context | _answers(request, comparison))
    if request.htmx and request.htmx.target == "answers":
        return render(request, "compare/_answers.html", context | _answers(request, comparison))
    context |= _figures(comparison)
    if request.htmx:
        return render(request, "compare/_live.html", context)
    context |= _answers(request, comparison) | {"offers": offers(comparison)}
    return render(request, "compare/comparison.html", context)


@requires(Permission.READ)
def moved(request: Request, pk: int, section: str, input: int | None = None) -> HttpResponse:
    """Redirect an address of the pages that this page replaced to its section."""
    query = request.GET.copy()
    if input is not None:
        query["pair"] = str(input)
    if page := whole_number(query.get("page")):
        query["from"] = str(ROWS * (page - 1) + 1)
    query.pop("page", None)
    encoded = f"?{query.urlencode()}" if query else ""
    return redirect(f"{reverse('comparison', args=[pk])}{encoded}#{section}")


def _figures(comparison: Comparison) -> dict[str, Any]:
    arms = named_arms(comparison)
    shown = verdicts(comparison, arms)
    return {
        "progress": queries.progress(comparison),
        "arms": queries.arms(comparison),
        "verdicts": shown,
        "measured": measured(comparison, arms),
        "larger": larger(shown),
    }


def _answers(request: Request, comparison: Comparison) -> dict[str, Any]:
    """Return the answers of the section: one pair if the address names one (`pair`, `a`, `b`), else some inputs."""
    filters = _filters(request)
    context = {"filters": filters, "shows": SHOWS, "query": _query(request)}
    if (number := whole_number(request.GET.get("pair"))) is not None:
        return context | _pair(request, comparison, number)
    start = whole_number(request.GET.get("from"))
    shown = matrix.matrix(
        comparison,
        filters,
        start=start or 1,
        rows=ROWS if start else FIRST_ROWS,
        base=_base(request),
        is_json=queries.answers_in_json(comparison),
    )
    return context | {"matrix": shown}


def _pair(request: Request, comparison: Comparison, number: int) -> dict[str, Any]:
    shown = matrix.pair(
        comparison,
        number,
        _filters(request),
        first=matrix.letter(request.GET.get("a", ""), "A"),
        second=matrix.letter(request.GET.get("b", ""), "B"),
        repeat=whole_number(request.GET.get("repeat")) or 0,
    )
    if shown is None:
        raise Http404
    outputs = [trial.run.output if trial.run else "" for trial in (shown.first, shown.second)]
    return {
        "pair": shown,
        "texts": [indented(output) if queries.answers_in_json(comparison) else output for output in outputs],
        "number": number,
        "repeats": range(comparison.repeats),
        "sides": [("a", shown.first), ("b", shown.second)],
    }


def _news(request: Request, comparison: Comparison) -> HttpResponse:
    waiting = [number for each in request.GET.getlist("open")[:MOST_CELLS] if (number := whole_number(each))]
    is_json = queries.answers_in_json(comparison)
    arrived = matrix.cells(comparison, waiting, base=_base(request), is_json=is_json)
    if not arrived:
        return HttpResponse(status=204)
    as_rows = request.GET["news"] == "rows"
    context = {"comparison": comparison, "cells": arrived, "as_rows": as_rows, "query": _query(request)}
    return render(request, "compare/_cells.html", context)


def _base(request: Request) -> str:
    return matrix.letter(request.GET.get("base", ""), "A")


def _filters(request: Request) -> Filters:
    show = request.GET.get("show", "")
    search = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    return Filters(show if show in SHOWS else "", search)


def _query(request: Request) -> str:
    """Return the filters and the base arm as a query string for links inside the answers."""
    query = request.GET.copy()
    for name in [*query]:
        if name not in {"q", "show", "base"} or not query[name]:
            del query[name]
    return query.urlencode()
