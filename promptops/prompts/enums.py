"""The closed sets of words about prompts."""

from promptops.engine.operations import OPERATIONS


def operation_choices() -> list[tuple[str, str]]:
    """Return the operations as choices of a field."""
    return [(name, name) for name in OPERATIONS]
