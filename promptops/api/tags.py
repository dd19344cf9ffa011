"""The filter of the API page."""

import re

from django import template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

SPAN = re.compile(r"`([^`]+)`")


@register.filter(name="code_spans")
def code_spans(text: str) -> SafeString:
    """Return a text with `spans` between backticks as code; all of it is escaped before."""
    return mark_safe(SPAN.sub(r"<code>\1</code>", conditional_escape(text)))  # noqa: S308 -- escaped
