"""Reads of levers: those that hold now, for every page, and the revisions that last good can restore."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from promptops.engine.snapshot import Lever as LiveLever
from promptops.fleet.actions.last_good import LAST_GOOD, Restored
from promptops.fleet.models import Lever
from promptops.ledger import parts, registry
from promptops.ledger.models import AuditEntry, Release
from promptops.live import snapshots as live

OFFERED = 20
"""Earlier releases that last good offers."""
LISTED = 50
"""Levers that the page lists."""
MOST_CHARACTERS = 200
HIDDEN_COLUMNS = {"version_id", "stored"}
"""Stored values that say nothing to a person, or the same as another one."""


@dataclass(frozen=True)
class HoldingLevers:
    """The levers that hold now, from the snapshot of this process, and the snapshot's revision."""

    revision: int
    levers: tuple[LiveLever, ...]


def holding() -> HoldingLevers:
    """Return the levers that hold now. Reads memory only."""
    snapshot, now = live.current(), timezone.now()
    return HoldingLevers(snapshot.revision, tuple(lever for lever in snapshot.levers if lever.holds(now)))


def recent_levers() -> QuerySet[Lever]:
    """Return the newest levers, those that hold included."""
    return Lever.objects.all()[:LISTED]


def pass_through_operations() -> list[str]:
    """Return the operations whose inputs can pass through."""
    return [spec.name for spec in live.current().operations.values() if spec.can_pass_through]


@dataclass(frozen=True)
class EarlierRelease:
    """A release that last good can restore, and what it did."""

    revision: int
    at: datetime
    by: str
    what: str


def earlier_releases() -> list[EarlierRelease]:
    """Return the releases before the newest one that stored what was live, newest first."""
    stored = Release.objects.exclude(packed_configuration=None).defer("packed_configuration", "evidence")
    rows = stored.select_related("template", "version").defer("version__body")
    newest = Release.objects.values_list("revision", flat=True).first() or 0
    return [EarlierRelease(row.pk, row.at, row.user_name, _what(row)) for row in rows.filter(pk__lt=newest)[:OFFERED]]


def default_revision(earlier: list[EarlierRelease]) -> int | None:
    """Return the revision before the newest release that was no lever; None if there is none."""
    changes = Release.objects.exclude(action__startswith="lever.").values_list("revision", flat=True)
    newest = changes.first() or 0
    return next((row.revision for row in earlier if row.revision < newest), None)


def _what(release: Release) -> str:
    """Return the release in few words, such as "template.published enhance v3"."""
    words = [release.action.replace(".", " ").replace("_", " ")]
    if release.template:
        words.append(release.template.name)
    if release.version and release.action in registry.version_releases():
        words.append(f"v{release.version.number}")
    return " ".join(words)


def restored_template(name: str) -> dict[int, str]:
    """Return the revisions by which last good changed the template, newest first, each with how, such as "v2"."""
    entries = AuditEntry.objects.filter(action=LAST_GOOD).order_by("-seq").values_list("revision", "after")
    changes = [(revision or 0, change) for revision, after in entries for change in (after or {}).get("templates", [])]
    return {revision: change[len(name) + 1 :] for revision, change in changes if change.startswith(f"{name} ")}


@dataclass(frozen=True)
class ValueChange:
    """One value that restoring changes, in words."""

    label: str
    before: str
    after: str


def value_changes(restored: Restored) -> list[ValueChange]:
    """Return the values that restoring changes, by part of the live configuration."""
    changes = []
    for name in restored.changed_parts:
        before, after = _flat(restored.before.get(name)), _flat(restored.after.get(name))
        label = parts.part(name).noun.capitalize()
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                changes.append(ValueChange(f"{label} {key}".strip(), _words(before.get(key)), _words(after.get(key))))
    return changes


def _flat(stored: Any) -> dict[str, Any]:
    """Return the values of a stored part by the name of the object and of the value."""
    if isinstance(stored, dict):
        shown = {key: value for key, value in stored.items() if key not in HIDDEN_COLUMNS}
        return {registry.value_label(key).lower(): registry.shown_value(key, value) for key, value in shown.items()}
    flat: dict[str, Any] = {}
    names = [_name(row) for row in stored or []]
    for name, row in zip(names, stored or [], strict=True):
        for key, value in row.items():
            if key not in HIDDEN_COLUMNS | {"name", "operation"}:
                flat[f"{name}: {registry.value_label(key).lower()}"] = registry.shown_value(key, value)
    if names and "model" in stored[0]:  # the chain, whose order counts
        flat["order"] = ", ".join(names)
    return flat


def _name(row: dict[str, Any]) -> str:
    """Return the name of a row. Names of variables repeat, so theirs has the operation."""
    return f"{row['operation']}.{row['name']}" if "value" in row else row["name"]


def _words(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
