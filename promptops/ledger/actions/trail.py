"""Actions about the audit itself: exporting it, recording refusals, and restoring its triggers."""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import connection, transaction
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry, AuditHead, audit_triggers
from promptops.ledger.registry import Action

if TYPE_CHECKING:
    from promptops.people.models import User

registry.noun("audit", "Audit")
registry.noun("access", "Refusals")
registry.value_labels({"q": "Search"})
registry.register(
    Action(
        "audit.exported",
        "{actor} exported audit entries as {after[format]}",
        when="audit entries were exported; the entry has the filters",
        is_change=False,
    ),
    Action(
        "audit.protected",
        "{actor} restored the triggers that protect the audit ({before[missing]})",
        when="missing triggers were restored",
    ),
    Action(
        "access.refused",
        "{actor} was refused: {object} ({after[method]}, needs {after[needs]})",
        when="somebody was refused what their role does not allow; at most once a minute for each person and target",
        is_change=False,
    ),
)

REFUSALS_EVERY = timedelta(minutes=1)
"""A person makes at most one entry in this time for each target, so that nobody can flood the audit."""


def record_refusal(target: str, *, by: Actor, method: str, permission: str, path: str = "") -> bool:
    """Record that `by` lacked the permission for `target` (a view's name, or the action of a socket message).

    Returns False if the same refusal was recorded within `REFUSALS_EVERY`. `path` is not part of the target, because
    anybody can ask for any number of addresses.
    """
    if _refused_lately(target, by.user):
        return False  # without the lock, because this is the usual case during a flood
    with transaction.atomic():
        AuditHead.objects.select_for_update().get(pk=1)
        if _refused_lately(target, by.user):
            return False
        after = {"method": method, "needs": permission, **({"path": path[:200]} if path else {})}
        audit.record("access.refused", by=by, object_name=target, after=after)
    return True


def _refused_lately(target: str, user: "User | None") -> bool:
    # The index on `at` finds the few entries of that time.
    lately = AuditEntry.objects.filter(at__gt=timezone.now() - REFUSALS_EVERY)
    return ("access.refused", user and user.pk, target) in lately.values_list("action", "actor_id", "object_name")


@transaction.atomic
def protect(*, by: Actor) -> list[str]:
    """Restore missing triggers and record it. Return their names."""
    missing = audit_triggers.missing(connection)
    if missing:
        audit_triggers.install(connection)
        audit.record("audit.protected", by=by, object_name="the audit", before={"missing": ", ".join(missing)})
    return missing
