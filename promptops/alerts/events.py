"""The events that are alerts without an end, each with a number that only grows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from promptops.ledger import sentences
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.prompts.actions.handover import ASKED, UPDATED

MOST_AT_ONCE = 100
"""Events of one look. The next look takes the others."""


@dataclass(frozen=True)
class Happening:
    """An event: its number, a sentence, facts for machines, and the path of its page."""

    number: int
    at: datetime
    title: str
    facts: dict[str, Any]
    page: str


def newest_release() -> int:
    """Return the revision that is live."""
    return LiveConfiguration.objects.values_list("revision", flat=True).get(pk=1)


def releases_since(revision: int) -> list[Happening]:
    """Return the releases after the revision, oldest first, in two queries."""
    releases = list(
        Release.objects.filter(revision__gt=revision)
        .select_related("template", "version")
        .only("revision", "action", "at", "user_name", "note", "template__name", "version__number")
        .order_by("revision")[:MOST_AT_ONCE]
    )
    entries = {
        entry.revision: entry for entry in AuditEntry.objects.filter(revision__in=[each.pk for each in releases])
    }
    return [_happening(release, entries.get(release.pk)) for release in releases]


def _happening(release: Release, entry: AuditEntry | None) -> Happening:
    what = sentences.sentence(entry) if entry else f"{release.user_name}: {release.action}"
    facts: dict[str, Any] = {
        "revision": release.revision,
        "action": release.action,
        "by": release.user_name,
        "note": release.note,
        "template": release.template.name if release.template else None,
        "version": release.version.number if release.version else None,
    }
    return Happening(
        release.revision,
        release.at,
        f"r{release.revision}: {what}",
        facts,
        reverse("revision", args=[release.revision]),
    )


def newest_request() -> int:
    """Return the number of the newest audit entry of a request for a release; 0 without one."""
    return _requests().order_by("-seq").values_list("seq", flat=True).first() or 0


def requests_since(seq: int) -> list[Happening]:
    """Return the requests for a release that were made or updated after the audit entry, oldest first."""
    return [
        Happening(
            entry.seq,
            entry.at,
            sentences.sentence(entry),
            {"template": entry.object_name, "by": entry.actor_name, "note": entry.note},
            reverse("release_request", args=[entry.object_id]),
        )
        for entry in _requests().filter(seq__gt=seq).order_by("seq")[:MOST_AT_ONCE]
    ]


def _requests() -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(action__in=(ASKED, UPDATED))
