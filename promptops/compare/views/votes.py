"""The page of blind voting.

Nothing that the server sends before a vote may identify an arm; tests/compare/test_vote_pages.py searches every byte.
"""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from promptops.compare.actions import votes as actions
from promptops.compare.blindness import skip_warning
from promptops.compare.enums import Side
from promptops.compare.models import Comparison
from promptops.compare.queries import votes as queries
from promptops.compare.views.comparisons import comparison_or_404
from promptops.ledger.errors import Refused
from promptops.people.enums import Permission
from promptops.texts.numbers import whole_number
from promptops.web.access import actor, requires
from promptops.web.request import Request


@requires(Permission.EDIT)
def vote(request: Request, pk: int) -> HttpResponse:
    """Show the next ballot; a POST votes on the ballot that was shown."""
    comparison = comparison_or_404(pk)
    if request.method != "POST":
        if request.htmx and request.htmx.target == "standing":
            standing = queries.standing(request.user, comparison)
            return render(request, "compare/_standing.html", {"comparison": comparison, "standing": standing})
        return _page(request, comparison, queries.next_ballot(request.user, comparison))
    announcement = ""
    try:
        side = request.POST.get("side", "")
        is_new = actions.cast(
            comparison,
            input=_number(request, "input"),
            repeat=_number(request, "repeat"),
            ballot=request.POST.get("ballot", ""),
            side=side,
            by=actor(request),
        )
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    except Refused as refused:
        messages.warning(request, str(refused))
    else:
        announcement = f"Voted: {Side(side).label}."
        if not is_new:
            announcement = "You had already voted on this ballot. That vote stays."
            messages.info(request, f"{announcement} Here are the next answers.")
    if not request.htmx:
        return redirect("comparison_vote", pk=pk)
    return _page(request, comparison, queries.next_ballot(request.user, comparison), announcement=announcement)


def _number(request: Request, name: str) -> int:
    """Return the parameter as a number; -1, which matches no row, if it is not a number."""
    number = whole_number(request.POST.get(name))
    return -1 if number is None else number


@requires(Permission.EDIT)
@require_POST
def undo(request: Request, pk: int) -> HttpResponse:
    """Undo the person's newest vote and show its ballot again."""
    comparison = comparison_or_404(pk)
    ballot, announcement = None, ""
    try:
        ballot = queries.ballot_of(request.user, actions.undo(comparison, by=actor(request)))
        announcement = "Your last vote was undone."
    except Refused as refused:
        messages.warning(request, str(refused))
    if not request.htmx:
        return redirect("comparison_vote", pk=pk)
    shown = ballot or queries.next_ballot(request.user, comparison)
    return _page(request, comparison, shown, announcement=announcement)


def _page(
    request: Request, comparison: Comparison, ballot: queries.Ballot | None, *, announcement: str = ""
) -> HttpResponse:
    context: dict[str, Any] = {
        "comparison": comparison,
        "ballot": ballot,
        "standing": queries.standing(request.user, comparison),
        "goes_on": comparison.finished_at is None,
        "announcement": announcement,
    }
    return render(request, "compare/_ballot.html" if request.htmx else "compare/vote.html", context)


@requires(Permission.READ)
@require_POST
def seen(request: Request, pk: int) -> HttpResponse:
    """Show answers and verdict in this session from now on, although ballots are left."""
    skip_warning(request, comparison_or_404(pk))
    address = request.POST.get("next", "")
    is_safe = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return redirect(address) if is_safe else redirect("comparison", pk=pk)
