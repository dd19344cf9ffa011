"""Filters for pages that show prompts. Settings make them builtins."""

from __future__ import annotations

from django import template

from promptops.prompts.content import NOTHING, Difference, differences, summary, texts
from promptops.prompts.models import Draft

register = template.Library()


@register.filter(name="settings_summary")
def settings_summary(content: object) -> list[tuple[str, str]]:
    """Return label and value of each generation setting of a version or draft."""
    return summary(content)


@register.filter(name="content_texts")
def content_texts(content: object) -> list[tuple[str, str]]:
    """Return label and text of each text that a version or draft has beside the system prompt."""
    return texts(content)


@register.filter(name="changed_texts")
def changed_texts(draft: Draft) -> list[Difference]:
    """Return the differences between a draft and its base in the texts beside the system prompt."""
    found = differences(draft.base.content if draft.base else NOTHING, draft.content)
    return [each for each in found if each.is_text and each.before != each.after]
