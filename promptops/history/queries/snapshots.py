"""The texts, settings and contracts of an earlier revision, as a snapshot for runs that are pinned to it.

Chain, safety filter and levers are never of the past: whoever uses the snapshot takes them from what is live.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from promptops.engine.operations import OPERATIONS, OperationSpec
from promptops.engine.snapshot import SettingsSpec, Snapshot, TemplateSpec
from promptops.ledger.models import LiveConfiguration, Release
from promptops.prompts.content import LIVE_DEFAULTS
from promptops.prompts.live_operations import operation_spec
from promptops.prompts.live_part import template_spec
from promptops.prompts.models import Operation, Version


def earlier_snapshot(epoch: str, revision: int) -> Snapshot | None:
    """Return what was live at a revision, without chain, safety and levers; None if no release stored it.

    Raises DamagedConfiguration.
    """
    if LiveConfiguration.objects.values_list("epoch", flat=True).get(pk=1) != epoch:
        return None
    release = Release.objects.filter(pk=revision).first()
    stored = release.configuration if release else None
    if stored is None or not {"operations", "templates", "variables", "settings"} <= stored.keys():
        return None
    operations = _operations(stored["operations"])
    templates, defaults = _templates(stored["templates"], operations)
    settings = stored["settings"]
    return Snapshot(
        revision=revision,
        epoch=epoch,
        operations=MappingProxyType(operations),
        templates=templates,
        defaults=MappingProxyType(defaults),
        variables=_variables(stored["variables"]),
        settings=SettingsSpec(timeout_ms=settings["timeout_ms"], **{name: settings[name] for name in LIVE_DEFAULTS}),
        providers=(),
    )


def _operations(rows: list[dict[str, Any]]) -> dict[str, OperationSpec]:
    return {row["name"]: operation_spec(Operation(**row, built_in=row["name"] in OPERATIONS)) for row in rows}


def _templates(
    rows: list[dict[str, Any]], operations: Mapping[str, OperationSpec]
) -> tuple[tuple[TemplateSpec, ...], dict[str, int]]:
    """Return the templates and the ids of the default ones. Versions are never changed or deleted."""
    versions = Version.objects.select_related("template").in_bulk([row["version_id"] for row in rows])
    templates, defaults = [], {}
    for row in rows:
        version = versions[row["version_id"]]
        template = version.template
        template.name, template.operation = row["name"], row["operation"]
        templates.append(template_spec(template, version, operations.get(row["operation"])))
        if row["default"]:
            defaults[row["operation"]] = template.pk
    return tuple(templates), defaults


def _variables(rows: list[dict[str, Any]]) -> Mapping[str, Mapping[str, str]]:
    values: dict[str, dict[str, str]] = {}
    for row in rows:
        values.setdefault(row["operation"], {})[row["name"]] = row["value"]
    return MappingProxyType({operation: MappingProxyType(of_operation) for operation, of_operation in values.items()})
