"""The part of the live configuration that variables form, and which live texts use them."""

from types import MappingProxyType
from typing import Any

from django.db.models import Q

from promptops.engine.variables import find
from promptops.ledger import parts
from promptops.ledger.models import LiveConfiguration
from promptops.prompts.models import Template, Variable, Version

RELEASED = ("operation", "name", "value")
"""The columns of a variable that a release stores."""


def values_of(operation: str) -> dict[str, str]:
    """Read the values of the variables of the operation, by name."""
    return dict(Variable.objects.filter(operation=operation).values_list("name", "value"))


def variable_users(operation: str | None = None) -> dict[tuple[str, str], list[Version]]:
    """Read the live versions that use a variable, by operation and name of the variable."""
    in_texts = Q(live_version__body__contains="{{") | Q(live_version__user_template__contains="{{")
    templates = Template.objects.filter(in_texts, archived_at=None)
    if operation:
        templates = templates.filter(operation=operation)
    users: dict[tuple[str, str], list[Version]] = {}
    for template in templates.select_related("live_version__template"):
        if version := template.live_version:
            for name in dict.fromkeys([*find(version.body), *find(version.user_template or "")]):
                users.setdefault((template.operation, name), []).append(version)
    return users


def load(config: LiveConfiguration) -> dict[str, Any]:
    """Read the variables of each operation that has any."""
    values: dict[str, dict[str, str]] = {}
    for variable in Variable.objects.all():
        values.setdefault(variable.operation, {})[variable.name] = variable.value
    frozen = {operation: MappingProxyType(of_operation) for operation, of_operation in values.items()}
    return {"variables": MappingProxyType(frozen)}


def release_values(config: LiveConfiguration) -> list[dict[str, Any]]:
    """Read the variables as a release stores them."""
    return list(Variable.objects.values(*RELEASED))


parts.register(parts.Part("variables", "variable", load, release_values))
