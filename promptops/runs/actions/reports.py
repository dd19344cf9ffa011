"""Counting the runs that servers made themselves and report. Their texts are not stored."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from promptops.runs.models import ReportBatch, ReportedRuns
from promptops.stats.buckets import bucket

OLDEST = timedelta(days=2)
"""A run that ended earlier counts in this hour: a server's clock may be wrong."""
BATCHES_KEPT = timedelta(days=2)
REPORTS_KEPT = timedelta(days=400)
MOST_OF_A_SERVER = 300
"""The most rows of one server in an hour. Further runs count under OTHER."""
MOST_IN_AN_HOUR = 20_000
"""The most rows in an hour. Further runs count under OTHER, without the name of their server."""
OTHER = "other"


@dataclass(frozen=True)
class ReportedRun:
    """One run as a server reports it."""

    operation: str
    template: str
    version: int
    status: str
    at: datetime
    latency_ms: float
    attempts: int
    fallback_used: bool


class Key(NamedTuple):
    """The values of the runs that one row counts."""

    hour: datetime
    server: str
    operation: str
    template: str
    version: int
    status: str


@transaction.atomic
def count_reports(batch: UUID, server: str, runs: Sequence[ReportedRun], dropped: int) -> bool:
    """Add the runs of a batch to the hours in which they ended, and return whether the batch is new."""
    now = timezone.now()
    _, is_new = ReportBatch.objects.get_or_create(pk=batch, defaults={"at": now})
    if not is_new:
        return False
    added: dict[Key, ReportedRuns] = {}
    for run in runs:
        at = min(max(run.at, now - OLDEST), now)
        key = Key(_hour(at), server, run.operation, run.template, run.version, run.status)
        total = added.setdefault(key, ReportedRuns(**key._asdict()))
        total.runs += 1
        total.fallbacks += run.fallback_used
        total.attempts += run.attempts
        place = str(bucket(run.latency_ms))
        total.latencies[place] = total.latencies.get(place, 0) + 1
    if dropped:
        key = Key(_hour(now), server, "", "", 0, "")
        added[key] = ReportedRuns(**key._asdict(), runs=dropped)
    _add(_bounded(added))
    return True


def forget_old(now: datetime) -> None:
    """Delete the batches and the counts that are too old to be needed."""
    ReportBatch.objects.filter(at__lt=now - BATCHES_KEPT).delete()
    ReportedRuns.objects.filter(hour__lt=now - REPORTS_KEPT).delete()


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _key(row: ReportedRuns) -> Key:
    return Key(*(getattr(row, name) for name in Key._fields))


def _rows(keys: Iterable[Key]) -> Q:
    keys = set(keys)
    return Q(hour__in={key.hour for key in keys}, server__in={key.server for key in keys})


def _bounded(added: dict[Key, ReportedRuns]) -> dict[Key, ReportedRuns]:
    """Return the same counts, where those that would need too many new rows are one."""
    known = {_key(row) for row in ReportedRuns.objects.filter(_rows(added))}
    if added.keys() <= known:
        return added
    of_server = Counter((key.hour, key.server) for key in known)
    hours = {key.hour for key in added}
    counts = ReportedRuns.objects.filter(hour__in=hours).order_by().values_list("hour")
    in_hour = Counter(dict(counts.annotate(Count("pk"))))
    bounded: dict[Key, ReportedRuns] = {}
    for key, total in added.items():
        if key not in known and in_hour[key.hour] >= MOST_IN_AN_HOUR:
            key = Key(key.hour, "", OTHER, "", 0, key.status)
        elif key not in known and of_server[key.hour, key.server] >= MOST_OF_A_SERVER:
            key = Key(key.hour, key.server, OTHER, "", 0, key.status)
        else:
            of_server[key.hour, key.server] += key not in known
            in_hour[key.hour] += key not in known
        _merge(bounded.setdefault(key, ReportedRuns(**key._asdict())), total)
    return bounded


def _add(added: dict[Key, ReportedRuns]) -> None:
    """Add the counts to the stored ones. Two processes may do so at once, and each waits for the rows of the other."""
    empty = [ReportedRuns(**key._asdict()) for key in sorted(added)]
    ReportedRuns.objects.bulk_create(empty, ignore_conflicts=True)
    changed = []
    for row in ReportedRuns.objects.select_for_update().filter(_rows(added)).order_by("pk"):
        if (total := added.get(_key(row))) is not None:
            _merge(row, total)
            changed.append(row)
    ReportedRuns.objects.bulk_update(changed, ["runs", "fallbacks", "attempts", "latencies"])


def _merge(row: ReportedRuns, total: ReportedRuns) -> None:
    row.runs += total.runs
    row.fallbacks += total.fallbacks
    row.attempts += total.attempts
    for place, count in total.latencies.items():
        row.latencies[place] = row.latencies.get(place, 0) + count
