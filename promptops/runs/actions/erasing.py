"""Erasing the texts of runs: of one run, and of all that are older than the retention setting."""

from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import SYSTEM, Actor
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.platform import events
from promptops.prompts.models import Operation
from promptops.runs.enums import RunSource
from promptops.runs.erasers import ERASERS
from promptops.runs.models import Attempt, Run, SafetyCheck

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
    if _erase(Run.objects.filter(pk=run.pk), is_expiry=False):
        audit.record("run.erased", by=by, object=run)
        events.broadcast_on_commit(events.RUN_ERASED, run.pk)


@transaction.atomic
def erase_expired(*, by: Actor = SYSTEM) -> int:
    """Erase the texts of runs older than their operation's retention or the setting. Return the number of runs."""
    days = LiveConfiguration.objects.values_list("run_retention_days", flat=True).get(pk=1)
    rows = Operation.objects.exclude(retention_days=None).values_list("name", "retention_days")
    own = {name: own_days for name, own_days in rows if own_days}
    erased = _expire(Run.objects.exclude(operation__in=own), days, by)
    for own_days in sorted(set(own.values())):
        names = [name for name, each in own.items() if each == own_days]
        erased += _expire(Run.objects.filter(operation__in=names), own_days, by)
    return erased


def _expire(runs: QuerySet[Run], days: int, by: Actor) -> int:
    # Inputs of a comparison are the operators' own and stay with it. A single run of it can still be erased.
    old = runs.filter(at__lt=timezone.now() - timedelta(days=days)).exclude(source=RunSource.COMPARISON)
    erased = _erase(old, is_expiry=True)
    if erased:
        audit.record("run.expired", by=by, object_name="runs", after={"runs": erased, "days": days})
        events.broadcast_on_commit(events.RUN_ERASED, 0)
    return erased


def _erase(runs: QuerySet[Run], *, is_expiry: bool) -> int:
    now = timezone.now()
    # If two processes do this at once, each counts only the runs that it erased itself.
    erased = runs.filter(erased_at=None).update(input="", output="", raw="", draft_body="", error="", erased_at=now)
    # A provider's error may quote the prompt, so messages are erased too.
    Attempt.objects.filter(run__in=runs.filter(erased_at=now)).update(message="")
    # A verdict names words of the text.
    quoting = SafetyCheck.objects.filter(run__in=runs.filter(erased_at=now))
    quoting.update(words=[], window="", reason="", report_note="")
    for eraser in ERASERS:
        eraser(runs.filter(erased_at=now), is_expiry)
    return erased
