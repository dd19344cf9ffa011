"""The page of the overview: what is live, the provider chain, recent changes."""

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
    """Show the overview. Its later changes come over the page's socket (promptops.web.fragments)."""
    hours = whole_number(request.GET.get("hours"))
    if hours not in STEP_MINUTES:
        hours = DEFAULT_HOURS
    return render(request, "site/overview/index.html", {"overview": queries.overview(), "figures": figures(hours)})
