"""The list of comparisons, the form that starts one, and the steps that pause, resume or cancel one."""

from collections.abc import Callable
from dataclasses import replace

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from promptops.compare.actions import comparisons as actions
from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.forms.comparisons import ComparisonForm
from promptops.compare.models import Comparison
from promptops.compare.queries import comparisons as queries
from promptops.engine.operations import OperationSpec
from promptops.engine.snapshot import Snapshot
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.platform.pages import page
from promptops.prompts.queries import operations
from promptops.texts.numbers import whole_number
from promptops.web.access import actor, requires
from promptops.web.request import Request


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show the comparisons, newest first."""
    shown = page(
        queries.listed(), before=whole_number(request.GET.get("before")), after=whole_number(request.GET.get("after"))
    )
    return render(request, "compare/index.html", {"page": shown})


@requires(Permission.EDIT)
def new(request: Request) -> HttpResponse:
    """Show and accept the form that starts a comparison; `repeat` is the number of one to repeat as it was.

    `set` and `limit` choose other inputs for it: the first ones of a prompt set. With `estimate`, return the number of
    trials and the cost instead of starting.
    """
    repeated = _repeated(request)
    operation = operations.of(repeated.operation) if repeated else _operation(request)
    data = request.POST if request.method == "POST" else None
    initial = {"prompt_set": request.GET["set"], "limit": request.GET.get("limit")} if "set" in request.GET else {}
    form = ComparisonForm(data, operation=operation, user=request.user, repeated=repeated, initial=initial)
    context = {"form": form, "operation": operation, "operations": operations.live_operations(), "repeated": repeated}
    if data is None:
        context["changed"] = queries.changed_since(repeated) if repeated else []
        return render(request, "compare/new.html", context)
    snapshot = live.current()
    if repeated:
        # The arms have their other settings already; the operation's own limit may have changed since.
        pinned = replace(operation, timeout_ms=repeated.timeout_ms)
        specs = {name: pinned if name == operation.name else spec for name, spec in snapshot.operations.items()}
        snapshot = replace(snapshot, operations=specs, variables={operation.name: repeated.variables})
    form.fields["name"].required = "estimate" not in data  # the estimate needs no name
    try:
        arms = form.choices() if form.is_valid() else []
        if "estimate" in data:
            return render(request, "compare/_estimate.html", {"estimate": _estimate(form, arms, snapshot)})
        if form.is_valid():
            fields = form.cleaned_data
            comparison = actions.start(
                fields["name"],
                operation.name,
                form.inputs,
                arms,
                by=actor(request),
                snapshot=snapshot,
                inputs_from=form.inputs_from,
                repeats=fields["repeats"],
                count=fields.get("count"),
                note=fields["note"],
            )
            return redirect("comparison", pk=comparison.pk)
    except ValidationError as error:
        if "estimate" in data:
            return render(request, "compare/_estimate.html", {"error": " ".join(error.messages)})
        form.add_error(None, error.messages)
    return render(request, "compare/new.html", context, status=422)


def _repeated(request: Request) -> Comparison | None:
    number = whole_number(request.POST.get("repeat") or request.GET.get("repeat"))
    return comparison_or_404(number) if number is not None else None


def _operation(request: Request) -> OperationSpec:
    name = request.POST.get("operation") or request.GET.get("operation") or ""
    known = live.current().operations
    return known.get(name) or next(iter(known.values()))


def _estimate(form: ComparisonForm, arms: list[ArmChoice], snapshot: Snapshot) -> queries.Estimate | None:
    fields = getattr(form, "cleaned_data", {})
    if not arms or "prompt_set" not in fields or "repeats" not in fields:
        return None
    return queries.estimate(arms, form.inputs, fields["repeats"], snapshot.settings_for(form.operation.name).max_tokens)


STEPS: dict[str, tuple[Callable[..., None], str]] = {
    "pause": (actions.pause, "Paused. Running trials finish; no new ones start."),
    "resume": (actions.resume, "Resumed."),
    "cancel": (actions.cancel, "Canceled. Existing answers stay."),
}


@requires(Permission.EDIT)
@require_POST
def step(request: Request, pk: int) -> HttpResponse:
    """Pause, resume or cancel a comparison."""
    comparison = comparison_or_404(pk)
    action, message = STEPS.get(request.POST.get("step", ""), (_unknown, ""))
    try:
        action(comparison, by=actor(request))
    except Refused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, message)
    return redirect("comparison", pk=pk)


def _unknown(comparison: Comparison, *, by: Actor) -> None:
    raise Refused("This page is out of date. Reload it and try again.")


def comparison_or_404(pk: int) -> Comparison:
    """Return the comparison. Raises Http404 if it does not exist."""
    try:
        return queries.comparison_by_id(pk)
    except Comparison.DoesNotExist:
        raise Http404 from None
