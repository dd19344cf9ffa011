"""Reads of operations: those that are live, from the snapshot, and archived ones, from the database."""

from dataclasses import dataclass

from promptops.engine.operations import OperationSpec
from promptops.live import snapshots as live
from promptops.prompts.content import long_fields
from promptops.prompts.enums import AnswerKind
from promptops.prompts.live_operations import operation_spec
from promptops.prompts.models import Operation, Template, Version
from promptops.prompts.operation_needs import why_not
from promptops.prompts.operation_words import answer_in_words, limits_in_words


def of(name: str) -> OperationSpec:
    """Return an operation, which may be archived. An unknown one takes and gives a text."""
    spec = live.current().operations.get(name)
    if spec is None and (row := Operation.objects.filter(name=name).first()):
        spec = operation_spec(row)
    return spec or OperationSpec(name or "-", "")


def live_operations() -> list[OperationSpec]:
    """Return the operations that are not archived, in the order of the pages."""
    return list(live.current().operations.values())


def live_choices() -> list[tuple[str, str]]:
    """Return the operations that are not archived, as choices of a field."""
    return [(spec.name, spec.name) for spec in live_operations()]


def all_choices() -> list[tuple[str, str]]:
    """Return all operations as choices of a filter: runs of archived ones can still be found."""
    rows = Operation.objects.values_list("name", "archived_at")
    return [(name, f"{name} (archived)" if archived_at else name) for name, archived_at in rows]


@dataclass(frozen=True)
class Row:
    """An operation in the list, with its default template and the number of its templates that are not archived."""

    operation: Operation
    spec: OperationSpec
    default: Template | None
    templates: int

    @property
    def answer(self) -> str:
        """Return the kind of the answer in words."""
        return AnswerKind(self.spec.answer).label

    @property
    def rules(self) -> str:
        """Return the rules that an answer must keep, in words."""
        return answer_in_words(self.operation.answer).partition(", ")[2]

    @property
    def limits(self) -> list[str]:
        """Return the limits that the operation has of its own, in words."""
        return limits_in_words(vars(self.operation))


def listed() -> list[Row]:
    """Return all operations for the list page, archived ones included, by two queries."""
    templates: dict[str, list[Template]] = {}
    for template in (
        Template.objects.filter(archived_at=None).select_related("live_version").defer(*long_fields("live_version__"))
    ):
        templates.setdefault(template.operation, []).append(template)
    rows = []
    for operation in Operation.objects.all():
        own = templates.get(operation.name, [])
        default = next((template for template in own if template.is_default), None)
        rows.append(Row(operation, operation_spec(operation), default, len(own)))
    return rows


def live_versions(name: str) -> list[Version]:
    """Return the live versions of the operation's templates, with their templates, by one query."""
    templates = Template.objects.filter(operation=name, archived_at=None, live_version__isnull=False)
    rows = Version.objects.filter(pk__in=templates.values("live_version")).select_related("template")
    return list(rows.order_by("template__name"))


def why_not_archived(operation: Operation) -> str:
    """Return why the operation cannot be archived now, as sentences; "" if it can."""
    if operation.built_in:
        return f"{operation.name} is built in and cannot be archived."
    return why_not(operation.name, operation_spec(operation), None)
