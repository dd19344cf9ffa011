"""Audit entries as sentences, from the sentence that each action declares in `registry`."""

from collections.abc import Callable
from typing import Any

from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from promptops.ledger import registry
from promptops.ledger.models import AuditEntry


def sentence(entry: AuditEntry) -> str:
    """Return the entry as one sentence of plain text. Use `sentence_html` in HTML."""
    return _fill(entry, actor=entry.actor_name, object=entry.object_name, text=str)


def sentence_html(entry: AuditEntry) -> SafeString:
    """Return the entry as one sentence of HTML, with actor and object in bold and every value escaped."""
    bold = "<b><bdi>{}</bdi></b>"
    filled = _fill(
        entry,
        actor=format_html(bold, entry.actor_name),
        object=format_html(bold, entry.object_name),
        text=conditional_escape,
    )
    return mark_safe(filled)  # noqa: S308 -- registered sentences hold no markup, and each value above is escaped


class _Values(dict[str, str]):
    """The values of one side of an entry; a missing value reads as a dash."""

    def __missing__(self, key: str) -> str:
        return "–"


def _fill(entry: AuditEntry, *, actor: str, object: str, text: Callable[[Any], str]) -> str:
    """Fill the sentence of the entry's action. An action that is no longer registered is shown by its name."""
    before, after = (
        _Values({key: text(value) for key, value in (side if isinstance(side, dict) else {}).items()})
        for side in (entry.before, entry.after)
    )
    template = registry.sentence_of(entry.action)
    if template is None:
        return f"{actor}: {text(entry.action)} {object}"
    return template.format(actor=actor, object=object, before=before, after=after)
