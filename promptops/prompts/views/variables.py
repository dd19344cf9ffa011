"""The pages of variables: the list, and declaring, changing and removing one, each a `ReviewedChange`."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import reswap, retarget

from promptops.ledger.audit import Actor
from promptops.people.enums import Permission
from promptops.prompts.actions import variables as actions
from promptops.prompts.errors import VariableInUse
from promptops.prompts.forms import VariableForm
from promptops.prompts.models import Variable
from promptops.prompts.queries import variables as queries
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import requires
from promptops.web.request import Request
from promptops.web.review import Change, ReviewedChange
from promptops.web.seen import changed


@dataclass
class DeclareVariable(ReviewedChange):
    """Declaring a variable of an operation."""

    wanted: dict[str, Any]
    form_id = "variable-form"
    is_pinned = True

    @property
    def title(self) -> str:
        return f"Declare {self.wanted['name']} for {self.wanted['operation']}"

    @property
    def confirm(self) -> str:
        return f"Declare {self.wanted['name']}"

    @property
    def page(self) -> str:
        return reverse("variables")

    @property
    def affected(self) -> str:
        return _affected(self.wanted["operation"], self.wanted["name"])

    def texts(self) -> tuple[str | None, str | None]:
        return "", self.wanted["value"]

    def apply(self, *, by: Actor, note: str) -> None:
        wanted = self.wanted
        actions.declare(
            wanted["operation"],
            wanted["name"],
            wanted["value"],
            description=wanted["description"],
            by=by,
            note=note,
        )

    def result(self) -> str:
        name = self.wanted["name"]
        return f"{name} is declared. Write {{{{ {name} }}}} in a prompt to use it."


@dataclass
class ChangeVariable(ReviewedChange):
    """Changing the value or description of a variable."""

    variable: Variable
    wanted: dict[str, Any]
    form_id = "variable-form"
    is_pinned = True

    @property
    def title(self) -> str:
        return f"Change {self.variable.name} of {self.variable.operation}"

    @property
    def confirm(self) -> str:
        return f"Save {self.variable.name}"

    @property
    def page(self) -> str:
        return reverse("variables")

    @property
    def affected(self) -> str:
        return _affected(self.variable.operation, self.variable.name)

    @property
    def is_stale(self) -> bool:
        return bool(self.wanted["expected"] != self.variable.changed_revision)

    def changes(self) -> list[Change]:
        before, after = self.variable.description, self.wanted["description"]
        return [Change("Description", before or "–", after or "–")] if before != after else []

    def texts(self) -> tuple[str | None, str | None]:
        return self.variable.value, self.wanted["value"]

    def details(self) -> dict[str, Any]:
        stale = {"template": "site/settings/_stale.html", "expected": self.variable.changed_revision}
        return stale if self.is_stale else {}

    def refusal(self) -> str:
        variable = self.variable
        if self.is_stale:
            return (
                f"Someone else changed {variable.name} in the meantime. Your text is kept, and compared below with the "
                "value that is live now. Save to replace that value, or reload the page to discard your text."
            )
        if (variable.value, variable.description) == (self.wanted["value"], self.wanted["description"]):
            return f"No changes to save: {variable.name} already has this value and description."
        return ""

    def apply(self, *, by: Actor, note: str) -> None:
        wanted = self.wanted
        expected = wanted["expected"]
        actions.change(
            self.variable, wanted["value"], description=wanted["description"], by=by, expected=expected, note=note
        )

    def result(self) -> str:
        return f"{self.variable.name} is changed."

    def undo(self) -> str:
        return "To undo, enter the old value again; you find it in the audit."


@dataclass
class RemoveVariable(ReviewedChange):
    """Removing a variable that no live text uses."""

    variable: Variable
    expected: str
    form_id = "remove-form"
    is_pinned = True
    template = "_review_form.html"

    @property
    def title(self) -> str:
        return f"Remove {self.variable.name} of {self.variable.operation}"

    @property
    def confirm(self) -> str:
        return f"Remove {self.variable.name}"

    @property
    def page(self) -> str:
        return reverse("variables")

    @property
    def affected(self) -> str:
        return (
            "No live text uses this variable. After the removal, drafts and older versions with it can't be published."
        )

    def texts(self) -> tuple[str | None, str | None]:
        return self.variable.value, ""

    def details(self) -> dict[str, Any]:
        action = reverse("variable_remove", args=[self.variable.pk])
        return {"danger": True, "action": action, "values": [("expected", self.expected)]}

    def refusal(self) -> str:
        users = queries.used_by(self.variable.operation, self.variable.name)
        return str(VariableInUse(self.variable.name, users)) if users else ""

    def apply(self, *, by: Actor, note: str) -> None:
        actions.remove(self.variable, by=by, expected=whole_number(self.expected) or 0, note=note)

    def result(self) -> str:
        return f"{self.variable.name} is removed."

    def undo(self) -> str:
        return "To undo, declare it again; you find its value in the audit."


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show all variables by operation, with the live texts that use them."""
    page = "prompts/variables/_list.html" if request.htmx else "prompts/variables/index.html"
    return render(request, page, {"operations": queries.by_operation()})


