"""Comparisons: the list, starting one, and following it."""

from collections.abc import Callable
from dataclasses import replace

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from promptops.compare.actions import comparisons as actions
from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.enums import ComparisonState
from promptops.compare.forms.comparisons import ComparisonForm
from promptops.compare.models import Comparison
from promptops.compare.queries import comparisons as queries
from promptops.compare.queries.offers import offers
from promptops.engine.operations import OPERATIONS, OperationSpec, first_operation
from promptops.engine.snapshot import Snapshot
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.platform.pages import page
from promptops.texts.numbers import whole_number
from promptops.web.access import actor, requires
from promptops.web.request import Request


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """The list, newest first."""
    shown = page(
        queries.listed(), before=whole_number(request.GET.get("before")), after=whole_number(request.GET.get("after"))
    )
    return render(request, "compare/index.html", {"page": shown})


@requires(Permission.READ)
def detail(request: Request, pk: int) -> HttpResponse:
    """One comparison: how far it is, and what its arms are."""
    comparison = found(pk)
    context = {
        "comparison": comparison,
        "progress": queries.progress(comparison),
        "arms": queries.arms(comparison),
        "offers": offers(comparison),
        "open": comparison.state in {ComparisonState.RUNNING, ComparisonState.PAUSED},
    }
    return render(request, "compare/_detail_live.html" if request.htmx else "compare/detail.html", context)


@requires(Permission.EDIT)
def new(request: Request) -> HttpResponse:
    """Choose arms and inputs, see what it would take, and start; `repeat` names one to do again as it was."""
    repeated = _repeated(request)
    operation = repeated.operation_spec if repeated else _operation(request)
    data = request.POST if request.method == "POST" else None
    form = ComparisonForm(data, operation=operation, user=request.user, repeated=repeated)
    context = {"form": form, "operation": operation, "operations": list(OPERATIONS.values()), "repeated": repeated}
    if data is None:
        context["changed"] = queries.changed_since(repeated) if repeated else []
        return render(request, "compare/new.html", context)
    snapshot = live.current()
    if repeated:
        pinned = replace(snapshot.settings, timeout_ms=repeated.timeout_ms)
        snapshot = replace(snapshot, settings=pinned, variables={operation.name: repeated.variables})
    form.fields["name"].required = "estimate" not in data  # what it takes is told before it has a name
    try:
        arms = form.choices() if form.is_valid() else []
        if "estimate" in data:
            return render(request, "compare/_estimate.html", {"estimate": _estimate(form, arms, snapshot)})
        if form.is_valid():
            wanted = form.cleaned_data
            comparison = actions.start(
                wanted["name"],
                operation.name,
                form.inputs,
                arms,
                by=actor(request),
                snapshot=snapshot,
                inputs_from=form.inputs_from,
                repeats=wanted["repeats"],
                count=wanted.get("count"),
                note=wanted["note"],
            )
            return redirect("comparison", pk=comparison.pk)
    except ValidationError as error:
        if "estimate" in data:
            return render(request, "compare/_estimate.html", {"error": " ".join(error.messages)})
        form.add_error(None, error.messages)
    return render(request, "compare/new.html", context, status=422)


def _repeated(request: Request) -> Comparison | None:
    number = whole_number(request.POST.get("repeat") or request.GET.get("repeat"))
    return found(number) if number is not None else None


def _operation(request: Request) -> OperationSpec:
    wanted = request.POST.get("operation") or request.GET.get("operation") or ""
    return OPERATIONS.get(wanted) or first_operation()


def _estimate(form: ComparisonForm, arms: list[ArmChoice], snapshot: Snapshot) -> queries.Estimate | None:
    wanted = getattr(form, "cleaned_data", {})
    if not arms or "prompt_set" not in wanted or "repeats" not in wanted:
        return None
    return queries.estimate(arms, form.inputs, wanted["repeats"], snapshot.settings.max_tokens)


STEPS: dict[str, tuple[Callable[..., None], str]] = {
    "pause": (actions.pause, "Paused. Trials under way end; no new one is started."),
    "resume": (actions.resume, "Going on."),
    "cancel": (actions.cancel, "Canceled. What was answered stays."),
}


@requires(Permission.EDIT)
@require_POST
def step(request: Request, pk: int) -> HttpResponse:
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
