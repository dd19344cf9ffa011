"""The overview: what is live, the chain, what changed."""

from django.http import HttpResponse
from django.shortcuts import render

from promptops.people.enums import Permission
from promptops.runs.queries.figures import DEFAULT_HOURS, STEP_MINUTES, figures
from promptops.site import queries
from promptops.texts.numbers import whole_number
from promptops.web.access import requires
from promptops.web.request import Request


@requires(Permission.READ)
def overview(request: Request) -> HttpResponse:
    """The page. What is live on it comes by the page's socket later (promptops.web.fragments)."""
    hours = whole_number(request.GET.get("hours"))
    if hours not in STEP_MINUTES:
        hours = DEFAULT_HOURS
    return render(request, "site/overview/index.html", {"overview": queries.overview(), "figures": figures(hours)})
