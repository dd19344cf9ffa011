"""Filters for pages that show prompts. Settings make them builtins."""

from __future__ import annotations

from django import template

from promptops.prompts.content import summary, texts

register = template.Library()


@register.filter(name="settings_summary")
def settings_summary(content: object) -> list[tuple[str, str]]:
    """Return label and value of each generation setting of a version or draft."""
    return summary(content)


@register.filter(name="content_texts")
def content_texts(content: object) -> list[tuple[str, str]]:
    """Return label and text of each text that a version or draft has beside the system prompt."""
    return texts(content)
