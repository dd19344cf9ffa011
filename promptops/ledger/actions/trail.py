"""What people do about the audit itself: exporting it, being refused, and putting its triggers back."""

from datetime import timedelta

from django.db import connection, transaction
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry, AuditHead, audit_triggers
from promptops.ledger.registry import Action
from promptops.people.models import User

registry.noun("audit", "Audit")
registry.noun("access", "Refusals")
registry.value_labels({"q": "Search"})
registry.register(
    Action(
        "audit.exported",
        "{actor} exported audit entries as {after[format]}",
        when="audit entries were exported; with the filters",
        is_change=False,
    ),
    Action(
        "audit.protected",
        "{actor} put back the triggers that keep the audit from being changed ({before[missing]})",
        when="missing triggers were put back",
    ),
    Action(
        "access.refused",
        "{actor} was refused: {object} ({after[method]}, needs {after[needs]})",
        when="somebody was refused what their role does not allow; at most once a minute for each person and target",
        is_change=False,
    ),
)

REFUSALS_EVERY = timedelta(minutes=1)
"""At most one refusal of a person at one target is recorded in this time, so that nobody floods the audit."""


def record_refusal(target: str, *, by: Actor, method: str, permission: str, path: str = "") -> bool:
    """Note that `by` was refused `target` (a view's name, or what a page's socket asked for) for want of a permission.

    Returns False where the same refusal was noted within the last minute. `path` does not count as a target: anybody
    can ask for any number of addresses.
    """
    if _refused_lately(target, by.user):
        return False  # the usual answer to a flood takes no lock
    with transaction.atomic():
        AuditHead.objects.select_for_update().get(pk=1)
        if _refused_lately(target, by.user):
            return False
        after = {"method": method, "needs": permission, **({"path": path[:200]} if path else {})}
        audit.record("access.refused", by=by, object_name=target, after=after)
    return True


def _refused_lately(target: str, user: User | None) -> bool:
    # All that happened in that time is looked through: by its index that is a few rows, whatever was told before.
    lately = AuditEntry.objects.filter(at__gt=timezone.now() - REFUSALS_EVERY)
    return ("access.refused", user and user.pk, target) in lately.values_list("action", "actor_id", "object_name")


@transaction.atomic
def protect(*, by: Actor) -> list[str]:
    """Put back the triggers that are missing, and note which; their names, none if all were there."""
    missing = audit_triggers.missing(connection)
    if missing:
        audit_triggers.install(connection)
        audit.record("audit.protected", by=by, object_name="the audit", before={"missing": ", ".join(missing)})
    return missing
