"""The pages of operations: the list, and adding, changing, archiving and restoring one, each a `ReviewedChange`."""

from dataclasses import asdict, dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import reswap, retarget

from promptops.ledger import registry
from promptops.ledger.audit import Actor
from promptops.ledger.models import LiveConfiguration
from promptops.live import snapshots as live
from promptops.people.enums import Permission
from promptops.prompts.actions import operations as actions
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.checks import contract_checks
from promptops.prompts.enums import InputKind, OnFailure
from promptops.prompts.forms import OperationForm
from promptops.prompts.live_operations import operation_spec
from promptops.prompts.live_variables import values_of
from promptops.prompts.models import Operation
from promptops.prompts.operation_needs import why_not
from promptops.prompts.operation_words import answer_in_words, fields_in_words, hedge_in_words, schema_in_words
from promptops.prompts.queries import operations as queries
from promptops.texts.formats import limit
from promptops.web import review
from promptops.web.access import requires
from promptops.web.request import Request
from promptops.web.review import Change, ReviewedChange
from promptops.web.seen import changed

SHORTER = "The texts of older runs of this operation are erased within an hour. This cannot be undone."
MAX_CONTRADICTIONS = 5
"""The most live texts that the panel names."""
NOT_RUNNING = "Servers can ask for it as soon as a template of it is live."


class OperationChange(ReviewedChange):
    """A change of an operation whose result the list shows."""

    is_pinned = True

    @property
    def page(self) -> str:
        return reverse("operations")


@dataclass
class AddOperation(OperationChange):
    """Adding an operation."""

    name: str
    wanted: OperationFields
    form_id = "operation-form"
    affected = f"No run is affected. {NOT_RUNNING}"

    @property
    def title(self) -> str:
        return f"Add the operation {self.name}"

    @property
    def confirm(self) -> str:
        return f"Add {self.name}"

    def changes(self) -> list[Change]:
        words = in_words(self.wanted).items()
        return [Change(label, "–", value) for label, value in words if value not in ("", "off", "no", "the setting")]

    def texts(self) -> tuple[str | None, str | None]:
        return _schemas({}, self.wanted.answer)

    def apply(self, *, by: Actor, note: str) -> None:
        actions.add(self.name, self.wanted, by=by, note=note)

    def result(self) -> str:
        return f"{self.name} is added. {NOT_RUNNING}"


@dataclass
class ChangeOperation(OperationChange):
    """Changing an operation. `expected` is the revision of the last change that the page showed."""

    operation: Operation
    wanted: OperationFields
    expected: int
    form_id = "operation-form"
    template = "_review_warning.html"

    @property
    def title(self) -> str:
        return f"Change the operation {self.operation.name}"

    @property
    def confirm(self) -> str:
        return f"Save {self.operation.name}"

    @property
    def is_stale(self) -> bool:
        return self.expected != self.operation.changed_revision

    def changes(self) -> list[Change]:
        return _changes(in_words(stored(self.operation)), in_words(self.wanted))

    def texts(self) -> tuple[str | None, str | None]:
        return _schemas(self.operation.answer, self.wanted.answer)

    def details(self) -> dict[str, Any]:
        stale = {"template": "site/settings/_stale.html", "expected": self.operation.changed_revision}
        warnings = [SHORTER] if self._erases_sooner() else []
        return {"warning": " ".join([*warnings, *self._contradictions()]), **(stale if self.is_stale else {})}

    def _contradictions(self) -> list[str]:
        """Return sentences that say which live texts would contradict the new contract."""
        if self.wanted.answer == self.operation.answer:
            return []
        try:
            spec = operation_spec(self._after())
        except ValueError:
            return []
        values = values_of(spec.name)
        found = [
            f"{version}: {' '.join(check.sentences)}"
            for version in queries.live_versions(spec.name)
            for check in contract_checks(version, values, spec)
            if check.warns
        ]
        return found[:MAX_CONTRADICTIONS]

    def _after(self) -> Operation:
        return Operation(name=self.operation.name, built_in=self.operation.built_in, **vars(self.wanted))

    def _erases_sooner(self) -> bool:
        setting = LiveConfiguration.objects.get(pk=1).run_retention_days
        return (self.wanted.retention_days or setting) < (self.operation.retention_days or setting)

    def refusal(self) -> str:
        operation = self.operation
        if operation.archived_at:
            return f"{operation.name} is archived. Restore it first."
        if self.is_stale:
            return (
                f"Someone else changed {operation.name} in the meantime. Your values are kept, and compared below with "
                "the current ones. Save to replace those, or reload the page to discard yours."
            )
        if not self.changes() and self.texts() == (None, None):
            return f"No changes to save: {operation.name} is already like this."
        try:
            after = operation_spec(self._after())
        except ValueError:
            return ""  # the action says which value contradicts another
        return why_not(operation.name, operation_spec(operation), after)

    def apply(self, *, by: Actor, note: str) -> None:
        actions.change(self.operation, self.wanted, by=by, expected=self.expected, note=note)

    def result(self) -> str:
        return f"{self.operation.name} is changed."

    def undo(self) -> str:
        return "To undo, enter the earlier values again; you find them in the audit."


@dataclass
class ArchiveOperation(OperationChange):
    """Archiving an operation that nothing needs any more."""

    operation: Operation
    form_id = "archive"
    affected = "Servers can no longer ask for it."

    @property
    def title(self) -> str:
        return f"Archive the operation {self.operation.name}?"

    @property
    def confirm(self) -> str:
        return f"Archive {self.operation.name}"

    def changes(self) -> list[Change]:
        return [Change("State", "in use", "archived (templates, samples, variables and runs are kept)")]

    def refusal(self) -> str:
        return queries.why_not_archived(self.operation)

    def apply(self, *, by: Actor, note: str) -> None:
        actions.archive(self.operation, by=by, note=note)

    def result(self) -> str:
        return f"{self.operation.name} is archived."

    def undo(self) -> str:
        return "To undo, restore it here."


