"""Comparisons: the list, starting one, and following it."""

from collections.abc import Callable

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from promptops.actions import comparisons as actions
from promptops.actions.errors import Refused
from promptops.audit import Actor
from promptops.enums import ComparisonState, Permission
from promptops.models import Comparison
from promptops.queries import comparisons as queries
from promptops.queries.pages import page
from promptops.text import whole_number
from promptops.web.access import actor, requires


@requires(Permission.READ)
def index(request: HttpRequest) -> HttpResponse:
    """The list, newest first."""
    shown = page(
        queries.listed(), before=whole_number(request.GET.get("before")), after=whole_number(request.GET.get("after"))
    )
    return render(request, "compare/index.html", {"page": shown})


@requires(Permission.READ)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One comparison: how far it is, and what its arms are."""
    comparison = found(pk)
    context = {
        "comparison": comparison,
        "progress": queries.progress(comparison),
        "arms": queries.arms(comparison),
        "open": comparison.state in {ComparisonState.RUNNING, ComparisonState.PAUSED},
    }
    return render(request, "compare/_detail_live.html" if request.htmx else "compare/detail.html", context)


STEPS: dict[str, tuple[Callable[..., None], str]] = {
    "pause": (actions.pause, "Paused. Trials under way end; no new one is started."),
    "resume": (actions.resume, "Going on."),
    "cancel": (actions.cancel, "Canceled. What was answered stays."),
}


@requires(Permission.EDIT)
@require_POST
def step(request: HttpRequest, pk: int) -> HttpResponse:
    """Pause, resume or cancel it."""
    comparison = found(pk)
    action, told = STEPS.get(request.POST.get("step", ""), (_unknown, ""))
    try:
        action(comparison, by=actor(request))
    except Refused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, told)
    return redirect("comparison", pk=pk)


def _unknown(comparison: Comparison, *, by: Actor) -> None:
    raise Refused("This page is out of date. Reload it and try again.")


def found(pk: int) -> Comparison:
    """The comparison, or a page that says there is none."""
    try:
        return queries.found(pk)
    except Comparison.DoesNotExist:
        raise Http404 from None
