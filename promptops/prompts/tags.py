"""Filters for pages that show prompts. Settings make them builtins."""

from __future__ import annotations

from django import template

from promptops.prompts.content import summary

register = template.Library()


@register.filter(name="settings_summary")
def settings_summary(content: object) -> list[tuple[str, str]]:
    """Return label and value of each generation setting of a version or draft."""
    return summary(content)
