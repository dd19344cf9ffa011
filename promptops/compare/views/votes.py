"""Blind voting on a comparison.

What is sent before a vote names no arm; tests/compare/test_vote_pages.py searches all of it.
"""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from promptops.compare.actions import votes as actions
from promptops.compare.blindness import note_seen
from promptops.compare.enums import Side
from promptops.compare.models import Comparison
from promptops.compare.queries import votes as queries
from promptops.compare.views.comparisons import found
from promptops.ledger.errors import Refused
from promptops.people.enums import Permission
from promptops.texts.numbers import whole_number
from promptops.web.access import actor, requires
from promptops.web.request import Request


@requires(Permission.EDIT)
def vote(request: Request, pk: int) -> HttpResponse:
    """The next ballot; a post votes on the one that was shown."""
    comparison = found(pk)
    if request.method != "POST":
        if request.htmx and request.htmx.target == "standing":
            standing = queries.standing(request.user, comparison)
            return render(request, "compare/_standing.html", {"comparison": comparison, "standing": standing})
        return _page(request, comparison, queries.next_ballot(request.user, comparison))
    told = ""
    try:
        side = request.POST.get("side", "")
        new = actions.cast(
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
        told = f"Voted: {Side(side).label}."
        if not new:
            told = "You had voted on that one already, and that vote stays."
            messages.info(request, f"{told} Here are the next answers.")
    if not request.htmx:
        return redirect("comparison_vote", pk=pk)
    return _page(request, comparison, queries.next_ballot(request.user, comparison), told=told)


def _number(request: Request, name: str) -> int:
    """What was sent as a number; -1, which no row has, for anything else."""
    number = whole_number(request.POST.get(name))
    return -1 if number is None else number


@requires(Permission.EDIT)
@require_POST
def take_back(request: Request, pk: int) -> HttpResponse:
    """Take the person's newest vote back and show its ballot again."""
    comparison = found(pk)
    ballot, told = None, ""
    try:
        ballot = queries.ballot_of(request.user, actions.take_back(comparison, by=actor(request)))
        told = "Your last vote is taken back."
    except Refused as refused:
        messages.warning(request, str(refused))
    if not request.htmx:
        return redirect("comparison_vote", pk=pk)
    return _page(request, comparison, ballot or queries.next_ballot(request.user, comparison), told=told)


def _page(request: Request, comparison: Comparison, ballot: queries.Ballot | None, *, told: str = "") -> HttpResponse:
    context: dict[str, Any] = {
        "comparison": comparison,
        "ballot": ballot,
        "standing": queries.standing(request.user, comparison),
        "goes_on": comparison.finished_at is None,
        "told": told,
    }
    return render(request, "compare/_ballot.html" if request.htmx else "compare/vote.html", context)


@requires(Permission.READ)
@require_POST
def seen(request: Request, pk: int) -> HttpResponse:
    """Show answers and verdict in this session from now on, although ballots are left."""
    note_seen(request, found(pk))
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return redirect(wanted) if safe else redirect("comparison_matrix", pk=pk)
