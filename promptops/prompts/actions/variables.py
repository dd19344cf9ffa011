"""Variables of system prompts: declaring, changing and removing one is a release."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.ledger import registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.registry import Action
from promptops.ledger.releases import next_revision, record_release
from promptops.prompts.checks import failures, run_checks
from promptops.prompts.errors import VariableInUse
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
    """A new variable of the operation, filled into its texts from now on.

    Raises ValidationError for a name or a value that cannot be used, Refused when a live text could not be live with
    it.
    """
    revision = next_revision()
    variable = Variable(operation=operation, name=name.strip(), value=clean_value(value), changed_revision=revision)
    variable.description = description.strip()
    variable.full_clean()
    variable.save()
    _check_live_texts(variable)
    record_release(revision, "variable.declared", by=by, object=variable, after=_told(variable), note=note)
    return variable


@transaction.atomic
def change(
    variable: Variable, value: str, *, by: Actor, expected: int, description: str = "", note: str = ""
) -> Variable:
    """Give the variable another value or description. `expected` is the `changed_revision` that was seen (else Stale).

    Raises as `declare` does, and Refused when nothing changed.
    """
    revision = next_revision()
    variable = _seen(variable, expected)
    before = _told(variable)
    variable.value, variable.description = clean_value(value), description.strip()
    if _told(variable) == before:
        raise Refused(f"No changes to save: {variable.name} is as it was.")
    variable.changed_revision = revision
    variable.full_clean()
    variable.save()
    _check_live_texts(variable)
    record_release(
        revision, "variable.changed", by=by, object=variable, before=before, after=_told(variable), note=note
    )
    return variable


@transaction.atomic
def remove(variable: Variable, *, by: Actor, expected: int, note: str = "") -> None:
    """Remove a variable that no live text uses; else Refused, with the places. `expected` as in `change`."""
    revision = next_revision()
    variable = _seen(variable, expected)
    if users := _users(variable):
        raise VariableInUse(variable.name, users)
    before, name = _told(variable), str(variable)
    Variable.objects.filter(pk=variable.pk).delete()  # `variable` keeps its id for the entry
    record_release(revision, "variable.removed", by=by, object=variable, object_name=name, before=before, note=note)


def clean_value(value: str) -> str:
    """The value with plain newlines and no blank ends, or ValidationError. It may be empty; braces in it are text."""
    value = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    if "\x00" in value or "\ufffd" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValidationError({"value": "The value holds a NUL or broken characters. Type it again."})
    if len(value) > MAX_VALUE_CHARACTERS:
        told = f"The value is {len(value):,} characters; at most {MAX_VALUE_CHARACTERS:,} are allowed. Shorten it."
        raise ValidationError({"value": told})
    return value


def _seen(variable: Variable, expected: int) -> Variable:
    found = Variable.objects.filter(pk=variable.pk).first()
    if found is None:
        raise Stale(f"{variable.name} was removed meanwhile.")
    if found.changed_revision != expected:
        raise Stale(f"Someone changed {variable.name} meanwhile. Reload the page to see it, then change it.")
    return found


def _users(variable: Variable) -> list[Version]:
    return variable_users(variable.operation).get((variable.operation, variable.name), [])


def _check_live_texts(variable: Variable) -> None:
    """Refuse a value with which a text that is live and uses it would be blank or too long."""
    values = values_of(variable.operation)
    for version in _users(variable):
        checks = [check for check in run_checks(version.body, values) if check.name in {"Not blank", "Length"}]
        if told := failures(checks):
            raise Refused(f"{version} is live and uses {variable.name}. {' '.join(told)}")


def _told(variable: Variable) -> dict[str, Any]:
    return {
        "operation": variable.operation,
        "name": variable.name,
        "value": variable.value,
        "description": variable.description,
    }
