"""The live configuration in memory: loading the snapshot, swapping it, and following releases of other processes.

A run reads the reference `current()` once and keeps that snapshot until it ends. A release of this process swaps the
reference on commit. After a release of another process, `hear()` swaps it when a hint comes from Redis, and `follow()`
at its next look at the database. Every process swaps its snapshot before it sends the hint to its pages.

The contents of the snapshot belong to the features (`ledger.parts`), and the watched values to `polling`.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from channels.db import database_sync_to_async
from django.db import Error

from promptops.engine.health import HealthRegistry
from promptops.engine.snapshot import Snapshot
from promptops.ledger import parts
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.releases import AT_COMMIT
from promptops.live import polling
from promptops.live.polling import Look
from promptops.platform import background, events
from promptops.platform.threads import DatabaseThread, in_background

log = logging.getLogger(__name__)

FOLLOW_SECONDS = 0.5

SWAPPED: list[Callable[[Snapshot | None, Snapshot], None]] = []
"""Called with the old and the new snapshot after a swap. Features update here what they hold in memory."""

health = HealthRegistry()
"""The health of the providers, as runs of this process have found it. It outlives every swap of the snapshot."""


@dataclass
class Following:
    """The state of following the database in this process. Times are those of `time.monotonic`."""

    polled_at: float | None = None
    """The time when `follow` last read the database."""
    loaded_at: float | None = None
    """The time when the current snapshot was loaded."""
    failed_at: float | None = None
    failure: str = ""
    """The class of the last error of `follow`. Its text is left out, because it may name hosts and people."""

    @property
    def is_failing(self) -> bool:
        """Return whether the newest look at the database failed."""
        return self.failed_at is not None and self.failed_at > (self.polled_at or 0.0)


following = Following()

_lock = threading.Lock()
_current: Snapshot | None = None


def current() -> Snapshot:
    """Return the snapshot of this process. The first call loads it, so async code calls `acurrent` instead."""
    return _current or refresh()


def loaded_snapshot() -> Snapshot | None:
    """Return the snapshot, or None if none is loaded. Reads no database."""
    return _current


async def acurrent() -> Snapshot:
    """Return the snapshot of this process, for async code. Only the first call sends queries."""
    return _current or await database_sync_to_async(refresh)()


def refresh() -> Snapshot:
    """Load the live configuration and swap it in, unless this process has a newer one. Return the current snapshot.

    In another epoch, which a restore starts, a lower revision is newer.
    """
    global _current
    loaded = load()
    with _lock:
        before = _current
        if before is None or loaded.epoch != before.epoch or loaded.revision >= before.revision:
            _current = loaded
            following.loaded_at = time.monotonic()
            if before is not None:
                _forget_changed(before, loaded)
        else:
            return before
    for callback in SWAPPED:
        callback(before, loaded)
    return loaded


def _forget_changed(before: Snapshot, after: Snapshot) -> None:
    """Forget the health of edited providers: it was measured with the old settings."""
    known = {provider.name: provider for provider in before.providers}
    for provider in after.providers:
        if provider.name in known and known[provider.name] != provider:
            health.forget(provider.name)


def forget() -> None:
    """Drop the snapshot, so that the next reader loads it. For tests."""
    global _current
    _current = None


def load() -> Snapshot:
    """Read the live configuration from the database, all of it at one revision."""
    while True:
        config = LiveConfiguration.objects.get(pk=1)
        fields = parts.snapshot_fields(config)
        snapshot = Snapshot(config.revision, epoch=config.epoch, pins_from=config.pins_from, **fields)
        # A release raises the revision first, so an unchanged number means that no release came in between.
        now = LiveConfiguration.objects.values_list("epoch", "revision").get(pk=1)
        if now == (config.epoch, config.revision):
            return snapshot


async def hear(event: str, number: int) -> None:
    """Handle a hint of another process: swap the snapshot if the revision is newer, then send the hint to pages.

    While the database is unavailable, do neither: `follow()` sends the hint later.
    """
    if event == events.REVISION_RELEASED and (_current is None or number > _current.revision):
        try:
            await in_background(refresh)
        except Error:  # `follow` logs it
            return
    await events.tell_pages(event, number)


async def follow(interval: float = FOLLOW_SECONDS) -> None:
    """Read for ever what other processes changed, swap the snapshot, and send hints to the pages of this process."""
    before: Look | None = None
    thread = DatabaseThread("follower")  # its own, so that no slow query delays a release
    try:
        while True:
            try:
                now = await thread.run(polling.look)
                await _take_over(before, now, thread)
                before, following.polled_at = now, time.monotonic()
            except Exception as error:  # following goes on while the database is unavailable
                if not following.is_failing:
                    log.error("The live configuration cannot be read (%s). Retrying twice a second.", error)
                following.failed_at, following.failure = time.monotonic(), type(error).__name__
            await asyncio.sleep(interval)
    finally:
        await thread.close()


async def _take_over(before: Look | None, now: Look, thread: DatabaseThread) -> None:
    """Swap an old snapshot, pass changed values to their features, and send pages the hints that they do not have."""
    epoch, revision = now.heads.epoch, now.heads[events.REVISION_RELEASED]
    if _current is None or epoch != _current.epoch or revision > _current.revision:
        await thread.run(refresh)
    for name, watched in polling.watches().items():
        old, new = before.values[name] if before else watched.parse(None), now.values[name]
        if watched.changed and new != old:
            await watched.changed(old, new, thread.run)
        if watched.looked:
            watched.looked(new)
    if before is None or epoch != before.heads.epoch:
        await events.tell_epoch(epoch)
    # Pages that connected before the first look may have missed a release. A restored backup has lower numbers, or by
    # chance the same ones.
    if before is None or epoch != before.heads.epoch or any(now.heads[name] < n for name, n in before.heads.items()):
        events.begin_again()
    for event, number in now.heads.items():
        await events.tell_pages(event, number)
    newest_entry = before.heads[events.AUDIT_RECORDED] if before else now.heads[events.AUDIT_RECORDED]
    if now.heads[events.AUDIT_RECORDED] > newest_entry:
        for callback in polling.AFTER_ENTRIES:
            await callback(newest_entry, thread.run)


AT_COMMIT.append(refresh)


@background.task
async def keep_up() -> None:
    """Follow the database for ever."""
    await follow()


@background.task
async def relay_hints() -> None:
    """Handle the hints of other processes for ever."""
    await events.relay(hear)
