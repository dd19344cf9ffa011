"""The part of the live configuration that templates with a live version form. Variables are in `live_variables`."""

from types import MappingProxyType
from typing import Any

from django.db.models import QuerySet

from promptops.engine.operations import OperationSpec
from promptops.engine.snapshot import TemplateSpec
from promptops.ledger import parts
from promptops.ledger.models import LiveConfiguration
from promptops.prompts.answer_rules import fitting
from promptops.prompts.examples import read_examples
from promptops.prompts.live_operations import operation_spec
from promptops.prompts.models import Operation, Template, Version


def template_spec(template: Template, version: Version, operation: OperationSpec | None = None) -> TemplateSpec:
    """Return the fields of a template and one version that a run needs. `operation` is needed for answer rules."""
    parameters = version.parameters
    return TemplateSpec(
        id=template.pk,
        name=template.name,
        operation=template.operation,
        version_id=version.pk,
        version_number=version.number,
        body=version.body,
        temperature=parameters.pop("temperature"),
        max_tokens=parameters.pop("max_tokens"),
        model=version.model or None,
        sha256=version.sha256,
        parameters=MappingProxyType({name: value for name, value in parameters.items() if value is not None}),
        user_template=version.user_template or "",
        examples=read_examples(version.examples),
        contract=fitting(operation, version.answer_rules) if operation and version.answer_rules else None,
    )


def load(config: LiveConfiguration) -> dict[str, Any]:
    """Read the live templates, and the default of each operation."""
    rows = list(_live().select_related("live_version"))
    narrowed = {row.operation for row in rows if row.live_version and row.live_version.answer_rules}
    specs = {row.name: operation_spec(row) for row in Operation.objects.filter(name__in=narrowed)} if narrowed else {}
    return {
        "templates": tuple(
            template_spec(row, row.live_version, specs.get(row.operation)) for row in rows if row.live_version
        ),
        "defaults": MappingProxyType({row.operation: row.pk for row in rows if row.is_default}),
    }


def release_values(config: LiveConfiguration) -> list[dict[str, Any]]:
    """Read the live versions by number. A release does not copy their texts."""
    columns = ("name", "operation", "is_default", "live_version__number", "live_version_id")
    return [
        {"name": name, "operation": operation, "default": default, "version": number, "version_id": version_id}
        for name, operation, default, number, version_id in _live().values_list(*columns)
    ]


def _live() -> QuerySet[Template]:
    return Template.objects.filter(live_version__isnull=False, archived_at=None)


parts.register(parts.Part("templates", "template", load, release_values))
