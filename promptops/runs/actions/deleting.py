"""Deleting old runs with their attempts and verdicts. Their totals stay; erasing texts belongs to `erasing`."""

from collections.abc import Sequence

from promptops.ledger import registry
from promptops.ledger.audit import SYSTEM, Actor
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.runs.actions import _totals
from promptops.runs.actions._passes import work_off
from promptops.runs.enums import ExpiryKind
from promptops.runs.models import Attempt, Run, SafetyCheck
from promptops.runs.queries.expiry import deletable

registry.register(
    Action(
        "run.deleted",
        "{actor} deleted the runs older than {after[days]} days ({after[runs]} in all)",
        when="runs older than the deletion setting were deleted",
    ),
)


def delete_expired(*, by: Actor = SYSTEM) -> int:
    """Delete the runs older than the deletion setting, in small transactions, and return their number.

    Only runs whose texts are erased are deleted, so all that other features hold of them is erased before.
    """
    days = LiveConfiguration.objects.values_list("run_deletion_days", flat=True).get(pk=1)
    if days is None:
        return 0
    runs = deletable(days).exclude(erased_at=None)

    def delete(ids: Sequence[int]) -> list[int]:
        # Locked in order, so that a person who erases one of them waits.
        locked = runs.select_for_update(of=("self",)).filter(pk__in=ids).order_by("pk")
        old_ids = list(locked.values_list("pk", flat=True))
        _totals.add(old_ids)
        # Not `delete`, which would fetch the runs and look for all that refers to them. The database refuses to delete
        # a run that something else refers to.
        for rows in (Attempt.objects.filter(run__in=old_ids), SafetyCheck.objects.filter(run__in=old_ids)):
            rows._raw_delete(rows.db)
        Run.objects.filter(pk__in=old_ids)._raw_delete(runs.db)
        return old_ids

    return work_off(ExpiryKind.DELETE, days, runs, delete, by=by)