@requires(Permission.RELEASE)
def new(request: Request) -> HttpResponse:
    """Declare a variable."""
    if request.method != "POST":
        return render(request, "prompts/variables/new.html", {"form": VariableForm(initial=request.GET.dict())})
    form = VariableForm(request.POST)
    if not form.is_valid():
        return _invalid(request, form)
    return review.run(request, DeclareVariable(form.cleaned_data))


@requires(Permission.RELEASE)
def edit(request: Request, pk: int) -> HttpResponse:
    """Change a variable's value or description. The page also has the button that removes it."""
    if "seen" in request.GET:
        newest = Variable.objects.filter(pk=pk).first()
        return changed(request, newest.name if newest else "this variable", newest.changed_revision if newest else None)
    variable = get_object_or_404(Variable, pk=pk)
    if request.method != "POST":
        return render(request, "prompts/variables/edit.html", _context(variable, VariableForm.of(variable)))
    form = VariableForm.of(variable, request.POST)
    if not form.is_valid():
        return _invalid(request, form, variable)
    return review.run(request, ChangeVariable(variable, form.cleaned_data))


@requires(Permission.RELEASE)
@require_POST
def remove(request: Request, pk: int) -> HttpResponse:
    """Remove a variable that no live text uses."""
    variable = get_object_or_404(Variable, pk=pk)
    return review.run(request, RemoveVariable(variable, request.POST.get("expected", "")))


def _context(variable: Variable, form: VariableForm) -> dict[str, Any]:
    return {
        "variable": variable,
        "form": form,
        "seen": variable.changed_revision,
        "used_by": queries.used_by(variable.operation, variable.name),
    }


def _invalid(request: Request, form: VariableForm, variable: Variable | None = None) -> HttpResponse:
    """Show the form with its errors; while the panel is open, show the errors in the panel."""
    if request.htmx and review.confirmed(request):
        error = " ".join(str(message) for messages in form.errors.values() for message in messages)
        return review.panel(request, title="Not saved", confirm="Try again", form_id="variable-form", error=error)
    context = _context(variable, form) if variable else {"form": form}
    if not request.htmx:
        page = "prompts/variables/edit.html" if variable else "prompts/variables/new.html"
        return render(request, page, context, status=422)
    response = render(request, "prompts/variables/_form.html", context, status=422)
    return reswap(retarget(response, "#variable-form"), "outerHTML")


def _affected(operation: str, name: str) -> str:
    used = ", ".join(str(version) for version in queries.used_by(operation, name))
    if not used:
        return f"No live text of {operation} uses this variable, so no run is affected."
    return f"Used by {used}. {review.affected_by_release()}"
