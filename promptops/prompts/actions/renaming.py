"""Renaming variables of before user templates that have the name of an input, once, at the start of a server."""

from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.engine.messages import reserved_names
from promptops.engine.variables import rename
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.prompts.actions.releases import publish
from promptops.prompts.actions.variables import declare, remove
from promptops.prompts.content import Content
from promptops.prompts.live_operations import spec_of
from promptops.prompts.live_variables import variable_users
from promptops.prompts.models import DiscardedDraft, Draft, Variable, Version


def rename_reserved(*, by: Actor) -> list[str]:
    """Rename each variable that has the name of an input: `input` becomes `input_var`, also in live texts and drafts.

    The declaration and each live text is a release, and all of them take effect at once. Returns a sentence for each
    variable that stays as it is, because a live text that uses it cannot be published.
    """
    problems = []
    for variable in Variable.objects.all():
        if variable.name not in reserved_names(spec_of(variable.operation)):
            continue
        try:
            _rename(variable, by)
        except (Refused, ValidationError) as error:
            reason = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
            problems.append(f"The variable {variable} has the name of an input and was not renamed. {reason}")
    return problems


@transaction.atomic
def _rename(variable: Variable, by: Actor) -> None:
    operation, old = variable.operation, variable.name
    new = _free_name(variable)
    note = f"{old} is now the name of an input. The variable became {new}."
    declare(operation, new, variable.value, by=by, description=variable.description, note=note)
    rebased: dict[int, Version] = {}
    for version in variable_users(operation).get((operation, old), []):
        if (body := rename(version.body, old, new)) == version.body:
            continue  # its user template gets the input
        content = Content(**version.content | {"body": body})
        rebased[version.pk] = publish(version.template, content, by=by, expected=version.pk, note=note)
    remove(variable, by=by, expected=variable.changed_revision, note=note)
    for model in (Draft, DiscardedDraft):
        for draft in model.objects.filter(template__operation=operation, body__contains="{{"):
            body, base = rename(draft.body, old, new), rebased.get(draft.base_id or 0, draft.base)
            model.objects.filter(pk=draft.pk).update(body=body, base=base)


def _free_name(variable: Variable) -> str:
    """Return NAME_var, or NAME_var2 and so on if the operation has such a name."""
    taken = set(Variable.objects.filter(operation=variable.operation).values_list("name", flat=True))
    taken |= reserved_names(spec_of(variable.operation))
    wanted = f"{variable.name[:34]}_var"
    return next(name for name in [wanted, *(f"{wanted}{number}" for number in range(2, 1000))] if name not in taken)
