"""The report of a comparison on one page, and the export of its rows as files."""

from django.contrib import messages
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from promptops.compare import blindness
from promptops.compare import exports as exports_comparisons
from promptops.compare.actions import comparisons as actions
from promptops.compare.queries import comparisons as progress
from promptops.compare.queries import matrix
from promptops.compare.queries.arm_names import named_arms
from promptops.compare.queries.measures import measured
from promptops.compare.queries.verdicts import verdicts
from promptops.compare.views.comparisons import comparison_or_404
from promptops.engine.variables import find
from promptops.people.enums import Permission
from promptops.texts.numbers import whole_number
from promptops.web import exports
from promptops.web.access import actor, requires
from promptops.web.request import Request


@requires(Permission.READ)
def report(request: Request, pk: int) -> HttpResponse:
    """Show the whole comparison on one page, to read or print; `inputs`, such as `3,17`, chooses the answers."""
    comparison = comparison_or_404(pk)
    if hidden := blindness.blind(request, comparison):
        return blindness.warning(request, comparison, hidden)
    wanted = request.GET.get("inputs", "").split(",")
    numbers = [number for each in wanted if (number := whole_number(each)) is not None]
    shown = matrix.selection(comparison, numbers, is_json=progress.answers_in_json(comparison))
    used = {name for arm in shown.arms for name in find(arm.body)}
    arms = named_arms(comparison)
    context = {
        "comparison": comparison,
        "variables": {name: value for name, value in comparison.variables.items() if name in used},
        "progress": progress.progress(comparison),
        "verdicts": verdicts(comparison, arms),
        "measured": measured(comparison, arms),
        "matrix": shown,
        "releases": comparison.releases.defer("packed_configuration", "evidence").order_by("-revision")[:10],
    }
    return render(request, "compare/report.html", context)


@requires(Permission.READ)
@require_POST
def export(request: Request, pk: int) -> HttpResponseBase:
    """Send the trials, votes or arms (`what`) as CSV or JSON Lines. The export is recorded in the audit first."""
    comparison = comparison_or_404(pk)
    what, name = request.POST.get("what", ""), request.POST.get("format", "")
    chosen = exports_comparisons.rows(comparison, what, name)
    if chosen is None:
        messages.error(request, "Nothing was exported: this page is out of date. Reload it and try again.")
        return redirect("comparison", pk=pk)
    if blindness.blind(request, comparison):
        messages.warning(
            request, "You can still vote, and the file shows which arm is which. Choose “Show it”, then export again."
        )
        return redirect("comparison_report", pk=pk)
    rows, format = chosen
    actions.record_download(comparison, what, name, by=actor(request))
    return StreamingHttpResponse(
        exports.stream(rows, format),
        content_type=format.content_type,
        headers={"Content-Disposition": f'attachment; filename="comparison-{pk}-{what}.{name}"'},
    )
