"""The closed sets of prompts, as choices of fields."""

from promptops.engine.operations import OPERATIONS


def operation_choices() -> list[tuple[str, str]]:
    """Return the operations as choices of a field."""
    return [(name, name) for name in OPERATIONS]
