"""The overview: what is live, the chain, what changed."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from promptops.enums import Permission
from promptops.queries import overview as queries
from promptops.queries.figures import DEFAULT_HOURS, STEP_MINUTES, figures
from promptops.text import whole_number
from promptops.web.access import requires


@requires(Permission.READ)
def overview(request: HttpRequest) -> HttpResponse:
    """The page, or for an htmx request the part of it that asks: the figures, or all the rest that is live."""
    hours = whole_number(request.GET.get("hours"))
    if hours not in STEP_MINUTES:
        hours = DEFAULT_HOURS
    if request.htmx.target == "figures":
        return render(request, "overview/_figures_live.html", {"figures": figures(hours)})
    if request.htmx:
        return render(request, "overview/_live.html", {"overview": queries.overview()})
    return render(request, "overview/index.html", {"overview": queries.overview(), "figures": figures(hours)})


@requires(Permission.READ)
def badge(request: HttpRequest) -> HttpResponse:
    """The live badge of the top bar, fetched again after each release."""
    return render(request, "_live_badge.html")
