"""The releases that changed one template, for its history. The timeline of all releases is in `history.queries`."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from promptops.ledger import registry
from promptops.ledger.models import AuditEntry, Release
from promptops.ledger.queries import configurations
from promptops.platform.caches import Cache
from promptops.platform.narrowing import Filter, Narrowed
from promptops.platform.pages import Page
from promptops.prompts.content import Difference, differences, long_fields
from promptops.prompts.models import Template, Version
from promptops.texts.word_changes import WordChange, word_change

PAGE_SIZE = 25
"""A row has more to show than those of other lists: its difference and a menu."""
ENDS = "template.archived"
"""Besides the next version, this ends the time for which a version is live."""


@dataclass(frozen=True)
class Change:
    """The difference between two versions: the words of the system prompt, and the settings that differ."""

    words: WordChange
    settings: list[Difference]


_changes: Cache[Change] = Cache(4_000)
"""By the hashes of both contents, which never change: comparing the texts of a page can take 0.3 s."""


@dataclass
class ReleaseRow:
    """A release of a template.

    `version` went live instead of `replaced` (None: nothing); both are None if it changed no version. `until` is when
    its time as the live one ended (None: it has not). `source` is the object of its audit entry, such as "r12", if the
    release changed more than this template.
    """

    release: Release
    version: Version | None = None
    replaced: Version | None = None
    until: datetime | None = None
    change: Change | None = None
    source: str = ""

    @property
    def verb(self) -> str:
        """Return the verb of the action, such as "rolled_back"."""
        return self.release.action.partition(".")[2]

    @property
    def own_note(self) -> str:
        """Return the version's own note, if it is not the note of this release."""
        return self.version.note if self.version and self.version.note != self.release.note else ""


@dataclass
class Day:
    """The rows of one day in the reader's time zone."""

    date: date
    rows: list[ReleaseRow] = field(default_factory=list)


def of_template(template: Template) -> Narrowed[Release]:
    """Return the releases of the template, and all others that may have changed its version, without configurations."""
    releases = Release.objects.select_related("version", "replaced").defer(
        "packed_configuration", "evidence", *long_fields("version__"), *long_fields("replaced__")
    )
    others = [revision for revision in _of_several().values_list("revision", flat=True) if revision]
    parts = (Release.objects.filter(template=template), Release.objects.filter(pk__in=others))
    of_it = Filter(parts, lambda rows: rows.filter(Q(template=template) | Q(pk__in=others)))
    return Narrowed(releases, (of_it,), size=PAGE_SIZE)


def rows(template: Template, page: Page[Release]) -> list[ReleaseRow]:
    """Return the rows of a page, newest first, by a constant number of queries. Other releases are left out."""
    if not page.rows:
        return []
    newer = _newer(template, page.rows[0].pk) if page.newer is not None else []
    found = changing(template, [*newer, *page.rows])
    until = None
    for row in found:
        row.until = until
        if row.version or row.replaced or row.release.action == ENDS:
            until = row.release.at
    shown = [row for row in found if row.release.pk <= page.rows[0].pk]
    _compare(shown)
    return shown


def changing(template: Template, releases: Iterable[Release]) -> list[ReleaseRow]:
    """Return those of the releases that changed the template, without their differences. Four queries at most."""
    found = {release.pk: ReleaseRow(release) for release in releases}
    several = {pk for pk, row in found.items() if row.release.action in _actions_of_several()}
    if several:
        objects = dict(_of_several().filter(revision__in=several).values_list("revision", "object_name"))
        stored = configurations([*several, *(pk - 1 for pk in several)])
        live = {
            revision: next((row["version_id"] for row in values["templates"] if row["name"] == template.name), None)
            for revision, values in stored.items()
        }
        several = {pk for pk in several if live.get(pk) != live.get(pk - 1)}
        versions = template.versions.defer(*long_fields("")).in_bulk(
            [pk for each in several for pk in (live.get(each), live.get(each - 1)) if pk]
        )
    shown = []
    for pk, row in found.items():
        if row.release.action in registry.version_releases():
            row.version, row.replaced = row.release.version, row.release.replaced
        elif pk in several:
            row.version, row.replaced = versions.get(live.get(pk) or 0), versions.get(live.get(pk - 1) or 0)
            row.source = objects.get(pk, "")
        elif row.release.template_id != template.pk:
            continue
        shown.append(row)
    return shown


