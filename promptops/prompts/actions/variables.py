"""Declaring, changing and removing variables of system prompts. Each is a release."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.engine.messages import reserved_names
from promptops.ledger import registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.registry import Action
from promptops.ledger.releases import next_revision, record_release
from promptops.prompts.actions._operations import check_operation
from promptops.prompts.checks import USER_TEMPLATE, check_content, failures
from promptops.prompts.errors import VariableInUse
from promptops.prompts.live_operations import spec_of
from promptops.prompts.live_variables import values_of, variable_users
from promptops.prompts.models import Variable, Version
from promptops.prompts.models.variables import MAX_VALUE_CHARACTERS

registry.noun("variable", "Variables")
registry.object_kind("variable", "Variable")
registry.register(
    Action(
        "variable.declared",
        "{actor} declared the variable {object}",
        when="a variable of an operation was declared",
        object="variable",
    ),
    Action(
        "variable.changed",
        "{actor} changed the variable {object}",
        when="the value or description of a variable changed",
        object="variable",
    ),
    Action(
        "variable.removed", "{actor} removed the variable {object}", when="a variable was removed", object="variable"
    ),
)


@transaction.atomic
def declare(operation: str, name: str, value: str, *, by: Actor, description: str = "", note: str = "") -> Variable:
    """Declare a variable of the operation, which runs fill in from now on.

    Raises ValidationError for an invalid name, value or operation, Refused when a live text would fail its checks.
    """
    revision = next_revision()
    variable = Variable(operation=operation, name=name.strip(), value=clean_value(value), changed_revision=revision)
    variable.description = description.strip()
    check_operation(operation)
    variable.full_clean()
    if variable.name in reserved_names(spec_of(operation)):
        reason = f"{variable.name} is reserved for inputs. Use another name, such as {variable.name[:36]}_var."
        raise ValidationError({"name": reason})
    variable.save()
    _check_live_texts(variable)
    record_release(revision, "variable.declared", by=by, object=variable, after=_audit_values(variable), note=note)
    return variable


@transaction.atomic
def change(
    variable: Variable, value: str, *, by: Actor, expected: int, description: str = "", note: str = ""
) -> Variable:
    """Change the value or description of a variable.

    `expected` is the `changed_revision` that the person saw; raises Stale if it is outdated. Also raises the errors of
    `declare`, and Refused when nothing changed.
    """
    revision = next_revision()
    variable = _unchanged(variable, expected)
    before = _audit_values(variable)
    variable.value, variable.description = clean_value(value), description.strip()
    if _audit_values(variable) == before:
        raise Refused(f"No changes to save: {variable.name} already has this value and description.")
    variable.changed_revision = revision
    variable.full_clean()
    variable.save()
    _check_live_texts(variable)
    record_release(
        revision, "variable.changed", by=by, object=variable, before=before, after=_audit_values(variable), note=note
    )
    return variable


@transaction.atomic
def remove(variable: Variable, *, by: Actor, expected: int, note: str = "") -> None:
    """Remove a variable. Raises VariableInUse when live texts use it. `expected` is as in `change`."""
    revision = next_revision()
    variable = _unchanged(variable, expected)
    if users := _users(variable):
        raise VariableInUse(variable.name, users)
    before, name = _audit_values(variable), str(variable)
    Variable.objects.filter(pk=variable.pk).delete()  # `variable` keeps its id for the entry
    record_release(revision, "variable.removed", by=by, object=variable, object_name=name, before=before, note=note)


def clean_value(value: str) -> str:
    """Return the value with plain newlines and no blank ends. It may be empty. Raises ValidationError."""
    value = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    if "\x00" in value or "\ufffd" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValidationError({"value": "The value has a NUL or broken characters. Type it again."})
    if len(value) > MAX_VALUE_CHARACTERS:
        message = f"The value is {len(value):,} characters; at most {MAX_VALUE_CHARACTERS:,} are allowed. Shorten it."
        raise ValidationError({"value": message})
    return value


def _unchanged(variable: Variable, expected: int) -> Variable:
    newest = Variable.objects.filter(pk=variable.pk).first()
    if newest is None:
        raise Stale(f"Someone else removed {variable.name} in the meantime. Declare it again if you need it.")
    if newest.changed_revision != expected:
        raise Stale(f"Someone else changed {variable.name} in the meantime. Reload the page, then change it.")
    return newest


def _users(variable: Variable) -> list[Version]:
    return variable_users(variable.operation).get((variable.operation, variable.name), [])


def _check_live_texts(variable: Variable) -> None:
    """Raise Refused if a live text that uses the variable would be blank or too long."""
    values, spec = values_of(variable.operation), spec_of(variable.operation)
    for version in _users(variable):
        checks = check_content(version, values, spec)
        checks = [check for check in checks if check.name in {"Not blank", "Length", USER_TEMPLATE}]
        if failed := failures(checks):
            raise Refused(f"{version} is live and uses {variable.name}. {' '.join(failed)}")


def _audit_values(variable: Variable) -> dict[str, Any]:
    return {
        "operation": variable.operation,
        "name": variable.name,
        "value": variable.value,
        "description": variable.description,
    }
