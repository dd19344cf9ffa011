"""Restoring operations, templates and variables of an earlier release, each as one part of a release.

`fleet.actions.last_good` releases them. Rolling back one template belongs to releases.py.
"""

from copy import copy
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from promptops.ledger import parts
from promptops.ledger.parts import Restoration
from promptops.prompts.live_operations import RELEASED, operation_spec
from promptops.prompts.models import Operation, Template, Variable, Version
from promptops.prompts.operation_needs import why_not
from promptops.prompts.queries.operations import why_not_archived

SET = [name for name in RELEASED if name not in ("name", "retention_days")]
"""The columns of an operation that are restored. How long texts are kept decides what is deleted, so it stays."""


@parts.restores("operations")
def plan_operations(rows: list[dict[str, Any]]) -> Restoration:
    """Set the operations to the rows: changed ones back, archived ones restored, later ones archived.

    An operation stays as it is while something needs it so.
    """
    operations = list(Operation.objects.all())
    wanted = {row["name"]: row for row in rows}
    planned, stays = [], []
    for operation in operations:
        row = wanted.get(operation.name)
        restored, reason = _archived(operation) if row is None else _with_values(operation, row)
        planned.append(restored)
        if reason:
            words = "stays as it is" if row else "was added since and stays"
            stays.append(f"The operation {operation.name} {words}. {reason}")

    def save(revision: int) -> None:
        for before, after in zip(operations, planned, strict=True):
            if after is not before:
                after.changed_revision = revision
                after.save()

    in_use = [operation for operation in planned if not operation.archived_at]
    return Restoration([parts.columns(operation, RELEASED) for operation in in_use], stays, save)


def _archived(operation: Operation) -> tuple[Operation, str]:
    """Return the operation archived; or the same one, and why it is needed."""
    if operation.archived_at:
        return operation, ""
    if reason := why_not_archived(operation):
        return operation, reason
    archived = copy(operation)
    archived.archived_at = timezone.now()
    return archived, ""


def _with_values(operation: Operation, row: dict[str, Any]) -> tuple[Operation, str]:
    """Return the operation with the values of the row; or the same one, and why it is needed as it is."""
    wanted = {name: row[name] for name in SET if name in row and getattr(operation, name) != row[name]}
    if not wanted and not operation.archived_at:
        return operation, ""
    restored = copy(operation)
    for name, value in wanted.items():
        setattr(restored, name, value)
    if not operation.archived_at and (
        reason := why_not(operation.name, operation_spec(operation), operation_spec(restored))
    ):
        return operation, reason
    restored.archived_at = None
    try:
        restored.full_clean()
    except ValidationError as error:
        return operation, " ".join(error.messages)
    return restored, ""


@parts.restores("templates")
def plan_templates(rows: list[dict[str, Any]]) -> Restoration:
    """Point each template of the rows to its version, and no other template to any; set the defaults.

    Versions are never changed or deleted, so all of them can be live again. Drafts stay.
    """
    versions = Version.objects.filter(pk__in=[row["version_id"] for row in rows]).values_list("pk", "template_id")
    template_of = dict(versions)
    wanted = {template_of[row["version_id"]]: row for row in rows}
    with_default = [row["operation"] for row in rows if row["default"]]
    after: dict[str, list[dict[str, Any]]] = {}
    for template in Template.objects.filter(pk__in=wanted).order_by("operation", "name"):
        row = wanted[template.pk]
        is_default = row["default"] or (template.is_default and template.operation not in with_default)
        of_operation = after.setdefault(template.operation, [])
        values = {**row, "name": template.name, "operation": template.operation, "default": is_default}
        of_operation.insert(0 if is_default else len(of_operation), values)

    def save(revision: int) -> None:
        Template.objects.filter(operation__in=with_default, is_default=True).update(is_default=False)
        Template.objects.exclude(pk__in=wanted).filter(live_version__isnull=False).update(live_version=None)
        for pk, row in wanted.items():
            live = {"live_version_id": row["version_id"], "archived_at": None}
            if row["default"]:
                live["is_default"] = True
            Template.objects.filter(pk=pk).update(**live)

    return Restoration([values for of_operation in after.values() for values in of_operation], [], save)


@parts.restores("variables")
def plan_variables(rows: list[dict[str, Any]]) -> Restoration:
    """Set the variables to the rows. A variable that was removed since comes back without its description."""

    def save(revision: int) -> None:
        present = {(variable.operation, variable.name): variable for variable in Variable.objects.all()}
        for row in rows:
            variable = present.pop((row["operation"], row["name"]), None)
            if variable is None:
                Variable.objects.create(**row, changed_revision=revision)
            elif variable.value != row["value"]:
                variable.value, variable.changed_revision = row["value"], revision
                variable.save(update_fields=["value", "changed_revision"])
        Variable.objects.filter(pk__in=[variable.pk for variable in present.values()]).delete()

    return Restoration(rows, [], save)
