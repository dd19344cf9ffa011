"""Templates, versions and drafts as pages show them."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Max, QuerySet

from promptops.models import Draft, Release, Template, User, Version


def open_templates() -> QuerySet[Template]:
    """Name and operation of all templates that are not archived, by operation, the default first."""
    return Template.objects.filter(archived_at=None).only("name", "operation")


def listed(user: User, *, archived: bool = False) -> list[Template]:
    """Templates for the list page, each with `has_draft` (this person's) and `release`, which put its version live."""
    drafts = set(Draft.objects.filter(user=user).values_list("template_id", flat=True))
    rows = list(
        Template.objects.filter(archived_at__isnull=not archived)
        .select_related("live_version")
        .defer("live_version__body")
    )
    releases = newest_release_of([row.live_version_id for row in rows])
    for row in rows:
        row.has_draft = row.pk in drafts  # type: ignore[attr-defined]
        row.release = releases.get(row.live_version_id)  # type: ignore[attr-defined]
    return rows


def history(template: Template) -> QuerySet[Version]:
    """The template's versions, newest first, without their texts."""
    return template.versions.defer("body")


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


def newest_release_of(version_ids: list[int | None]) -> dict[int, Release]:
    """By version id: the newest release that made it live."""
    releases = Release.objects.filter(
        version__in=[pk for pk in version_ids if pk], action__in=["template.published", "template.rolled_back"]
    )
    return {
        release.version_id: release
        for release in releases.select_related("replaced").order_by("revision")
        if release.version_id
    }
