"""Exports in the audit: anybody who reads can export, as often as they like, and nobody may flood the audit with it."""

from datetime import timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import F
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditHead, ExportTally
from promptops.ledger.registry import Action
from promptops.platform import background

registry.noun("exports", "Exports")
registry.register(
    Action(
        "exports.counted",
        "{actor} exported {after[exports]} more times ({object})",
        when="a person exported more of one kind within a minute of an entry; how often, and the first 20 names",
        is_change=False,
    )
)

EXPORTS_EVERY = timedelta(minutes=1)
"""At most one entry for a person and a kind of export in this time; further exports are counted in the next entry."""

NAMES_KEPT = 20
"""How many names of exported things a tally keeps; the count goes on."""


@transaction.atomic
def record_export(
    action: str,
    *,
    by: Actor,
    after: dict[str, Any],
    object: models.Model | None = None,
    object_name: str = "",
) -> int:
    """Record an export before it begins, and return the number of the newest audit entry that it may hold.

    A person's further exports of the same kind within `EXPORTS_EVERY` are counted; the next entry holds the count and
    the names as `also_exported`.
    """
    head = AuditHead.objects.select_for_update().get(pk=1)  # also makes two exports of one person wait for each other
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
    """Record what was only counted and has waited for at least `EXPORTS_EVERY`; return how many entries that made."""
    due = ExportTally.objects.filter(count__gt=0, since__lte=timezone.now() - EXPORTS_EVERY)
    if not due.exists():
        return 0
    AuditHead.objects.select_for_update().get(pk=1)
    tallies = list(due.select_related("user"))
    for tally in tallies:
        by = Actor.person(tally.user)
        audit.record("exports.counted", by=by, object_name=tally.action, after={"exports": tally.count} | _also(tally))
        # `since` goes on from here: this entry was the one of its minute.
        ExportTally.objects.filter(pk=tally.pk).update(since=timezone.now(), count=F("count") - tally.count, names=[])
    return len(tallies)


def _also(tally: ExportTally) -> dict[str, Any]:
    return {"also_exported": {"exports": tally.count, "names": tally.names}} if tally.count else {}
