"""Loads templates without the indentation that only their readers need; it was up to a third of a page."""

import re

from django.template import Origin
from django.template.loaders import filesystem

BREAK = "\n"
"""A line break between two lines of a template."""
CONTROL = re.compile(
    r"(?:{%\s*(?:if|elif|else|endif|for|empty|endfor|with|endwith|load|comment|endcomment)\b(?:(?!%}).)*%}|{#(?:(?!#}).)*#})+"
)


def compact(source: str) -> str:
    """Return a template's source without indentation, empty lines, and the breaks after lines of control tags only.

    White space stays white space, so words that were apart stay apart: a control tag has the break in front of it.
    Text in <pre> and <textarea> must be on the line of its tag.
    """
    parts: list[str] = []
    for line in filter(None, map(str.strip, source.split("\n"))):
        parts += [line] if parts and CONTROL.fullmatch(line) else [line, BREAK]
    return "".join(parts)


class Loader(filesystem.Loader):
    """Django's loader of files, with `compact`."""

    def get_contents(self, origin: Origin) -> str:
        return compact(super().get_contents(origin))
