"""The timeline: every release in order, and what the whole configuration was at a revision or at a moment."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Q, QuerySet
from django.utils.safestring import SafeString

from promptops.engine.operations import OPERATIONS
from promptops.history.queries import audit as audit_queries
from promptops.history.queries.audit import EntryPage, Value
from promptops.ledger import parts, registry
from promptops.ledger.audit import sentence_html
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.prompts.content import SETTINGS
from promptops.prompts.models import Template, Version
from promptops.runs.models import Run
from promptops.safety.live_part import STORED

# Runs of a revision are counted up to here; a page need not wait for more.
RUNS_COUNTED = 1_000


# What a row of the list tells in its sentence, or beside it.
TOLD_ELSEWHERE = {"Version", "Comparison", "Comparison name", "Evidence", "Again"}


@dataclass(frozen=True)
class ReleaseRow:
    """One release of the list: the sentences of its audit entries, and the short values that it changed."""

    release: Release
    entries: list[tuple[AuditEntry, SafeString]]
    values: list[Value]


@dataclass(frozen=True)
class LiveTemplate:
    """One template at a revision, and the release that put its version live (None: nothing was, or it is not known).

    `version` is None where an operation had no default template with a live version.
    """

    name: str
    operation: str
    version: int | None = None
    release: Release | None = None


@dataclass(frozen=True)
class Configuration:
    """The whole configuration at a revision.

    `operations` has each operation's default, `others` the rest of what was live, `providers` the chain in its order;
    `chain_release`, `settings_release` and `safety_release` are the newest ones, up to then, that changed the chain,
    the settings and the safety filter, whose `safety` is empty for older releases.
    """

    operations: list[LiveTemplate]
    others: list[LiveTemplate]
    providers: list[dict[str, Any]]
    variables: list[dict[str, Any]]
    settings: list[Value]
    chain_release: Release | None
    settings_release: Release | None
    safety: list[Value]
    safety_release: Release | None

    def of(self, template: Template) -> "LiveTemplate | None":
        """The template's place in it; None when it was not live."""
        return next((row for row in [*self.operations, *self.others] if row.name == template.name), None)


@dataclass(frozen=True)
class Moment:
    """What was live at the end of the second `at`: the newest release then (None: there was none), and the next one."""

    at: datetime
    release: Release | None
    next: Release | None
    configuration: Configuration | None


@dataclass(frozen=True)
class RevisionPage:
    """One revision: its release with its neighbors, what it changed, what it stood for (None: not kept), its runs."""

    release: Release
    previous: int | None
    next: Release | None
    entries: list[tuple[EntryPage, SafeString]]
    configuration: Configuration | None
    runs: int
    kept_since: int | None

    @property
    def more_runs(self) -> bool:
        """Whether there are more runs than were counted."""
        return self.runs > RUNS_COUNTED


def listed(template: Template | None = None) -> QuerySet[Release]:
    """All releases, or those of one template, without what they stood for."""
    releases = _light(Release.objects.all())
    return releases.filter(template=template) if template else releases


def told(releases: Iterable[Release]) -> list[ReleaseRow]:
    """The releases with what the audit says of them, in two queries."""
    releases = list(releases)
    entries = _entries(releases)
    rows = []
    for release in releases:
        found = entries.get(release.revision, [])
        values = [value for entry in found for value in _changed(entry)]
        rows.append(ReleaseRow(release, [(entry, sentence_html(entry)) for entry in found], values))
    return rows


def at(moment: datetime) -> Moment:
    """What was live at a moment, in a constant number of queries.

    People name moments by the second; what was released within it counts.
    """
    release = Release.objects.filter(at__lt=moment + timedelta(seconds=1)).order_by("-revision").first()
    following = Release.objects.defer("configuration").order_by("revision")
    after = following.filter(revision__gt=release.revision) if release else following
    return Moment(moment, release, after.first(), configuration_of(release) if release else None)


def found(revision: int) -> RevisionPage:
    """One revision, or Release.DoesNotExist."""
    release = Release.objects.select_related("template", "version", "replaced", "comparison").get(pk=revision)
    entries = [
        (EntryPage(entry, None, None, *audit_queries.changes(entry)), sentence_html(entry))
        for entry in AuditEntry.objects.filter(revision=revision).order_by("seq")
    ]
    after = Release.objects.defer("configuration").filter(revision__gt=revision).order_by("revision").first()
    before = Release.objects.filter(revision__lt=revision).aggregate(newest=Max("revision"))["newest"]
    return RevisionPage(
        release=release,
        previous=before,
        next=after,
        entries=entries,
        configuration=configuration_of(release),
        runs=Run.objects.filter(revision=revision)[: RUNS_COUNTED + 1].count(),
        kept_since=kept_since() if release.configuration is None else None,
    )


