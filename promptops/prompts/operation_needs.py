"""The registry of what still needs an operation as it is. Features above prompts register their own answers here."""

from collections.abc import Callable
from typing import TypeAlias

from promptops.engine.operations import OperationSpec

Need: TypeAlias = Callable[[str, OperationSpec, OperationSpec | None], str]
NEEDS: list[Need] = []


def needs_operation(need: Need) -> Need:
    """Register a function that returns why an operation cannot change: `need(name, before, after)`; "" if it can.

    `after` is None for an operation that is to be archived. It is called in the transaction of the change.
    """
    NEEDS.append(need)
    return need


def why_not(name: str, before: OperationSpec, after: OperationSpec | None) -> str:
    """Return why an operation cannot change like this, or be archived, as sentences; "" if it can."""
    return " ".join(reason for need in NEEDS if (reason := need(name, before, after)))