@dataclass
class RestoreOperation(OperationChange):
    """Restoring an operation from the archive."""

    operation: Operation

    @property
    def form_id(self) -> str:  # type: ignore[override]
        return f"restore-{self.operation.name}"  # the list has one form for each archived operation

    affected = NOT_RUNNING

    @property
    def title(self) -> str:
        return f"Restore the operation {self.operation.name}?"

    @property
    def confirm(self) -> str:
        return f"Restore {self.operation.name}"

    def changes(self) -> list[Change]:
        return [Change("State", "archived", "in use")]

    def apply(self, *, by: Actor, note: str) -> None:
        actions.restore(self.operation, by=by, note=note)

    def result(self) -> str:
        return f"{self.operation.name} is restored."


@requires(Permission.READ)
def index(request: Request) -> HttpResponse:
    """Show all operations, archived ones last."""
    page = "prompts/operations/_list.html" if request.htmx else "prompts/operations/index.html"
    rows = queries.listed()
    context = {
        "rows": [row for row in rows if not row.operation.archived_at],
        "archived": [row for row in rows if row.operation.archived_at],
    }
    return render(request, page, context)


@requires(Permission.RELEASE)
def new(request: Request) -> HttpResponse:
    """Add an operation."""
    if request.method != "POST":
        return render(request, "prompts/operations/new.html", {"form": OperationForm(settings=_settings())})
    form = OperationForm(request.POST, settings=_settings())
    if not form.is_valid():
        return _invalid(request, form)
    return review.run(request, AddOperation(form.cleaned_data["name"], form.values))


@requires(Permission.RELEASE)
def edit(request: Request, operation: str) -> HttpResponse:
    """Change an operation. The page also has the button that archives it."""
    row = get_object_or_404(Operation, name=operation)
    if "seen" in request.GET:
        return changed(request, row.name, row.changed_revision)
    if request.method != "POST":
        form = OperationForm(operation=row, settings=_settings())
        return render(request, "prompts/operations/edit.html", _context(row, form))
    form = OperationForm(request.POST, operation=row, settings=_settings())
    if not form.is_valid():
        return _invalid(request, form, row)
    return review.run(request, ChangeOperation(row, form.values, form.cleaned_data["expected"]))


@requires(Permission.RELEASE)
@require_POST
def archive(request: Request, operation: str) -> HttpResponse:
    """Archive an operation, after the review panel."""
    return review.run(request, ArchiveOperation(get_object_or_404(Operation, name=operation)))


@requires(Permission.RELEASE)
@require_POST
def restore(request: Request, operation: str) -> HttpResponse:
    """Restore an operation from the archive, after the review panel."""
    return review.run(request, RestoreOperation(get_object_or_404(Operation, name=operation)))


def stored(operation: Operation) -> OperationFields:
    """Return what the row says of the operation."""
    return OperationFields(**{name: getattr(operation, name) for name in OperationFields.__annotations__})


def in_words(fields: OperationFields) -> dict[str, str]:
    """Return the values of an operation by their labels, as the review panel shows them."""
    words = asdict(fields) | {
        "input": InputKind(fields.input).label,
        "answer": answer_in_words(fields.answer),
        "fields": fields_in_words(fields.fields),
        "on_failure": OnFailure(fields.on_failure).label,
        "hedge": hedge_in_words(fields.hedge),
        "keeps_system": "yes" if fields.keeps_system else "no",
    }
    limits = {name: "the setting" for name in ("timeout_ms", "max_tokens", "retention_days") if words[name] is None}
    words |= limits
    timeout = limits.get("timeout_ms") or limit(fields.timeout_ms)
    del words["timeout_ms"]
    return {"Time limit": timeout} | {registry.value_label(name): str(value) for name, value in words.items()}


def _changes(before: dict[str, str], after: dict[str, str]) -> list[Change]:
    return [
        Change(label, before[label] or "–", value or "–") for label, value in after.items() if value != before[label]
    ]


def _schemas(before: dict[str, Any], after: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the JSON Schema before and after, as the panel shows their difference; None if they are the same."""
    old, new = schema_in_words(before), schema_in_words(after)
    return (old, new) if old != new else (None, None)


def _settings() -> dict[str, int]:
    """Return the settings that apply where an operation has no limit of its own."""
    settings = live.current().settings
    return {"timeout_ms": settings.timeout_ms, "max_tokens": settings.max_tokens}


def _context(operation: Operation, form: OperationForm) -> dict[str, Any]:
    return {
        "operation": operation,
        "form": form,
        "seen": operation.changed_revision,
        "why_not": queries.why_not_archived(operation),
    }


def _invalid(request: Request, form: OperationForm, operation: Operation | None = None) -> HttpResponse:
    """Show the form with its errors; while the panel is open, show the errors in the panel."""
    if request.htmx and review.confirmed(request):
        errors = [each.errors for each in (form, *form.rows)]
        error = " ".join(str(message) for each in errors for messages in each.values() for message in messages)
        return review.panel(request, title="Not saved", confirm="Try again", form_id="operation-form", error=error)
    context = _context(operation, form) if operation else {"form": form}
    if not request.htmx:
        page = "prompts/operations/edit.html" if operation else "prompts/operations/new.html"
        return render(request, page, context, status=422)
    response = render(request, "prompts/operations/_form.html", context, status=422)
    return reswap(retarget(response, "#operation-form"), "outerHTML")
