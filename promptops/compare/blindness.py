"""Answers and verdicts warn, before they are shown, who still has ballots to vote on blindly."""

from django.http import HttpResponse
from django.shortcuts import render

from promptops.compare.models import Comparison
from promptops.compare.queries import votes
from promptops.web.request import Request

SEEN = "comparisons_seen"
"""In the session: the comparisons that the person chose to see although ballots were left."""


def left_before_seeing(request: Request, comparison: Comparison) -> int:
    """How many ballots to warn of before arms are told; 0 once the person chose to see them, in this session."""
    return 0 if comparison.pk in request.session.get(SEEN, []) else votes.left_to(request.user, comparison)


def note_seen(request: Request, comparison: Comparison) -> None:
    """Warn of this comparison no more in this session."""
    request.session[SEEN] = sorted({*request.session.get(SEEN, []), comparison.pk})


def warning(request: Request, comparison: Comparison, *, left: int, tab: str) -> HttpResponse:
    """The page that stands in place of one that would color the votes to come; `tab` is that one's."""
    return render(request, "compare/blind.html", {"comparison": comparison, "left": left, "tab": tab})