def kept_since() -> int | None:
    """The first revision whose whole configuration was kept; None when there is none yet."""
    kept = Release.objects.filter(configuration__isnull=False)
    return kept.order_by("revision").values_list("revision", flat=True).first()


def configuration_of(release: Release) -> Configuration | None:
    """What the release stood for, with who put each part there, in five queries; None when it was not kept."""
    kept = release.configuration
    if kept is None:
        return None
    put_live = _put_live([row["version_id"] for row in kept["templates"]], release.revision)
    rows = [
        (row["default"], LiveTemplate(row["name"], row["operation"], row["version"], put_live.get(row["version_id"])))
        for row in kept["templates"]
    ]
    defaults = {row.operation: row for default, row in rows if default}
    # In the order of the form; PostgreSQL keeps none.
    order = [field.name for field in LiveConfiguration._meta.concrete_fields]
    settings = sorted(kept["settings"].items(), key=lambda item: order.index(item[0]) if item[0] in order else 99)
    values, _ = audit_queries.changes(AuditEntry(after=dict(settings)))
    until = _light(Release.objects.filter(revision__lte=release.revision))
    return Configuration(
        operations=[defaults.get(name) or LiveTemplate("", name) for name in OPERATIONS],
        others=[row for default, row in rows if not default],
        providers=kept["providers"],
        variables=kept.get("variables", []),
        settings=values,
        chain_release=_changed_part(until, "providers"),
        settings_release=_changed_part(until, "settings"),
        safety=_safety(kept.get("safety", {})),
        safety_release=_changed_part(until, "safety"),
    )


def _changed_part(releases: QuerySet[Release], part: str) -> Release | None:
    """Return the newest of the releases that changed the part of the live configuration."""
    return releases.filter(action__startswith=f"{parts.part(part).noun}.").first()


def _safety(kept: dict[str, Any]) -> list[Value]:
    """Return what was set for the filter: terms, which are texts, come last."""
    order = ["mode", "when_language", "when_down", "when_unavailable", "model"]
    shown = {name: value for name, value in kept.items() if name != STORED}
    told = dict(sorted(shown.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))
    values, texts = audit_queries.changes(AuditEntry(after=told))
    return [*values, *texts]


def _changed(entry: AuditEntry) -> list[Value]:
    """The short values that an entry changed, but for what its sentence says: the version, or all of a new thing."""
    if not (entry.before and entry.after):
        return []
    return [value for value in audit_queries.changes(entry)[0] if value.changed and value.label not in TOLD_ELSEWHERE]


def _light(releases: QuerySet[Release]) -> QuerySet[Release]:
    """With what a row shows, without what is long."""
    related = releases.select_related("template", "version", "replaced", "comparison")
    return related.defer("configuration", "evidence", "version__body", "replaced__body")


def _entries(releases: list[Release]) -> dict[int, list[AuditEntry]]:
    """The audit entries of each release by revision, in order.

    Before and after of a version that went live hold two whole texts, a page of them megabytes; what a row shows of
    them, the versions say as well.
    """
    version_actions = registry.version_releases()
    went_live = {
        release.revision: release for release in releases if release.version and release.action in version_actions
    }
    of_versions = Q(revision__in=list(went_live), action__in=version_actions)
    entries = AuditEntry.objects.filter(revision__in=[release.revision for release in releases])
    short = list(entries.filter(of_versions).defer("before", "after"))
    for entry in short:
        release = went_live[entry.revision or 0]
        entry.before, entry.after = _version_told(release.replaced), _version_told(release.version)
    grouped: dict[int, list[AuditEntry]] = {}
    for entry in sorted([*short, *entries.exclude(of_versions)], key=lambda entry: entry.seq):
        grouped.setdefault(entry.revision or 0, []).append(entry)
    return grouped


def _version_told(version: Version | None) -> dict[str, Any] | None:
    """What the audit tells of a version, without its text."""
    if version is None:
        return None
    return {"version": version.number} | {name: getattr(version, name) for name in SETTINGS}


def _put_live(version_ids: list[int], revision: int) -> dict[int, Release]:
    """By version id: the newest release up to the revision that made it live."""
    releases = Release.objects.filter(
        version__in=version_ids, action__in=registry.version_releases(), revision__lte=revision
    )
    newest = releases.order_by().values("version").annotate(newest=Max("revision")).values("newest")
    return {row.version_id: row for row in _light(Release.objects.filter(revision__in=newest)) if row.version_id}
