"""Stored releases with the texts that were live then, for machines. The pages about releases use `timeline`."""

from typing import Any

from promptops.engine.live_document.parts import TEMPLATE
from promptops.engine.variables import fill
from promptops.ledger.models import Release
from promptops.prompts.live_part import template_spec
from promptops.prompts.models import Version


def stored_revision(revision: int) -> dict[str, Any] | None:
    """Return the release and its configuration as JSON data, by at most three queries; None for an unknown revision.

    `configuration` is None for an old release that stored none. Each template has its text as a model got it. Raises
    DamagedConfiguration.
    """
    release = Release.objects.filter(pk=revision).first()
    if release is None:
        return None
    stored = release.configuration
    return {
        "revision": release.revision,
        "action": release.action,
        "at": release.at.isoformat(),
        "by": release.user_name,
        "note": release.note,
        "configuration": None if stored is None else stored | {"templates": _with_texts(stored)},
    }


def _with_texts(stored: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the stored templates, each with the content of its version. Versions are never changed or deleted."""
    values: dict[str, dict[str, str]] = {}
    for variable in stored.get("variables", []):
        values.setdefault(variable["operation"], {})[variable["name"]] = variable["value"]
    ids = [row["version_id"] for row in stored["templates"]]
    versions = Version.objects.select_related("template").in_bulk(ids)
    templates = []
    for row in stored["templates"]:
        version = versions[row["version_id"]]
        written = TEMPLATE.write(template_spec(version.template, version))
        written["text"] = fill(written["text"], values.get(row["operation"], {}))
        templates.append(written | {"name": row["name"], "operation": row["operation"], "default": row["default"]})
    return templates
