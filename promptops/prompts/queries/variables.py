"""Reads of variables for pages."""

from dataclasses import dataclass

from promptops.prompts.live_variables import variable_users
from promptops.prompts.models import Variable, Version
from promptops.prompts.queries import operations


@dataclass(frozen=True)
class Row:
    """A variable with the live versions that use it."""

    variable: Variable
    used_by: list[Version]


def by_operation() -> list[tuple[str, list[Row]]]:
    """Return the variables of each operation that is not archived, by name."""
    rows: dict[str, list[Row]] = {spec.name: [] for spec in operations.live_operations()}
    users = variable_users()
    for variable in Variable.objects.filter(operation__in=rows):
        rows[variable.operation].append(Row(variable, users.get((variable.operation, variable.name), [])))
    return list(rows.items())


def of(operation: str) -> list[Variable]:
    """Return the operation's variables, sorted by name."""
    return list(Variable.objects.filter(operation=operation))


def used_by(operation: str, name: str) -> list[Version]:
    """Return the live versions that use the variable."""
    return variable_users(operation).get((operation, name), [])
