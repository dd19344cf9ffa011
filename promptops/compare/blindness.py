"""Blinding: which pages a person does not see before voting, and the warning that takes their place.

Every page that names arms beside answers or votes asks here first. Which ballots a person has left is decided in
`queries.votes`.
"""

from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import render

from promptops.compare.enums import ComparisonState
from promptops.compare.models import Comparison
from promptops.compare.queries import votes
from promptops.people.enums import Permission
from promptops.web.request import Request

SEEN = "comparisons_seen"
"""Session key of the comparisons that the person chose to see although ballots were left."""


@dataclass(frozen=True)
class Blind:
    """The person still has to vote: on `left` ballots, and on those of the answers that are still to come."""

    left: int
    goes_on: bool


def blind(request: Request, comparison: Comparison) -> Blind | None:
    """Return why the person must not see the arms yet; None for a viewer, and for a person who chose to see them.

    While a comparison goes on, answers arrive that the person can vote on: it stays blind until it ends.
    """
    if comparison.pk in request.session.get(SEEN, []) or not request.user.may(Permission.EDIT):
        return None
    goes_on = comparison.state in {ComparisonState.RUNNING, ComparisonState.PAUSED}
    left = votes.left_to(request.user, comparison)
    return Blind(left, goes_on) if left or goes_on else None


def skip_warning(request: Request, comparison: Comparison) -> None:
    """Show no warning for this comparison in this session from now on."""
    request.session[SEEN] = sorted({*request.session.get(SEEN, []), comparison.pk})


def warning(request: Request, comparison: Comparison, blind: Blind) -> HttpResponse:
    """Return the page that warns a person who still has to vote."""
    return render(request, "compare/blind.html", {"comparison": comparison, "blind": blind})
