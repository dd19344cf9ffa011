"""The part of the live configuration that operations form, and the operation that a row declares."""

from types import MappingProxyType
from typing import Any

from promptops.engine.operations import OPERATIONS, InputField, OperationSpec
from promptops.ledger import parts
from promptops.ledger.models import LiveConfiguration
from promptops.prompts.contracts import contract_of
from promptops.prompts.enums import AnswerKind, InputKind
from promptops.prompts.models import Operation

RELEASED = (
    "name",
    "purpose",
    "input",
    "fields",
    "input_label",
    "input_heading",
    "answer",
    "timeout_ms",
    "max_tokens",
    "hedge",
    "retention_days",
    "on_failure",
    "keeps_system",
)
"""The columns of an operation that a release stores."""

LABELS: dict[str, tuple[str, str]] = {
    InputKind.TEXT: ("Viewer's prompt", "Viewer’s prompt"),
    InputKind.LIST: ("Prompts, one per line", "Prompts"),
    InputKind.FIELDS: ("Input", "Input"),
}
"""Label and heading of an input, where an operation has none of its own."""


def built_in_operations() -> dict[str, dict[str, Any]]:
    """Return the columns of the operations of a new database, by name."""
    return {
        spec.name: {
            "purpose": spec.purpose,
            "input": spec.input,
            "input_label": "" if (spec.input_label, spec.input_heading) == LABELS[spec.input] else spec.input_label,
            "input_heading": "" if (spec.input_label, spec.input_heading) == LABELS[spec.input] else spec.input_heading,
            # A small model often writes fewer alternatives. One of them is better than an error.
            "answer": {"kind": spec.answer} | ({"count": spec.count, "at_least": 1} if spec.count else {}),
            "built_in": True,
        }
        for spec in OPERATIONS.values()
    }


def operation_spec(row: Operation) -> OperationSpec:
    """Return the operation that a row declares. Raises ValueError if the row contradicts itself.

    The default text and the sample inputs of a built-in operation come with the engine.
    """
    shipped = OPERATIONS.get(row.name) if row.built_in else None
    label, heading = LABELS[row.input]
    kind = row.answer.get("kind")
    return OperationSpec(
        name=row.name,
        purpose=row.purpose,
        default_text=shipped.default_text if shipped else "",
        samples=shipped.samples if shipped and shipped.input == row.input else (),
        input_label=row.input_label or label,
        input_heading=row.input_heading or heading,
        input=row.input,  # type: ignore[arg-type]
        answer=kind,
        count=row.answer.get("count"),
        # Comparisons measure whether a prompt's subject is kept; a next prompt or a JSON answer need not keep it.
        keeps_subject=row.input == InputKind.TEXT and kind != AnswerKind.JSON,
        fields=tuple(InputField(**field) for field in row.fields) if row.input == InputKind.FIELDS else (),
        timeout_ms=row.timeout_ms,
        max_tokens=row.max_tokens,
        hedge=row.hedge,
        on_failure=row.on_failure,  # type: ignore[arg-type]
        keeps_system=row.keeps_system,
        contract=contract_of(row.answer),
    )


def spec_of(name: str) -> OperationSpec:
    """Read an operation from the database, which may be archived. An unknown one takes and gives a text."""
    row = Operation.objects.filter(name=name).first()
    return operation_spec(row) if row else OperationSpec(name or "-", "")


def load(config: LiveConfiguration) -> dict[str, Any]:
    """Read the operations that are not archived."""
    rows = Operation.objects.filter(archived_at=None)
    return {"operations": MappingProxyType({row.name: operation_spec(row) for row in rows})}


def release_values(config: LiveConfiguration) -> list[dict[str, Any]]:
    """Read the operations as a release stores them, in the order of the pages."""
    return list(Operation.objects.filter(archived_at=None).values(*RELEASED))


parts.register(parts.Part("operations", "operation", load, release_values))
