"""Releases for pages: the list, and the whole configuration at a revision or a moment.

The stored values come from the parts of the configuration (`ledger.parts`).
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Q, QuerySet
from django.utils.safestring import SafeString

from promptops.engine.operations import OPERATIONS
from promptops.fleet.queries.levers import restored_template
from promptops.history.queries import audit as audit_queries
from promptops.history.queries.audit import EntryPage, Value
from promptops.ledger import parts, registry
from promptops.ledger.configurations import DamagedConfiguration
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.ledger.sentences import sentence_html
from promptops.prompts.content import SETTINGS
from promptops.prompts.models import Template, Version
from promptops.prompts.operation_words import summary
from promptops.runs.models import Run
from promptops.runs.queries.expiry import deleted_of_revision
from promptops.safety.live_part import STORED

log = logging.getLogger(__name__)

RUNS_COUNTED = 1_000
"""Runs of a revision are counted up to this number, so that a page never waits for a long count."""

SHOWN_ELSEWHERE = {"Version", "Comparison", "Comparison name", "Evidence", "Again", "Asked by"}
"""The labels of values that a row of the list shows in its sentence or as links."""


@dataclass(frozen=True)
class ReleaseRow:
    """A release in the list: the sentences of its audit entries, and the short values that it changed."""

    release: Release
    entries: list[tuple[AuditEntry, SafeString]]
    values: list[Value]


@dataclass(frozen=True)
class LiveTemplate:
    """A template at a revision, and the release that made its version live (None: unknown, or no version was live).

    `version` is None if the operation had no default template with a live version. `declared` is the operation in one
    line, "" for old releases, which did not store it.
    """

    name: str
    operation: str
    version: int | None = None
    release: Release | None = None
    declared: str = ""

    @property
    def has_built_in_text(self) -> bool:
        """Return whether the engine has a text for the operation."""
        return self.operation in OPERATIONS


@dataclass(frozen=True)
class Configuration:
    """The whole configuration at a revision.

    `operations` has the default template of each operation, `others` the other live templates, and `providers` the
    chain in its order. `chain_release`, `settings_release` and `safety_release` are the newest releases up to the
    revision that changed these parts. `safety` is empty for old releases, which did not store it.
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
        """Return the template's row; None if it was not live."""
        return next((row for row in [*self.operations, *self.others] if row.name == template.name), None)


@dataclass(frozen=True)
class Moment:
    """The configuration at the end of the second `at`, with its release (None: no release yet) and the next one.

    `configuration` is None if it is not stored, or if it `is_damaged`.
    """

    at: datetime
    release: Release | None
    next: Release | None
    configuration: Configuration | None
    is_damaged: bool


@dataclass(frozen=True)
class RevisionPage:
    """A revision: its release and neighbors, its changes, its whole configuration and its runs.

    `configuration` is None if it is not stored, or if it `is_damaged`. `deleted_runs` are not
    among `runs`.
    """

    release: Release
    previous: int | None
    next: Release | None
    entries: list[tuple[EntryPage, SafeString]]
    configuration: Configuration | None
    is_damaged: bool
    runs: int
    deleted_runs: int
    kept_since: int | None

    @property
    def more_runs(self) -> bool:
        """Return whether there are more runs than were counted."""
        return self.runs > RUNS_COUNTED


def listed(template: Template | None = None) -> QuerySet[Release]:
    """Return all releases, or those that changed one template, without their configurations."""
    releases = _light(Release.objects.all())
    if template is None:
        return releases
    return releases.filter(Q(template=template) | Q(pk__in=restored_template(template.name)))


def release_rows(releases: Iterable[Release]) -> list[ReleaseRow]:
    """Return the releases with the sentences of their audit entries, by two queries."""
    releases = list(releases)
    entries = _entries(releases)
    rows = []
    for release in releases:
        own = entries.get(release.revision, [])
        values = [value for entry in own for value in _changed(entry)]
        rows.append(ReleaseRow(release, [(entry, sentence_html(entry)) for entry in own], values))
    return rows


def at(moment: datetime) -> Moment:
    """Return the live configuration at a moment, by a constant number of queries.

    Moments are given to the second. A release within that second counts.
    """
    # Its number first: to find the newest row, SQLite would sort all releases with their configurations.
    newest = Release.objects.filter(at__lt=moment + timedelta(seconds=1)).aggregate(newest=Max("revision"))["newest"]
    release = Release.objects.filter(pk=newest).first()
    following = Release.objects.defer("packed_configuration").order_by("revision")
    after = following.filter(revision__gt=release.revision) if release else following
    return Moment(moment, release, after.first(), *(_readable(release) if release else (None, False)))


def revision_page(revision: int) -> RevisionPage:
    """Return one revision for its page. Raises Release.DoesNotExist."""
    release = Release.objects.select_related("template", "version", "replaced", "comparison").get(pk=revision)
    entries = [
        (EntryPage(entry, None, None, *audit_queries.changes(entry)), sentence_html(entry))
        for entry in AuditEntry.objects.filter(revision=revision).order_by("seq")
    ]
    after = Release.objects.defer("packed_configuration").filter(revision__gt=revision).order_by("revision").first()
    before = Release.objects.filter(revision__lt=revision).aggregate(newest=Max("revision"))["newest"]
    configuration, is_damaged = _readable(release)
    return RevisionPage(
        release=release,
        previous=before,
        next=after,
        entries=entries,
        configuration=configuration,
        is_damaged=is_damaged,
        runs=Run.objects.filter(revision=revision)[: RUNS_COUNTED + 1].count(),
        deleted_runs=deleted_of_revision(revision),
        kept_since=kept_since() if release.packed_configuration is None else None,
    )


