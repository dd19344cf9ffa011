"""The page of the verdict and the measures."""

from django.http import HttpResponse
from django.shortcuts import render

from promptops.compare import blindness
from promptops.compare.queries.arm_names import named_arms
from promptops.compare.queries.measures import measured
from promptops.compare.queries.offers import offers
from promptops.compare.queries.verdicts import verdicts
from promptops.compare.views.comparisons import comparison_or_404
from promptops.people.enums import Permission
from promptops.web.access import requires
from promptops.web.request import Request


@requires(Permission.READ)
def verdict(request: Request, pk: int) -> HttpResponse:
    """Show the verdict on each pair of arms, and the measures of their answers.

    A person who has ballots left sees a warning first. A page that is already open stays open when ballots arrive.
    """
    comparison = comparison_or_404(pk)
    if not request.htmx and (left := blindness.left_before_seeing(request, comparison)):
        return blindness.warning(request, comparison, left=left, tab="verdict")
    arms = named_arms(comparison)
    context = {
        "comparison": comparison,
        "offers": [] if request.htmx else offers(comparison),
        "verdicts": verdicts(comparison, arms),
        "measured": measured(comparison, arms),
    }
    return render(request, "compare/_verdict_live.html" if request.htmx else "compare/verdict.html", context)
