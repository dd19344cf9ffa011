"""Variables of system prompts: what `{{ name }}` stands for, for each operation."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import reswap, retarget

from promptops.actions import variables as actions
from promptops.actions.errors import Refused, VariableInUse
from promptops.enums import Permission
from promptops.models import Variable
from promptops.queries import variables as queries
from promptops.text import whole_number
from promptops.web import review
from promptops.web.access import actor, requires
from promptops.web.forms import VariableForm
from promptops.web.request import Request
from promptops.web.review import Change
from promptops.web.seen import changed


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """All variables by operation, with the live texts that use them."""
    page = "variables/_list.html" if request.htmx else "variables/index.html"
    return render(request, page, {"operations": queries.by_operation()})


@requires(Permission.RELEASE)
def new(request: Request) -> HttpResponse:
    """Declare a variable."""
    if request.method != "POST":
        return render(request, "variables/new.html", {"form": VariableForm(initial=request.GET.dict())})
    form = VariableForm(request.POST)
    if not form.is_valid():
        return _invalid(request, form)
    wanted = form.cleaned_data
    asked: dict[str, Any] = {
        "title": f"Declare {wanted['name']} for {wanted['operation']}",
        "confirm": f"Declare {wanted['name']}",
        "form_id": "variable-form",
        "old": "",
        "new": wanted["value"],
        "affected": _affected(wanted["operation"], wanted["name"]),
    }
    if not review.confirmed(request):
        return review.panel(request, **asked)
    try:
        actions.declare(
            wanted["operation"],
            wanted["name"],
            wanted["value"],
            description=wanted["description"],
            by=actor(request),
            note=review.note(request),
        )
    except (Refused, ValidationError) as error:
        return review.panel(request, error=_sentence(error), **asked)
    said = f"{wanted['name']} is declared: write {{{{ {wanted['name']} }}}} where it is to stand."
    return review.done(request, reverse("variables"), said)


@requires(Permission.RELEASE)
def edit(request: Request, pk: int) -> HttpResponse:
    """Change a variable's value or description; the page also has the way to remove it."""
    if "seen" in request.GET:
        found = Variable.objects.filter(pk=pk).first()
        return changed(request, found.name if found else "this variable", found.changed_revision if found else None)
    variable = get_object_or_404(Variable, pk=pk)
    if request.method != "POST":
        return render(request, "variables/edit.html", _context(variable, VariableForm.of(variable)))
    form = VariableForm.of(variable, request.POST)
    if not form.is_valid():
        return _invalid(request, form, variable)
    wanted = form.cleaned_data
    before, after = variable.description, wanted["description"]
    asked: dict[str, Any] = {
        "title": f"Change {variable.name} of {variable.operation}",
        "confirm": f"Save {variable.name}",
        "form_id": "variable-form",
        "changes": [Change("What it is for", before or "–", after or "–")] if before != after else [],
        "old": variable.value,
        "new": wanted["value"],
        "affected": _affected(variable.operation, variable.name),
    }
    if wanted["expected"] != variable.changed_revision:
        error = (
            f"Someone changed {variable.name} meanwhile. What you typed is kept; below it is compared with what is "
            "there now. Save it to replace theirs, or reload the page to drop yours."
        )
        stale = {"template": "settings/_stale.html", "expected": variable.changed_revision}
        return review.panel(request, error=error, **(asked | stale))
    if (variable.value, before) == (wanted["value"], after):
        return review.panel(request, error=f"No changes to save: {variable.name} is as it was.", **asked)
    if not review.confirmed(request):
        return review.panel(request, **asked)
    try:
        actions.change(
            variable,
            wanted["value"],
            description=wanted["description"],
            by=actor(request),
            expected=wanted["expected"],
            note=review.note(request),
        )
    except (Refused, ValidationError) as error:
        return review.panel(request, error=_sentence(error), **asked)
    said = f"{variable.name} is changed. To undo, put the old value back; the audit has it."
    return review.done(request, reverse("variables"), said)


@requires(Permission.RELEASE)
@require_POST
def remove(request: Request, pk: int) -> HttpResponse:
    """Remove a variable that no live text uses."""
    variable = get_object_or_404(Variable, pk=pk)
    expected = request.POST.get("expected", "")
    asked: dict[str, Any] = {
        "title": f"Remove {variable.name} of {variable.operation}",
        "confirm": f"Remove {variable.name}",
        "form_id": "remove-form",
        "old": variable.value,
        "new": "",
        "affected": "No live text uses it. Drafts and older versions that do cannot go live without it.",
        "danger": True,
        "template": "_review_form.html",
        "action": reverse("variable_remove", args=[pk]),
        "values": [("expected", expected)],
    }
    if not review.confirmed(request):
        used = queries.used_by(variable.operation, variable.name)
        error = str(VariableInUse(variable.name, used)) if used else ""
        return review.panel(request, error=error, **asked)
    try:
        actions.remove(variable, by=actor(request), expected=whole_number(expected) or 0, note=review.note(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **asked)
    said = f"{variable.name} is removed. To undo, declare it again; the audit has its value."
    return review.done(request, reverse("variables"), said)


def _context(variable: Variable, form: VariableForm) -> dict[str, Any]:
    return {
        "variable": variable,
        "form": form,
        "seen": variable.changed_revision,
        "used_by": queries.used_by(variable.operation, variable.name),
    }


def _invalid(request: Request, form: VariableForm, variable: Variable | None = None) -> HttpResponse:
    """The form with its errors; over an open panel, the errors in the panel."""
    if request.htmx and review.confirmed(request):
        error = " ".join(str(message) for messages in form.errors.values() for message in messages)
        return review.panel(request, title="Not saved", confirm="Try again", form_id="variable-form", error=error)
    context = _context(variable, form) if variable else {"form": form}
    if not request.htmx:
        page = "variables/edit.html" if variable else "variables/new.html"
        return render(request, page, context, status=422)
    response = render(request, "variables/_form.html", context, status=422)
    return reswap(retarget(response, "#variable-form"), "outerHTML")


def _affected(operation: str, name: str) -> str:
    used = ", ".join(str(version) for version in queries.used_by(operation, name))
    if not used:
        return f"No live text of {operation} uses it, so no run is affected."
    return f"Filled into {used}. {review.AFFECTED}"


def _sentence(error: Refused | ValidationError) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