def kept_since() -> int | None:
    """Return the first revision whose whole configuration is stored; None if there is none."""
    complete = Release.objects.filter(packed_configuration__isnull=False)
    return complete.order_by("revision").values_list("revision", flat=True).first()


def _readable(release: Release) -> tuple[Configuration | None, bool]:
    """Return the configuration at a release, and whether it is damaged; the log has the reason."""
    try:
        return configuration_of(release), False
    except DamagedConfiguration as error:
        log.error("The stored configuration of revision %d is damaged (%s).", release.revision, error)
        return None, True


def configuration_of(release: Release) -> Configuration | None:
    """Return the configuration at a release and the release of each part, by at most six queries; None if not stored.

    Raises DamagedConfiguration.
    """
    stored = release.configuration
    if stored is None:
        return None
    releases = _made_live_by([row["version_id"] for row in stored["templates"]], release.revision)
    rows = [
        (
            row["default"],
            LiveTemplate(row["name"], row["operation"], row["version"], releases.get(row["version_id"])),
        )
        for row in stored["templates"]
    ]
    defaults = {row.operation: row for default, row in rows if default}
    # Older releases store no operations: there were the built-in ones only.
    declared = {operation["name"]: summary(operation) for operation in stored.get("operations", [])}
    names = declared or dict.fromkeys(OPERATIONS, "")
    # In the order of the form, because PostgreSQL keeps no order of keys.
    order = [field.name for field in LiveConfiguration._meta.concrete_fields]
    settings = sorted(stored["settings"].items(), key=lambda item: order.index(item[0]) if item[0] in order else 99)
    values, _ = audit_queries.changes(AuditEntry(after=dict(settings)))
    until = _light(Release.objects.filter(revision__lte=release.revision))
    return Configuration(
        operations=[
            replace(defaults.get(name) or LiveTemplate("", name), declared=line) for name, line in names.items()
        ],
        others=[row for default, row in rows if not default],
        providers=stored["providers"],
        variables=stored.get("variables", []),
        settings=values,
        chain_release=_changed_part(until, "providers"),
        settings_release=_changed_part(until, "settings"),
        safety=_safety(stored.get("safety", {})),
        safety_release=_changed_part(until, "safety"),
    )


def _changed_part(releases: QuerySet[Release], part: str) -> Release | None:
    """Return the newest release that changed this part of the live configuration."""
    return releases.filter(action__startswith=f"{parts.part(part).noun}.").first()


def _safety(stored: dict[str, Any]) -> list[Value]:
    """Return the values of the safety filter. Terms, which are texts, come last."""
    order = ["mode", "when_language", "expected_languages", "when_expected", "when_down", "when_unavailable", "model"]
    order += ["second_mode", "second_scope"]
    shown = {name: value for name, value in stored.items() if name != STORED}
    in_order = dict(sorted(shown.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))
    values, texts = audit_queries.changes(AuditEntry(after=in_order))
    return [*values, *texts]


def _changed(entry: AuditEntry) -> list[Value]:
    """Return the short values that an entry changed, except those in its sentence, and none for a new object."""
    if not (entry.before and entry.after):
        return []
    return [value for value in audit_queries.changes(entry)[0] if value.changed and value.label not in SHOWN_ELSEWHERE]


def _light(releases: QuerySet[Release]) -> QuerySet[Release]:
    """Load the related objects that a row shows, without long columns."""
    related = releases.select_related("template", "version", "replaced", "comparison")
    return related.defer("packed_configuration", "evidence", "version__body", "replaced__body")


def _entries(releases: list[Release]) -> dict[int, list[AuditEntry]]:
    """Return the audit entries of the releases by revision, in order.

    An entry about a live version contains two whole texts, so a page of them would be megabytes. Such entries are
    loaded without texts, and their values are taken from the versions.
    """
    version_actions = registry.version_releases()
    of_version = {
        release.revision: release for release in releases if release.version and release.action in version_actions
    }
    of_versions = Q(revision__in=list(of_version), action__in=version_actions)
    entries = AuditEntry.objects.filter(revision__in=[release.revision for release in releases])
    short = list(entries.filter(of_versions).defer("before", "after"))
    for entry in short:
        release = of_version[entry.revision or 0]
        entry.before, entry.after = _version_values(release.replaced), _version_values(release.version)
    grouped: dict[int, list[AuditEntry]] = {}
    for entry in sorted([*short, *entries.exclude(of_versions)], key=lambda entry: entry.seq):
        grouped.setdefault(entry.revision or 0, []).append(entry)
    return grouped


def _version_values(version: Version | None) -> dict[str, Any] | None:
    """Return the values of a version as its audit entry has them, without the text."""
    if version is None:
        return None
    who = {"asked_by": version.author_name}  # in the sentence of a release that somebody asked for
    return {"version": version.number} | who | {name: getattr(version, name) for name in SETTINGS}


def _made_live_by(version_ids: list[int], revision: int) -> dict[int, Release]:
    """Return by version id the newest release, up to the revision, that made the version live."""
    releases = Release.objects.filter(
        version__in=version_ids, action__in=registry.version_releases(), revision__lte=revision
    )
    newest = releases.order_by().values("version").annotate(newest=Max("revision")).values("newest")
    return {row.version_id: row for row in _light(Release.objects.filter(revision__in=newest)) if row.version_id}
