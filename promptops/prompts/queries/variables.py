"""Reads of variables for pages."""

from dataclasses import dataclass

from promptops.engine.operations import OPERATIONS
from promptops.prompts.live_variables import variable_users
from promptops.prompts.models import Variable, Version


@dataclass(frozen=True)
class Row:
    """A variable with the live versions that use it."""

    variable: Variable
    used_by: list[Version]


def by_operation() -> list[tuple[str, list[Row]]]:
    """Return all variables: for each operation, its variables by name."""
    rows: dict[str, list[Row]] = {name: [] for name in OPERATIONS}
    users = variable_users()
    for variable in Variable.objects.all():
        rows[variable.operation].append(Row(variable, users.get((variable.operation, variable.name), [])))
    return list(rows.items())


def of(operation: str) -> list[Variable]:
    """Return the operation's variables, sorted by name."""
    return list(Variable.objects.filter(operation=operation))


def used_by(operation: str, name: str) -> list[Version]:
    """Return the live versions that use the variable."""
    return variable_users(operation).get((operation, name), [])
