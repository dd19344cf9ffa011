"""Comparisons: the list, starting one, and following it."""

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from promptops import live
from promptops.actions import comparisons as actions
from promptops.actions.comparisons import ArmChoice
from promptops.actions.errors import Refused
from promptops.audit import Actor
from promptops.engine.snapshot import Snapshot
from promptops.engine.types import PromptOperation
from promptops.enums import ComparisonState, Permission
from promptops.models import Comparison
from promptops.queries import comparisons as queries
from promptops.queries.pages import page
from promptops.text import whole_number
from promptops.web import blindness
from promptops.web.access import actor, requires
from promptops.web.forms_comparisons import ComparisonForm


@requires(Permission.READ)
def index(request: HttpRequest) -> HttpResponse:
    """The list, newest first."""
    shown = page(
        queries.listed(), before=whole_number(request.GET.get("before")), after=whole_number(request.GET.get("after"))
    )
    return render(request, "compare/index.html", {"page": shown})


@requires(Permission.READ)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One comparison: how far it is, and what its arms are."""
    comparison = found(pk)
    context = {
        "comparison": comparison,
        "progress": queries.progress(comparison),
        "arms": queries.arms(comparison),
        "open": comparison.state in {ComparisonState.RUNNING, ComparisonState.PAUSED},
    }
    return render(request, "compare/_detail_live.html" if request.htmx else "compare/detail.html", context)


@requires(Permission.EDIT)
def new(request: HttpRequest) -> HttpResponse:
    """Choose arms and inputs, see what it would take, and start."""
    operation = _operation(request)
    data = request.POST if request.method == "POST" else None
    form = ComparisonForm(data, operation=operation, user=request.user)
    context = {"form": form, "operation": operation, "operations": list(PromptOperation)}
    if data is None:
        return render(request, "compare/new.html", context)
    snapshot = live.current()
    try:
        arms = form.choices() if form.is_valid() else []
        if "estimate" in data:
            return render(request, "compare/_estimate.html", {"estimate": _estimate(form, arms, snapshot)})
        if form.is_valid():
            wanted = form.cleaned_data
            comparison = actions.start(
                wanted["name"],
                operation,
                wanted["prompt_set"].inputs,
                arms,
                by=actor(request),
                snapshot=snapshot,
                inputs_from=wanted["prompt_set"].name,
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


def _operation(request: HttpRequest) -> PromptOperation:
    wanted = request.POST.get("operation") or request.GET.get("operation")
    return next((operation for operation in PromptOperation if operation.value == wanted), PromptOperation.ENHANCE)


def _estimate(form: ComparisonForm, arms: list[ArmChoice], snapshot: Snapshot) -> queries.Estimate | None:
    wanted = getattr(form, "cleaned_data", {})
    if not arms or "prompt_set" not in wanted or "repeats" not in wanted:
        return None
    return queries.estimate(arms, wanted["prompt_set"].inputs, wanted["repeats"], snapshot.settings.max_tokens)


@requires(Permission.READ)
def matrix(request: HttpRequest, pk: int) -> HttpResponse:
    """Inputs by arms: every answer with its time, tokens and cost."""
    comparison = found(pk)
    if left := blindness.left_before_seeing(request, comparison):
        return blindness.warning(request, comparison, left=left, tab="matrix")
    search = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    failed = request.GET.get("show") == "failed"
    shown = queries.matrix(comparison, number=whole_number(request.GET.get("page")) or 1, search=search, failed=failed)
    context = {"comparison": comparison, "matrix": shown, "search": search, "failed": failed}
    return render(request, "compare/matrix.html", context)


STEPS: dict[str, tuple[Callable[..., None], str]] = {
    "pause": (actions.pause, "Paused. Trials under way end; no new one is started."),
    "resume": (actions.resume, "Going on."),
    "cancel": (actions.cancel, "Canceled. What was answered stays."),
}


@requires(Permission.EDIT)
@require_POST
def step(request: HttpRequest, pk: int) -> HttpResponse:
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
