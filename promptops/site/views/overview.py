"""The page of the overview: whether all is well, the newest releases, and figures."""

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from promptops.fleet.now import counts
from promptops.people.enums import Permission
from promptops.prompts.queries.handover import sent_back_to
from promptops.runs.queries.figures import DEFAULT_HOURS, STEP_MINUTES, figures
from promptops.site.queries.first_steps import first_steps
from promptops.site.queries.overview import overview as read
from promptops.texts.numbers import whole_number
from promptops.web.access import part_of, requires
from promptops.web.request import Request

HIDDEN = "first_steps_hidden"
"""The cookie of a browser that shows no first steps."""
YEAR = 365 * 86400


@requires(Permission.READ)
def overview(request: Request) -> HttpResponse:
    """Show the overview. Its later changes come over the page's socket (promptops.web.fragments)."""
    hours = whole_number(request.GET.get("hours"))
    if hours not in STEP_MINUTES:
        hours = DEFAULT_HOURS
    shown = figures(hours)
    context = {"overview": read(shown if hours == DEFAULT_HOURS else None), "figures": shown, "tokens": shown.tokens}
    if request.user.may(Permission.EDIT):
        context["sent_back"] = sent_back_to(request.user)
    steps = [] if HIDDEN in request.COOKIES else first_steps()
    if any(not step.is_done and request.user.may(step.permission) for step in steps):
        context["steps"] = steps
    return render(request, "site/overview/index.html", context)


@requires(Permission.READ)
@part_of("overview")
def fleet(request: Request) -> HttpResponse:
    """Return the line about the fleet."""
    return render(request, "site/overview/_fleet.html", {"fleet": counts()})


@requires(Permission.READ)
@require_POST
def hide_first_steps(request: Request) -> HttpResponse:
    """Hide the first steps in this browser."""
    response = redirect("overview")
    response.set_cookie(HIDDEN, "1", max_age=YEAR, httponly=True, samesite="Lax", secure=request.is_secure())
    return response
