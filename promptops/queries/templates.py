"""Templates, versions and drafts as pages show them."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Max, QuerySet

from promptops.models import Draft, Template, User, Version


def open_templates() -> QuerySet[Template]:
    """All templates that are not archived, by operation, the default first."""
    return Template.objects.filter(archived_at=None).select_related("live_version")


def listed(user: User, *, archived: bool = False) -> list[Template]:
    """Templates for the list page, each with `version_count` and `has_draft` (this person's)."""
    drafts = set(Draft.objects.filter(user=user).values_list("template_id", flat=True))
    rows = list(
        Template.objects.filter(archived_at__isnull=not archived)
        .select_related("live_version")
        .annotate(version_count=Count("versions"))
    )
    for row in rows:
        row.has_draft = row.pk in drafts  # type: ignore[attr-defined]
    return rows


def history(template: Template) -> QuerySet[Version]:
    """The template's versions, newest first."""
    return template.versions.select_related("author")


@dataclass(frozen=True)
class Text:
    """One side of a comparison: `key` is what the address says (`draft` or a version's number)."""

    key: str
    label: str
    content: dict[str, Any]


def texts(template: Template, user: User) -> list[Text]:
    """Everything of a template that can be compared: this person's draft, then its versions, newest first."""
    found = []
    if draft := template.drafts.filter(user=user).first():
        found.append(Text("draft", "your draft", draft.content))
    for version in template.versions.all():
        live = " (live)" if version.pk == template.live_version_id else ""
        found.append(Text(str(version.number), f"v{version.number}{live}", version.content))
    return found


def next_number(template: Template) -> int:
    """The number that the next version would get."""
    return (template.versions.aggregate(newest=Max("number"))["newest"] or 0) + 1
