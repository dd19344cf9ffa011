"""Adding, changing, archiving and restoring operations. Each is a release."""

from dataclasses import asdict, dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from promptops.engine.inputs import check_input
from promptops.engine.operations import OperationSpec
from promptops.ledger import registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.registry import Action
from promptops.ledger.releases import next_revision, record_release
from promptops.prompts.contracts import checked_answer
from promptops.prompts.enums import AnswerKind, InputKind, OnFailure
from promptops.prompts.live_operations import operation_spec
from promptops.prompts.models import Operation, Sample, Template
from promptops.prompts.models.operations import FIELD_NAME, text_answer
from promptops.prompts.operation_needs import needs_operation, why_not
from promptops.prompts.operation_words import answer_in_words, fields_in_words, schema_in_words
from promptops.prompts.queries import operations as queries

registry.noun("operation", "Operations")
registry.object_kind("operation", "Operation", url=lambda entry: f"{reverse('operations')}#{entry.object_name}")
registry.value_labels(
    {
        "hedge": "Hedging",
        "retention_days": "Keep the text of its runs (days)",
        "on_failure": "When nobody answers",
        "keeps_system": "Caller's system text is kept",
        "schema": "JSON Schema",
    }
)
registry.register(
    Action(
        "operation.added",
        "{actor} added the operation {object}",
        when="an operation was added",
        object="operation",
    ),
    Action(
        "operation.changed",
        "{actor} changed the operation {object}",
        when="the purpose, input, answer or limits of an operation changed",
        object="operation",
    ),
    Action(
        "operation.archived",
        "{actor} archived the operation {object}",
        when="an operation was archived; servers can no longer ask for it",
        object="operation",
    ),
    Action(
        "operation.restored",
        "{actor} restored the operation {object} from the archive",
        when="an operation was restored from the archive",
        object="operation",
    ),
)

MAX_FIELDS = 12
RESERVED_NAMES = {"new"}  # /operations/new/ is the page that adds an operation


@dataclass(frozen=True)
class OperationFields:
    """The values of an operation that a person sets, as `Operation` stores it."""

    purpose: str
    input: str = InputKind.TEXT
    fields: list[dict[str, Any]] = field(default_factory=list)
    input_label: str = ""
    input_heading: str = ""
    answer: dict[str, Any] = field(default_factory=text_answer)
    timeout_ms: int | None = None
    max_tokens: int | None = None
    hedge: str = ""
    retention_days: int | None = None
    on_failure: str = OnFailure.ERROR
    keeps_system: bool = False


@transaction.atomic
def add(name: str, fields: OperationFields, *, by: Actor, note: str = "") -> Operation:
    """Add an operation, which servers can ask for as soon as it has a default template.

    Raises ValidationError for a name that is taken or invalid, and for fields that contradict each other.
    """
    revision = next_revision()
    if name in RESERVED_NAMES:
        raise ValidationError({"name": "This name is reserved for an address. Choose another name."})
    operation = Operation(name=name.strip(), changed_revision=revision)
    _set(operation, fields)
    operation.save()
    record_release(
        revision, "operation.added", by=by, object=operation, after=_audit_values(operation), note=note.strip()
    )
    return operation


@transaction.atomic
def change(operation: Operation, fields: OperationFields, *, by: Actor, expected: int, note: str = "") -> Operation:
    """Change everything of an operation but its name.

    `expected` is the `changed_revision` that the person saw; raises Stale if it is outdated. Raises Refused when
    nothing changed or something still needs what the change takes away, and ValidationError as `add` does.
    """
    revision = next_revision()
    operation = _unchanged(operation, expected)
    if operation.archived_at:
        raise Refused(f"{operation.name} is archived. Restore it first.")
    before, spec = _audit_values(operation), operation_spec(operation)
    _set(operation, fields)
    if _audit_values(operation) == before:
        raise Refused(f"No changes to save: {operation.name} is already like this.")
    if reason := why_not(operation.name, spec, operation_spec(operation)):
        raise Refused(reason)
    operation.changed_revision = revision
    operation.save()
    record_release(
        revision,
        "operation.changed",
        by=by,
        object=operation,
        before=before,
        after=_audit_values(operation),
        note=note.strip(),
    )
    return operation


