"""The steps that every release has in common. The verbs that release something belong to their features."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db import models, transaction
from django.db.models import F

from promptops.ledger import audit, parts, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Frozen
from promptops.ledger.models import LiveConfiguration, Release
from promptops.platform import events

AT_COMMIT: list[Callable[[], object]] = []
"""Called when a release commits: `live.snapshots` swaps the snapshot of this process."""

FREEZES: list[Callable[[], str]] = []
"""Return why nothing is released now, as sentences, or "". They read the database in the transaction of the release."""

registry.value_labels({"override_pins": "Applied to pinned sessions too"})
_overrides_pins: ContextVar[bool] = ContextVar("overrides_pins", default=False)


@contextmanager
def overriding_pins(wanted: bool) -> Iterator[None]:
    """Let the releases that the body makes apply to pinned sessions too, if this is wanted.

    As with a transaction, each verb that releases something takes part without a parameter of its own.
    """
    token = _overrides_pins.set(wanted)
    try:
        yield
    finally:
        _overrides_pins.reset(token)


@dataclass(frozen=True)
class Reason:
    """The comparison that is the reason for a release, and its result at that moment (`compare.queries.evidence`)."""

    comparison_id: int
    comparison_name: str
    evidence: dict[str, Any]

    @property
    def audit_values(self) -> dict[str, Any]:
        """Return the reason in the form that an audit entry stores: entries outlive everything else."""
        line = self.evidence.get("line", "")
        return {"comparison": self.comparison_id, "comparison_name": self.comparison_name, "evidence": line}


def next_revision() -> int:
    """Raise the revision by one and return it.

    Call this first in the transaction. Other releases wait until it ends, so revisions have no gap and nothing that
    the transaction reads is outdated.
    """
    LiveConfiguration.objects.filter(pk=1).update(revision=F("revision") + 1)
    return LiveConfiguration.objects.values_list("revision", flat=True).get(pk=1)


def record_release(
    revision: int,
    action: str,
    *,
    by: Actor,
    object: models.Model | None = None,
    object_name: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    note: str = "",
    template: models.Model | None = None,
    version: models.Model | None = None,
    replaced: models.Model | None = None,
    because: Reason | None = None,
) -> Release:
    """Store the release and its audit entry, and make the revision live in every process on commit.

    `because` links the comparison that is the reason. Call this last in the transaction: the live configuration at
    this point is stored as that of the revision. `overriding_pins` adds that it applies to pinned sessions too. Raises
    Frozen during a freeze, unless the action passes it.
    """
    refuse_if_frozen(action, before or {}, after or {})
    # Swapped before any hint is sent. Robust: an error here cannot undo the commit, and `live.follow` swaps later.
    for callback in AT_COMMIT:
        transaction.on_commit(callback, robust=True)
    overrides_pins = _overrides_pins.get()
    if overrides_pins:
        LiveConfiguration.objects.filter(pk=1).update(pins_from=revision)
        after = {**(after or {}), "override_pins": True}
    release = Release(
        revision=revision,
        action=action,
        user=by.user,
        user_name=by.name,
        note=note,
        template_id=_pk(template),
        version_id=_pk(version),
        replaced_id=_pk(replaced),
        overrides_pins=overrides_pins,
        comparison_id=because.comparison_id if because else None,
        evidence=because.evidence if because else None,
    )
    release.store(parts.configuration())
    release.save(force_insert=True)
    audit.record(
        action,
        by=by,
        object=object,
        object_name=object_name,
        before=before,
        after={**(after or {}), **because.audit_values} if because else after,
        note=note,
        revision=revision,
    )
    events.broadcast_on_commit(events.REVISION_RELEASED, revision)
    return release


def refuse_if_frozen(action: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Raise Frozen if there is a freeze and a release with this action does not pass it.

    Every release comes here in its transaction, so a refused one leaves nothing behind.
    """
    if registry.action(action).may_pass_freeze(before, after):
        return
    if sentence := " ".join(filter(None, (freeze() for freeze in FREEZES))):
        raise Frozen(sentence)


def _pk(row: models.Model | None) -> int | None:
    return row.pk if row is not None else None
