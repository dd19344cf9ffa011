"""Filters for pages that show runs. Settings make them builtins."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from promptops.runs.enums import RunStatus
from promptops.web.templatetags.ui import chip

register = template.Library()


@register.filter(name="status_chip")
def status_chip(status: str) -> SafeString:
    """Return the chip of a run's status."""
    states = {RunStatus.SUCCEEDED: "ok", RunStatus.CANCELED: "", RunStatus.UNCHANGED: "warn"}
    return chip(RunStatus(status).label.lower(), states.get(RunStatus(status), "bad"))
