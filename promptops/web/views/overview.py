"""The overview: what is live, the chain, what changed."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from promptops.enums import Permission
from promptops.queries import overview as queries
from promptops.web.access import requires


@requires(Permission.READ)
def overview(request: HttpRequest) -> HttpResponse:
    """The page, or for an htmx request the part of it that is live."""
    page = "overview/_live.html" if request.htmx else "overview/index.html"
    return render(request, page, {"overview": queries.overview()})


@requires(Permission.READ)
def badge(request: HttpRequest) -> HttpResponse:
    """The live badge of the top bar, fetched again after each release."""
    return render(request, "_live_badge.html")
