"""Versions as machines read them. What is live they read from the live document."""

from dataclasses import replace
from typing import Any

from promptops.engine.live_document.parts import TEMPLATE
from promptops.engine.variables import fill
from promptops.prompts.live_part import template_spec
from promptops.prompts.live_variables import values_of
from promptops.prompts.models import Version


def version_values(template: str, number: int) -> dict[str, Any] | None:
    """Return a version as the live document has templates, and who made it; None for an unknown one.

    The text is filled in with today's variables.
    """
    versions = Version.objects.filter(template__name=template, number=number)
    version = versions.select_related("template").first()
    if version is None:
        return None
    spec = template_spec(version.template, version)
    return {
        **TEMPLATE.write(replace(spec, body=fill(spec.body, values_of(spec.operation)))),
        "is_live": version.template.live_version_id == version.pk,
        "author": version.author_name,
        "created_at": version.created_at.isoformat(),
        "note": version.note,
    }
