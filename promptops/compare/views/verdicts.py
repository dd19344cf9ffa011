"""What the votes and the answers of a comparison say."""

from django.http import HttpResponse
from django.shortcuts import render

from promptops.compare import blindness
from promptops.compare.queries import verdicts as queries
from promptops.compare.queries.offers import offers
from promptops.compare.views.comparisons import found
from promptops.people.enums import Permission
from promptops.web.access import requires
from promptops.web.request import Request


@requires(Permission.READ)
def verdict(request: Request, pk: int) -> HttpResponse:
    """The verdict on each pair of arms, and the measures of their answers.

    Who has ballots left is warned first; a page that is open stays open when more ballots come.
    """
    comparison = found(pk)
    if not request.htmx and (left := blindness.left_before_seeing(request, comparison)):
        return blindness.warning(request, comparison, left=left, tab="verdict")
    arms = queries.named(comparison)
    context = {
        "comparison": comparison,
        "offers": [] if request.htmx else offers(comparison),
        "verdicts": queries.verdicts(comparison, arms),
        "measured": queries.measured(comparison, arms),
    }
    return render(request, "compare/_verdict_live.html" if request.htmx else "compare/verdict.html", context)
