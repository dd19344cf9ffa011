"""Exports in the audit. Every reader may export as often as they like, so entries are limited and the rest is counted.

The files themselves are written by `web.exports` and by the features.
"""

from datetime import timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import F
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry, AuditHead, ExportTally
from promptops.ledger.registry import Action
from promptops.platform import background

registry.noun("exports", "Exports")
registry.register(
    Action(
        "exports.counted",
        "{actor} exported {after[exports]} more times ({object})",
        when="a person exported more of one kind within a minute; the entry has the count and the first 20 names",
        is_change=False,
    )
)

EXPORTS_EVERY = timedelta(minutes=1)
"""A person makes at most one entry in this time for each kind of export. The next entry counts the exports between."""

NAMES_KEPT = 20
"""The number of names that a tally stores. Further exports are only counted."""


@transaction.atomic
def record_export(
    action: str,
    *,
    by: Actor,
    after: dict[str, Any],
    object: models.Model | None = None,
    object_name: str = "",
) -> int:
    """Record an export before it begins. Return the number of the newest audit entry that the export may contain.

    Further exports of the same person and kind within `EXPORTS_EVERY` are only counted. The next entry has the count
    and the names as `also_exported`. A token makes at most one entry in that time, too; its others are not counted.
    """
    head = AuditHead.objects.select_for_update().get(pk=1)  # two exports of one person wait for each other, too
    if by.token is not None and _exported_lately(action, by.token):
        return head.seq
    if by.user is None:
        audit.record(action, by=by, object=object, object_name=object_name, after=after)
        return head.seq
    tally, _ = ExportTally.objects.get_or_create(user=by.user, action=action)
    now = timezone.now()
    if tally.since and now - EXPORTS_EVERY < tally.since <= now:
        name = object_name or str(object)
        if name not in tally.names:
            tally.names = [*tally.names, name][:NAMES_KEPT]
        tally.count += 1
        tally.save(update_fields=["count", "names"])
        return head.seq
    audit.record(action, by=by, object=object, object_name=object_name, after=after | _also(tally))
    ExportTally.objects.filter(pk=tally.pk).update(since=now, count=0, names=[])
    return head.seq


@transaction.atomic
@background.hourly
def record_counted_exports() -> int:
    """Record exports that were only counted, once `EXPORTS_EVERY` has passed. Return the number of entries made."""
    due = ExportTally.objects.filter(count__gt=0, since__lte=timezone.now() - EXPORTS_EVERY)
    if not due.exists():
        return 0
    AuditHead.objects.select_for_update().get(pk=1)
    tallies = list(due.select_related("user"))
    for tally in tallies:
        by = Actor.person(tally.user)
        audit.record("exports.counted", by=by, object_name=tally.action, after={"exports": tally.count} | _also(tally))
        # The next `EXPORTS_EVERY` starts with this entry.
        ExportTally.objects.filter(pk=tally.pk).update(since=timezone.now(), count=F("count") - tally.count, names=[])
    return len(tallies)


def _exported_lately(action: str, token: int) -> bool:
    # The index on `at` finds the few entries of that time.
    lately = AuditEntry.objects.filter(at__gt=timezone.now() - EXPORTS_EVERY)
    return (action, token) in lately.values_list("action", "token_id")


def _also(tally: ExportTally) -> dict[str, Any]:
    return {"also_exported": {"exports": tally.count, "names": tally.names}} if tally.count else {}