def newest_release_of(live_ids: Iterable[int | None]) -> dict[int, Release]:
    """Return the release that made each of these live versions live, by version id. Four queries at most.

    That is the newest one of the version itself, or a newer one that restored several versions at once.
    """
    wanted = [pk for pk in live_ids if pk]
    light = Release.objects.select_related("replaced").defer("packed_configuration", "evidence", "replaced__body")
    own = light.filter(version__in=wanted, action__in=registry.version_releases()).order_by("revision")
    found = {release.version_id: release for release in own if release.version_id}
    first = min((release.pk for release in found.values()), default=0)
    several = [pk for pk in _of_several().filter(revision__gt=first).values_list("revision", flat=True) if pk]
    if not several or not wanted:
        return found
    stored = configurations([*several, *(pk - 1 for pk in several)])
    live = {revision: {row["version_id"] for row in values["templates"]} for revision, values in stored.items()}
    restoring = light.in_bulk(several)
    for revision in sorted(revision for revision in several if {revision, revision - 1} <= live.keys()):
        for pk in live[revision] - live[revision - 1]:
            if pk in wanted and (pk not in found or found[pk].pk < revision):
                found[pk] = restoring[revision]
    return found


def by_day(found: Iterable[ReleaseRow]) -> list[Day]:
    """Return the rows grouped by day in the reader's time zone."""
    days: list[Day] = []
    for row in found:
        day = timezone.localdate(row.release.at)
        if not days or days[-1].date != day:
            days.append(Day(day))
        days[-1].rows.append(row)
    return days


def _compare(shown: list[ReleaseRow]) -> None:
    """Set the difference of each row to what was live before. One query reads texts that are new here."""
    pairs = [(row, row.replaced, row.version) for row in shown if row.replaced and row.version]
    unknown = [both for _, *both in pairs if _changes.get(_key(*both)) is None]
    full = Version.objects.in_bulk({version.pk for both in unknown for version in both}) if unknown else {}
    made = {_key(old, new): _change(full[old.pk].content, full[new.pk].content) for old, new in unknown}
    for row, old, new in pairs:
        row.change = made.get(_key(old, new)) or _changes.get(_key(old, new))
    for key, change in made.items():
        _changes.put(key, change)


def _key(old: Version, new: Version) -> tuple[str, str]:
    return old.sha256, new.sha256


def _change(old: dict[str, Any], new: dict[str, Any]) -> Change:
    settings = [each for each in differences(old, new) if each.before != each.after]
    return Change(word_change(old["body"], new["body"]), settings)


def _newer(template: Template, pk: int) -> list[Release]:
    """Return the releases after that revision up to the first that surely ends its version, newest first."""
    ending = (*registry.version_releases(), ENDS)
    after = Release.objects.filter(pk__gt=pk).defer("packed_configuration", "evidence").order_by("pk")
    first = after.filter(template=template, action__in=ending).first()
    others = _of_several().filter(revision__gt=pk, **({"revision__lt": first.pk} if first else {}))
    between = after.filter(pk__in=list(others.values_list("revision", flat=True))).order_by("-pk")
    return [*([first] if first else []), *between]


def _of_several() -> QuerySet[AuditEntry]:
    """Return the entries of the releases that may change several templates. The audit finds actions by an index."""
    return AuditEntry.objects.filter(action__in=_actions_of_several(), revision__isnull=False)


def _actions_of_several() -> tuple[str, ...]:
    return registry.names(lambda action: action.makes_versions_live)
