"""Restoring operations, templates and variables of an earlier release, each as one part of a release.

`fleet.actions.last_good` releases them. Rolling back one template belongs to releases.py.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from promptops.ledger import parts
from promptops.prompts.live_operations import RELEASED, operation_spec
from promptops.prompts.models import Operation, Template, Variable, Version
from promptops.prompts.operation_needs import why_not
from promptops.prompts.queries.operations import why_not_archived

SET = [name for name in RELEASED if name not in ("name", "retention_days")]
"""The columns of an operation that are restored. How long texts are kept decides what is deleted, so it stays."""


@parts.restores("operations")
def restore_operations(rows: list[dict[str, Any]], revision: int) -> list[str]:
    """Set the operations to the rows: changed ones back, archived ones restored, later ones archived.

    An operation stays as it is while something needs it so.
    """
    present = {operation.name: operation for operation in Operation.objects.all()}
    sentences = []
    for row in rows:
        operation = present.pop(row["name"])  # an operation is never deleted
        try:
            if reason := _set_operation(operation, row, revision):
                sentences.append(f"The operation {operation.name} stays as it is. {reason}")
        except ValidationError as error:
            sentences.append(f"The operation {operation.name} stays as it is. {' '.join(error.messages)}")
    for operation in present.values():
        if operation.archived_at:
            continue
        if reason := why_not_archived(operation):
            sentences.append(f"The operation {operation.name} was added since and stays. {reason}")
            continue
        operation.archived_at, operation.changed_revision = timezone.now(), revision
        operation.save(update_fields=["archived_at", "changed_revision"])
    return sentences


def _set_operation(operation: Operation, row: dict[str, Any], revision: int) -> str:
    """Set the values of the row, or return why something needs the operation as it is."""
    before = operation_spec(operation)
    wanted = {name: row[name] for name in SET if name in row and getattr(operation, name) != row[name]}
    if not wanted and not operation.archived_at:
        return ""
    for name, value in wanted.items():
        setattr(operation, name, value)
    if not operation.archived_at and (reason := why_not(operation.name, before, operation_spec(operation))):
        return reason
    operation.archived_at, operation.changed_revision = None, revision
    operation.full_clean()
    operation.save()
    return ""


@parts.restores("templates")
def restore_templates(rows: list[dict[str, Any]], revision: int) -> list[str]:
    """Point each template of the rows to its version, and no other template to any; set the defaults.

    Versions are never changed or deleted, so all of them can be live again. Drafts stay.
    """
    versions = Version.objects.in_bulk([row["version_id"] for row in rows])
    wanted = {versions[row["version_id"]].template_id: row for row in rows}
    with_default = [row["operation"] for row in rows if row["default"]]
    Template.objects.filter(operation__in=with_default, is_default=True).update(is_default=False)
    Template.objects.exclude(pk__in=wanted).filter(live_version__isnull=False).update(live_version=None)
    for pk, row in wanted.items():
        live = {"live_version_id": row["version_id"], "archived_at": None}
        if row["default"]:
            live["is_default"] = True
        Template.objects.filter(pk=pk).update(**live)
    return []


@parts.restores("variables")
def restore_variables(rows: list[dict[str, Any]], revision: int) -> list[str]:
    """Set the variables to the rows. A variable that was removed since comes back without its description."""
    present = {(variable.operation, variable.name): variable for variable in Variable.objects.all()}
    for row in rows:
        variable = present.pop((row["operation"], row["name"]), None)
        if variable is None:
            Variable.objects.create(**row, changed_revision=revision)
        elif variable.value != row["value"]:
            variable.value, variable.changed_revision = row["value"], revision
            variable.save(update_fields=["value", "changed_revision"])
    Variable.objects.filter(pk__in=[variable.pk for variable in present.values()]).delete()
    return []
