"""Old runs: which texts are to be erased, which runs are to be deleted, and what became of a run that is missing."""

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from promptops.prompts.models import Operation
from promptops.runs.enums import ExpiryKind, RunSource
from promptops.runs.keepers import KEEPERS
from promptops.runs.models import Run, RunExpiry, RunTotals, SafetyCheck


def erasable(days: int) -> QuerySet[Run]:
    """Return the runs older than `days`, or than their operation keeps texts, whose texts are still there.

    Inputs of a comparison are the operators' own and stay with it. A single run of it can still be erased.
    """
    rows = Operation.objects.exclude(retention_days=None).values_list("name", "retention_days")
    own = {name: own_days for name, own_days in rows if own_days}
    old = Q(at__lt=_before(days)) & ~Q(operation__in=own)
    for name, own_days in own.items():
        old |= Q(at__lt=_before(own_days), operation=name)
    return Run.objects.filter(old, erased_at=None).exclude(source=RunSource.COMPARISON)


def deletable(days: int) -> QuerySet[Run]:
    """Return the runs older than `days` that may be deleted.

    Runs of comparisons stay. So do runs with a reviewed verdict, because reviews measure models and thresholds, and
    runs that another feature needs (`runs.keepers`).
    """
    # Looked up for each run: a batch must not read all reviews.
    reviewed = SafetyCheck.objects.filter(run=OuterRef("pk")).exclude(review="")
    runs = _older(days).exclude(Exists(reviewed))
    for keeper in KEEPERS:
        runs = runs.exclude(keeper())
    return runs


def _older(days: int) -> QuerySet[Run]:
    return Run.objects.filter(at__lt=_before(days)).exclude(source=RunSource.COMPARISON)


def _before(days: int) -> datetime:
    return timezone.now() - timedelta(days=days)


def deletion_of(pk: int) -> RunExpiry | None:
    """Return the pass that deleted the run with this id, or None. The run is missing."""
    passes = RunExpiry.objects.filter(kind=ExpiryKind.DELETE, first_run__lte=pk, last_run__gte=pk)
    return passes.order_by("-id").first()


def deleted_of_revision(revision: int) -> int:
    """Return how many deleted runs began under a revision."""
    return RunTotals.objects.filter(revision=revision).aggregate(runs=Sum("runs"))["runs"] or 0
