"""Deleting old runs with their attempts and verdicts. Their totals stay; erasing texts belongs to `erasing`."""

from collections.abc import Sequence

from promptops.ledger import registry
from promptops.ledger.audit import SYSTEM, Actor
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.runs.actions import totals
from promptops.runs.actions.passes import work_off
from promptops.runs.enums import ExpiryKind
from promptops.runs.models import Run
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
        old = list(runs.select_for_update(of=("self",)).filter(pk__in=ids).order_by("pk").values_list("pk", flat=True))
        totals.add(old)
        # Attempts and verdicts go with their runs; an example of the safety filter forgets its run.
        Run.objects.filter(pk__in=old).only("pk").delete()
        return old

    return work_off(ExpiryKind.DELETE, days, runs, delete, by=by)
