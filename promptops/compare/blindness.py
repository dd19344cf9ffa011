"""The warning that a page would reveal arms to a person who still has ballots to vote on blindly.

Every page that names arms beside answers or votes asks here first. Which ballots a person has left is decided in
`queries.votes`.
"""

from django.http import HttpResponse
from django.shortcuts import render

from promptops.compare.models import Comparison
from promptops.compare.queries import votes
from promptops.web.request import Request

SEEN = "comparisons_seen"
"""Session key of the comparisons that the person chose to see although ballots were left."""


def left_before_seeing(request: Request, comparison: Comparison) -> int:
    """Return how many ballots the person has left; 0 once the person chose to see the arms in this session."""
    return 0 if comparison.pk in request.session.get(SEEN, []) else votes.left_to(request.user, comparison)


def skip_warning(request: Request, comparison: Comparison) -> None:
    """Show no warning for this comparison in this session from now on."""
    request.session[SEEN] = sorted({*request.session.get(SEEN, []), comparison.pk})


def warning(request: Request, comparison: Comparison, *, left: int, tab: str) -> HttpResponse:
    """Return the page that warns about `left` ballots; `tab` is the tab of the page that was requested."""
    return render(request, "compare/blind.html", {"comparison": comparison, "left": left, "tab": tab})
