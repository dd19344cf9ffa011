"""The metrics of what is live in this process, and of the services that it follows."""

import time
from collections.abc import Iterable

from promptops.engine.snapshot import Snapshot
from promptops.live import snapshots
from promptops.platform import events, metrics
from promptops.platform.metrics import Sample

LOST_AFTER_SECONDS = 5.0
"""The process looks at the database twice a second."""

releases = metrics.counter("promptops_releases_total", "Releases that this process has taken over")


def _count_release(before: Snapshot | None, after: Snapshot) -> None:
    if before is not None and before.epoch == after.epoch and after.revision > before.revision:
        releases.inc(after.revision - before.revision)


snapshots.SWAPPED.append(_count_release)


@metrics.read_gauge("promptops_live_revision", "The revision that runs of this process use")
def _revision() -> Iterable[Sample]:
    snapshot = snapshots.loaded_snapshot()
    return [((), snapshot.revision)] if snapshot else []


@metrics.read_gauge("promptops_live_epoch_info", "The epoch of the revision, which a restore changes; 1", "epoch")
def _epoch() -> Iterable[Sample]:
    snapshot = snapshots.loaded_snapshot()
    return [((snapshot.epoch,), 1.0)] if snapshot else []


@metrics.read_gauge("promptops_database_lost", "1 while this process cannot read the database")
def _database() -> Iterable[Sample]:
    polled_at = snapshots.following.polled_at
    is_late = polled_at is None or time.monotonic() - polled_at > LOST_AFTER_SECONDS
    return [((), float(is_late or snapshots.following.is_failing))]


@metrics.read_gauge("promptops_redis_lost", "1 while hints of other processes fail to come; 0 without REDIS_URL")
def _redis() -> Iterable[Sample]:
    return [((), float(events.is_redis_lost()))]
