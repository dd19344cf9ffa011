"""Last good: restoring everything that an earlier revision had live, as one release.

Each part of the live configuration restores itself (`ledger.parts.restores`). Levers, keys and what decides how long
runs are kept stay as they are.
"""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.ledger import parts, registry
from promptops.ledger.audit import Actor
from promptops.ledger.configurations import DamagedConfiguration
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import LiveConfiguration, Release
from promptops.ledger.parts import Restoration
from promptops.ledger.registry import Action
from promptops.ledger.releases import next_revision, record_release

LAST_GOOD = "lever.last_good"

registry.value_labels({"stays": "Stays as it is", "parts": "Changed parts", "templates": "Changed templates"})
registry.register(
    Action(
        LAST_GOOD,
        "{actor} restored everything as r{after[revision]} had it",
        when="somebody restored everything that an earlier revision had live",
        makes_versions_live=True,
        passes_freeze=True,
    )
)

NO_NOTE = "Type a note that says why. It is in the history."


@dataclass(frozen=True)
class Restored:
    """The effect of restoring: the configuration before and after it, and a sentence for each thing that stays."""

    before: dict[str, Any]
    after: dict[str, Any]
    stays: list[str]

    @property
    def changed_parts(self) -> list[str]:
        """Return the names of the parts that differ."""
        return [name for name in parts.restorable() if self.before.get(name) != self.after.get(name)]

    @property
    def changed_templates(self) -> list[str]:
        """Return the name of each template that changes, and how: "enhance v2", "caption not live"."""
        before, after = ({row["name"]: row for row in side["templates"]} for side in (self.before, self.after))
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return [f"{name} {_how(before.get(name), after.get(name))}" for name in names]


def _how(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    if after is None:
        return "not live"
    if before is None or before["version"] != after["version"]:
        return f"v{after['version']}"
    return "is the default" if after["default"] else "is no longer the default"


@transaction.atomic
def restore_all(revision: int, *, by: Actor, note: str, expected: int) -> Restored:
    """Restore everything that `revision` had live, as one release.

    `expected` is the newest revision that the person saw; raises Stale if there is a newer one. Raises Refused for a
    revision that stored no configuration, or if nothing would change, and ValidationError without a note.
    """
    note = note.strip()
    if not note:
        raise ValidationError({"note": NO_NOTE})
    new = next_revision()
    if new != expected + 1:
        raise Stale(f"r{new - 1} was released in the meantime. Look at the changes again, then restore r{revision}.")
    restored, restorations = _planned(revision, new - 1)
    if not restored.changed_parts:
        raise Refused(f"Nothing to restore: everything is as r{revision} had it. {' '.join(restored.stays)}".strip())
    for restoration in restorations:
        restoration.save(new)
    record_release(
        new,
        LAST_GOOD,
        by=by,
        object_name=f"r{revision}",
        before={"revision": expected},
        after={
            "revision": revision,
            "parts": ", ".join(restored.changed_parts),
            **({"templates": restored.changed_templates} if restored.changed_templates else {}),
            **({"stays": "\n".join(restored.stays)} if restored.stays else {}),
        },
        note=note,
    )
    return restored


def preview(revision: int) -> Restored:
    """Return what `restore_all` would change, all of it read at one revision. It writes nothing and takes no lock.

    Raises Refused as `restore_all` does.
    """
    while True:
        newest = _newest()
        restored, _ = _planned(revision, newest)
        if _newest() == newest:
            return restored


def _newest() -> int:
    return LiveConfiguration.objects.values_list("revision", flat=True).get(pk=1)


def _planned(revision: int, newest: int) -> tuple[Restored, list[Restoration]]:
    release = Release.objects.filter(pk=revision).first()
    if release is None or revision >= newest:
        raise Refused(f"r{revision} is no earlier revision. Choose one from the list.")
    try:
        stored = release.configuration
    except DamagedConfiguration:
        raise Refused(f"The stored configuration of r{revision} is damaged. Choose another revision.") from None
    if stored is None:
        raise Refused(f"r{revision} is too old: it did not store what was live. Choose a newer revision.")
    before = parts.configuration()
    restorations = parts.restorations(stored, before)
    after = before | {name: each.after for name, each in restorations.items()}
    stays = [sentence for each in restorations.values() for sentence in each.stays]
    return Restored(before, after, stays), [*restorations.values()]