@transaction.atomic
def archive(operation: Operation, *, by: Actor, note: str = "") -> Operation:
    """Remove the operation from what is live and from the lists. Its templates, samples, variables and runs stay.

    Raises Refused for a built-in operation and while something still needs it.
    """
    revision = next_revision()
    operation = Operation.objects.get(pk=operation.pk)
    if operation.archived_at:
        raise Stale(f"{operation.name} is already archived.")
    if reason := queries.why_not_archived(operation):
        raise Refused(reason)
    _move(operation, timezone.now(), revision)
    record_release(
        revision,
        "operation.archived",
        by=by,
        object=operation,
        before=_audit_values(operation),
        note=note.strip(),
    )
    return operation


@transaction.atomic
def restore(operation: Operation, *, by: Actor, note: str = "") -> Operation:
    """Restore an archived operation as it was."""
    revision = next_revision()
    operation = Operation.objects.get(pk=operation.pk)
    if not operation.archived_at:
        raise Stale(f"{operation.name} is not archived.")
    _move(operation, None, revision)
    record_release(
        revision, "operation.restored", by=by, object=operation, after=_audit_values(operation), note=note.strip()
    )
    return operation


def _audit_values(operation: Operation) -> dict[str, Any]:
    """Return the values of an operation as an audit entry has them: each list or object as one line."""
    shown = asdict(OperationFields(**{name: getattr(operation, name) for name in OperationFields.__annotations__}))
    shown["answer"] = answer_in_words(operation.answer)
    shown["fields"] = fields_in_words(operation.fields)
    if schema := schema_in_words(operation.answer):
        shown["schema"] = schema
    return shown


def _set(operation: Operation, fields: OperationFields) -> None:
    """Set the fields on the row. Raises ValidationError if they are invalid or contradict each other."""
    for name, value in vars(fields).items():
        setattr(operation, name, value.strip() if isinstance(value, str) else value)
    if operation.input != InputKind.FIELDS:
        operation.fields = []
    operation.full_clean()
    _check_fields(operation)
    operation.answer = checked_answer(operation.answer)
    if operation.on_failure == OnFailure.INPUT:
        if operation.input != InputKind.TEXT:
            raise ValidationError({"on_failure": "Only an input of one text can go on unchanged. Choose another way."})
        if operation.answer["kind"] == AnswerKind.JSON:
            raise ValidationError({"on_failure": "An input cannot stand for a JSON answer. Choose another way."})


def _check_fields(operation: Operation) -> None:
    if operation.input != InputKind.FIELDS:
        return
    names = [each["name"] for each in operation.fields]
    if not names:
        raise ValidationError({"fields": "An input of named fields needs at least one field."})
    if len(names) > MAX_FIELDS:
        raise ValidationError({"fields": f"An input has at most {MAX_FIELDS} fields, not {len(names)}."})
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValidationError({"fields": f"Two fields have the name {repeated}. Rename one."})
    if wrong := next((name for name in names if not FIELD_NAME.regex.search(name)), None):  # type: ignore[union-attr]
        raise ValidationError({"fields": f"{wrong!r} is no name of a field. {FIELD_NAME.message}"})


def _unchanged(operation: Operation, expected: int) -> Operation:
    newest = Operation.objects.get(pk=operation.pk)
    if newest.changed_revision != expected:
        raise Stale(f"Someone else changed {newest.name} in the meantime. Reload the page, then change it.")
    return newest


def _move(operation: Operation, archived_at: Any, revision: int) -> None:
    operation.archived_at, operation.changed_revision = archived_at, revision
    operation.save(update_fields=["archived_at", "changed_revision"])


@needs_operation
def _templates(name: str, before: OperationSpec, after: OperationSpec | None) -> str:
    """Templates that are not archived need their operation."""
    if after is not None:
        return ""
    names = list(Template.objects.filter(operation=name, archived_at=None).values_list("name", flat=True))
    if not names:
        return ""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    if len(names) == 1:
        return f"The template {shown} serves {name}. Archive it first."
    return f"The templates {shown} serve {name}. Archive them first."


@needs_operation
def _samples(name: str, before: OperationSpec, after: OperationSpec | None) -> str:
    """Pinned samples must fit the input. Archiving keeps them."""
    if after is None or (before.input, before.fields) == (after.input, after.fields):
        return ""
    for sample in Sample.objects.filter(operation=name):
        if (before.input == "fields") != (after.input == "fields"):
            return f"Sample inputs of the old form are pinned for {name}. Unpin them first."
        try:
            check_input(after, sample.text)
        except ValueError as error:
            return f"A pinned sample input of {name} would no longer fit. {error} Unpin it first."
    return ""
