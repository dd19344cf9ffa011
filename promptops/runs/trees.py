"""A JSON answer as a tree of HTML: definition lists, one in the other, each of which can be closed."""

from __future__ import annotations

import json
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

MAX_VALUES = 500
"""The most values of a tree. An answer has at most 10,000; its text has all of them."""

MAX_LEAF_CHARACTERS = 2_000
"""The most characters of one text in a tree."""

OPEN_LEVELS = 3
"""The levels of a tree that are open at first."""


class _Tree:
    """One tree, with the number of values that it may still show."""

    def __init__(self) -> None:
        self.left = MAX_VALUES

    def list_of(self, value: dict[str, Any] | list[Any], level: int) -> SafeString:
        """Return the definition list of an object or a list. The keys of a list are numbers from 1."""
        items = list(value.items() if isinstance(value, dict) else enumerate(value, start=1))
        rows = []
        for place, (key, each) in enumerate(items):
            if self.left <= 0:
                rows.append(format_html("<dt>…</dt><dd>{} more</dd>", f"{len(items) - place:,}"))
                break
            self.left -= 1
            rows.append(format_html('<dt dir="auto">{}</dt><dd>{}</dd>', key, self.node(each, level)))
        return format_html('<dl class="tree">{}</dl>', format_html_join("", "{}", ((row,) for row in rows)))

    def node(self, value: Any, level: int) -> SafeString:
        if isinstance(value, dict | list) and value:
            noun = ("key" if isinstance(value, dict) else "item") + ("s" if len(value) > 1 else "")
            return format_html(
                "<details{}><summary>{} {}</summary>{}</details>",
                SafeString(" open") if level < OPEN_LEVELS else "",
                f"{len(value):,}",
                noun,
                self.list_of(value, level + 1),
            )
        if isinstance(value, str) and value:
            cut = "…" if len(value) > MAX_LEAF_CHARACTERS else ""
            return format_html('<span class="pre" dir="auto">{}{}</span>', value[:MAX_LEAF_CHARACTERS], cut)
        return format_html("<code>{}</code>", json.dumps(value))


def tree_of(value: Any) -> SafeString:
    """Return an object or a list as a tree with at most `MAX_VALUES` values; "" for another value."""
    if not isinstance(value, dict | list):
        return SafeString("")
    if not value:
        return format_html("<code>{}</code>", json.dumps(value))
    return _Tree().list_of(value, 1)


def read_tree(text: str) -> SafeString:
    """Return the tree of a JSON text; "" for a text that is no object or list."""
    try:
        return tree_of(json.loads(text))
    except (ValueError, RecursionError):
        return SafeString("")
