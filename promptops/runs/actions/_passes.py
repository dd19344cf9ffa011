"""A pass over old runs: work in small transactions, with pauses in which others write. What is done belongs elsewhere.

A pass ends when no run is left, when the server stops, or when another process goes on with it. The next hour begins
where it ended.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from promptops.ledger import audit
from promptops.ledger.audit import Actor
from promptops.platform import events
from promptops.platform.draining import gate
from promptops.runs.enums import ExpiryKind
from promptops.runs.models import Run, RunExpiry

BATCH = 250
"""Runs of one transaction."""
PAUSE = 1.0
"""The pause after a batch, in multiples of the time that the batch took. Writers get the rest of the time."""
LEAST_PAUSE_SECONDS = 0.02
"""SQLite lets a waiting writer try again after at most a tenth of a second, usually much earlier."""

ACTIONS = {ExpiryKind.ERASE: "run.expired", ExpiryKind.DELETE: "run.deleted"}


def work_off(
    kind: ExpiryKind, days: int, runs: QuerySet[Run], work: Callable[[Sequence[int]], Sequence[int]], *, by: Actor
) -> int:
    """Call `work` with the ids of `runs`, the oldest first, a batch in each transaction. Return the number of runs.

    `work` returns the ids of the runs that it changed, which then no longer belong to `runs`. The audit gets one entry
    about the whole pass.
    """
    # A pass without an end was cut off, with its process. Its runs count in this pass.
    batches = RunExpiry.objects.filter(kind=kind, ended_at=None).values_list("batches", flat=True).first()
    done = 0
    reached: datetime | None = None
    while not gate.closed and (rows := _next(runs, reached)):
        began = time.monotonic()
        batch = _batch(kind, days, batches, [pk for pk, _ in rows], work)
        if batch is None:
            return done  # another process works on it
        batches, changed = batch
        done += changed
        reached = rows[-1][1]
        time.sleep(max(LEAST_PAUSE_SECONDS, PAUSE * (time.monotonic() - began)))
    _end(kind, batches, by)
    return done


def _next(runs: QuerySet[Run], reached: datetime | None) -> list[tuple[int, datetime]]:
    """Return ids and times of the next batch. Reading needs no lock, however many runs are left out."""
    runs = runs if reached is None else runs.filter(at__gte=reached)
    return list(runs.order_by("at").values_list("pk", "at")[:BATCH])


@transaction.atomic
def _batch(
    kind: ExpiryKind,
    days: int,
    batches: int | None,
    ids: Sequence[int],
    work: Callable[[Sequence[int]], Sequence[int]],
) -> tuple[int, int] | None:
    """Do one batch, and return the pass's number of batches and of changed runs; None if another process did one."""
    current, is_new = RunExpiry.objects.select_for_update().get_or_create(
        kind=kind, ended_at=None, defaults={"days": days}
    )
    if current.batches != (batches or 0) or is_new != (batches is None):
        return None
    changed = work(ids)
    current.days = days
    current.batches += 1
    current.runs += len(changed)
    current.first_run = min([*changed, *([current.first_run] if current.first_run else [])], default=None)
    current.last_run = max([*changed, *([current.last_run] if current.last_run else [])], default=None)
    current.save()
    return current.batches, len(changed)


@transaction.atomic
def _end(kind: ExpiryKind, batches: int | None, by: Actor) -> None:
    """End the pass and record it, unless another process went on with it."""
    if batches is None:
        return
    ended = RunExpiry.objects.filter(kind=kind, ended_at=None, batches=batches)
    current = ended.select_for_update().first()
    if current is None:
        return
    if current.runs:
        ended.update(ended_at=timezone.now())
        audit.record(ACTIONS[kind], by=by, object_name="runs", after={"runs": current.runs, "days": current.days})
        events.broadcast_on_commit(events.RUN_ERASED, 0)
    else:
        ended.delete()
