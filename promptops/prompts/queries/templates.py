"""Reads of templates, versions and drafts for pages."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Max, Q, QuerySet

from promptops.people.models import User
from promptops.platform.pages import Numbered, numbered
from promptops.prompts.content import long_fields
from promptops.prompts.models import DiscardedDraft, Draft, Operation, Template, Version
from promptops.prompts.queries.releases import newest_release_of
from promptops.texts.numbers import whole_number


def names() -> QuerySet[Template, str]:
    """Return the names of all templates, archived ones too, in order."""
    return Template.objects.order_by("name").values_list("name", flat=True)


def named(words: list[str]) -> QuerySet[Template]:
    """Return the templates that are not archived and have all `words` in name or operation, defaults first.

    Only name and operation are read.
    """
    found = Template.objects.filter(archived_at=None)
    for word in words:
        found = found.filter(Q(name__icontains=word) | Q(operation__icontains=word))
    return found.order_by("-is_default", "operation", "name").only("name", "operation")


def listed(user: User, *, archived: bool = False, operation: str = "", number: int | None = None) -> Numbered[Template]:
    """Return a page of the templates, with `has_draft` (by this person) and `release` (of the live version)."""
    templates = Template.objects.filter(archived_at__isnull=not archived)
    if operation:
        templates = templates.filter(operation=operation)
    shown = numbered(templates.select_related("live_version").defer(*long_fields("live_version__")), number)
    drafts = set(Draft.objects.filter(user=user, template__in=shown.rows).values_list("template_id", flat=True))
    releases = newest_release_of([row.live_version_id for row in shown.rows])
    for row in shown.rows:
        row.has_draft = row.pk in drafts
        row.release = releases.get(row.live_version_id or 0)
    return shown


def per_operation(*, archived: bool = False) -> dict[str, int]:
    """Return the number of templates of each operation that has any, by name."""
    counted = Template.objects.filter(archived_at__isnull=not archived).values("operation").annotate(count=Count("pk"))
    return dict(counted.order_by("operation").values_list("operation", "count"))


def history(template: Template) -> QuerySet[Version]:
    """Return the template's versions, newest first, without their texts."""
    return template.versions.defer("body")


@dataclass(frozen=True)
class Text:
    """One side of a comparison. Its `key` in the address is `live`, `draft` or a version's number."""

    key: str
    label: str
    content: dict[str, Any]


def comparable(template: Template, user: User) -> list[tuple[str, str]]:
    """Return key and label of the texts that can be compared: the live one, this person's draft, every version."""
    texts = []
    if template.live_version:
        texts.append(("live", f"live (v{template.live_version.number})"))
    if template.drafts.filter(user=user).exists():
        texts.append(("draft", "your draft"))
    versions = template.versions.values_list("pk", "number")
    return texts + [(str(number), _version_label(template, pk, number)) for pk, number in versions]


def text(template: Template, user: User, key: str) -> Text | None:
    """Return the text with this key, or None if there is none."""
    if key == "draft":
        draft = template.drafts.filter(user=user).first()
        return Text(key, "your draft", draft.content) if draft else None
    if key == "live":
        version = template.live_version
    else:
        number = whole_number(key)
        version = template.versions.filter(number=number).first() if number is not None else None
    return Text(key, _version_label(template, version.pk, version.number), version.content) if version else None


def _version_label(template: Template, pk: int, number: int) -> str:
    return f"v{number} (live)" if pk == template.live_version_id else f"v{number}"


def discarded(template: Template, user: User) -> list[DiscardedDraft]:
    """Return this person's discarded drafts, newest first, each with `begins`: the first words that are new."""
    rows = list(DiscardedDraft.objects.select_related("base").filter(template=template, user=user))
    for row in rows:
        row.begins = departure(row.body, row.base.body if row.base else "")  # type: ignore[attr-defined]
    return rows


def discarded_count(template: Template, user: User) -> int:
    """Return how many discarded drafts of the template this person has."""
    return template.discarded_drafts.filter(user=user).count()


def departure(text: str, base: str, characters: int = 120) -> str:
    """Return the first words of `text` that differ from `base`; the texts of one template often start alike."""
    shorter = min(len(text), len(base))
    same = next((at for at in range(shorter) if text[at] != base[at]), shorter)
    start = max(text.rfind(mark, 0, same) for mark in " \n") + 1
    words = " ".join(text[start : start + 2 * characters].split())[:characters]
    return f"… {words}" if start else words


def next_number(template: Template) -> int:
    """Return the number of the next version."""
    return (template.versions.aggregate(newest=Max("number"))["newest"] or 0) + 1


def is_last(template: Template) -> bool:
    """Return whether this is the only template in use of an operation that is not built in."""
    others = Template.objects.filter(operation=template.operation, archived_at=None).exclude(pk=template.pk)
    is_built_in = Operation.objects.filter(name=template.operation, built_in=True).exists()
    return not is_built_in and not others.exists()
