"""Erasing the texts of runs: of one run, and of all that are older than the retention setting."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import SYSTEM, Actor
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.platform import events
from promptops.prompts.content import TEXTS
from promptops.runs.actions._passes import work_off
from promptops.runs.enums import ExpiryKind
from promptops.runs.erasers import ERASERS
from promptops.runs.models import WAITS, Attempt, Run, SafetyCheck
from promptops.runs.queries.expiry import erasable

registry.register(
    Action("run.erased", "{actor} erased the text of {object}", when="the text of a run was erased", object="run"),
    Action(
        "run.expired",
        "{actor} erased the texts of runs older than {after[days]} days ({after[runs]} in all)",
        when="texts older than the retention setting were erased",
    ),
)


@transaction.atomic
def erase(run: Run, *, by: Actor) -> None:
    """Erase all texts that a person typed or a model wrote. The figures stay."""
    if _erase(Run.objects.filter(pk=run.pk, erased_at=None), is_expiry=False):
        audit.record("run.erased", by=by, object=run)
        events.broadcast_on_commit(events.RUN_ERASED, run.pk)


def erase_expired(*, by: Actor = SYSTEM) -> int:
    """Erase the texts of runs older than the retention setting, or their operation's own. Return the number of runs."""
    days = LiveConfiguration.objects.values_list("run_retention_days", flat=True).get(pk=1)
    runs = erasable(days)

    def erase_batch(ids: Sequence[int]) -> list[int]:
        return _erase(runs.filter(pk__in=ids), is_expiry=True)

    return work_off(ExpiryKind.ERASE, days, runs, erase_batch, by=by)


def _erase(runs: QuerySet[Run], *, is_expiry: bool) -> list[int]:
    """Erase the texts of `runs`, which are not erased yet, and of all that quotes them. Return the ids of the runs."""
    # Locked in order: if two processes do this at once, each counts only the runs that it erased itself.
    ids = list(runs.select_for_update().order_by("pk").values_list("pk", flat=True))
    erased = Run.objects.filter(pk__in=ids)
    drafts: dict[str, Any] = {"draft_body": "", **{f"draft_{name}": None for name in TEXTS}}
    erased.update(input="", output="", raw="", **drafts, error="", erased_at=timezone.now())
    # A provider's error may quote the prompt, so messages are erased too.
    Attempt.objects.filter(run__in=ids).exclude(message="").update(message="")
    # A verdict names words of the text.
    quoting = SafetyCheck.objects.filter(run__in=ids)
    quoting.update(words=[], window="", reason="", report_note="")
    quoting.filter(WAITS).update(queue="")  # an erased text cannot be reviewed
    for eraser in ERASERS:
        eraser(erased, is_expiry)
    return ids
