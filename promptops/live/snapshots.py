"""The live configuration in memory: database -> Snapshot, the current one, and following changes made elsewhere.

Runs read `current()`, one reference, and keep it until they end. A release swaps the reference when it commits;
When another process has released, `hear()` swaps it at its hint in Redis, or `follow()` at its next look. In every
process the snapshot is swapped before pages hear of the release.
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
"""Called with the snapshot before and now after one was swapped in: what features keep in memory beside it."""

health = HealthRegistry()
"""How the providers are doing, as the runs of this process have found; it outlives every swap of the snapshot."""


@dataclass
class Following:
    """How keeping up with the database goes in this process; times are those of `time.monotonic`."""

    polled_at: float | None = None
    """When `follow` last read the database."""
    loaded_at: float | None = None
    """When the current snapshot was loaded."""
    failed_at: float | None = None
    failure: str = ""
    """The kind of the last error of `follow`; its text may name hosts and people."""

    @property
    def is_failing(self) -> bool:
        """Whether the newest look at the database failed."""
        return self.failed_at is not None and self.failed_at > (self.polled_at or 0.0)


following = Following()

_lock = threading.Lock()
_current: Snapshot | None = None


def current() -> Snapshot:
    """The snapshot that this process runs; the first call loads it (so async code calls it through `acurrent`)."""
    return _current or refresh()


def loaded_snapshot() -> Snapshot | None:
    """Return the snapshot if one is loaded, without reading the database."""
    return _current


async def acurrent() -> Snapshot:
    """`current()` for async code: no query once a snapshot is loaded."""
    return _current or await database_sync_to_async(refresh)()


def refresh() -> Snapshot:
    """Load the live configuration and swap it in, unless this process already has a newer one."""
    global _current
    loaded = load()
    with _lock:
        before = _current
        if before is None or loaded.revision >= before.revision:
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
    """A provider that was edited starts with a clean slate: what was found of the old settings says nothing now."""
    known = {provider.name: provider for provider in before.providers}
    for provider in after.providers:
        if provider.name in known and known[provider.name] != provider:
            health.forget(provider.name)


def forget() -> None:
    """Drop the snapshot, so that the next reader loads it (for tests)."""
    global _current
    _current = None


def load() -> Snapshot:
    """Read the live configuration from the database in one consistent picture."""
    while True:
        config = LiveConfiguration.objects.get(pk=1)
        snapshot = Snapshot(revision=config.revision, **parts.snapshot_fields(config))
        # A release in between would mix two revisions; its first act is to raise the counter.
        if LiveConfiguration.objects.values_list("revision", flat=True).get(pk=1) == config.revision:
            return snapshot


async def hear(event: str, number: int) -> None:
    """Take a hint of another process: swap the snapshot first where it names a newer revision, then tell pages.

    While the database cannot be read it does neither: pages then hear of the release from `follow()`.
    """
    if event == events.REVISION_RELEASED and (_current is None or number > _current.revision):
        try:
            await in_background(refresh)
        except Error:  # which `follow` logs
            return
    await events.tell_pages(event, number)


async def follow(interval: float = FOLLOW_SECONDS) -> None:
    """For ever: notice what other processes changed, swap the snapshot, and tell this process's open pages."""
    before: Look | None = None
    thread = DatabaseThread("follower")  # its own, so that nothing slow holds up a release
    try:
        while True:
            try:
                now = await thread.run(polling.look)
                await _take_over(before, now, thread)
                before, following.polled_at = now, time.monotonic()
            except Exception as error:  # a database that is away must not end the following
                if not following.is_failing:
                    log.error("The live configuration cannot be read (%s); trying again twice a second.", error)
                following.failed_at, following.failure = time.monotonic(), type(error).__name__
            await asyncio.sleep(interval)
    finally:
        await thread.close()


async def _take_over(before: Look | None, now: Look, thread: DatabaseThread) -> None:
    """Swap the snapshot if it is old, take over what else changed, and tell pages what they have not heard yet."""
    if _current is None or now.heads[events.REVISION_RELEASED] > _current.revision:
        await thread.run(refresh)
    for name, watched in polling.watches().items():
        was, value = before.values[name] if before else watched.parse(None), now.values[name]
        if watched.changed and value != was:
            await watched.changed(was, value, thread.run)
        if watched.looked:
            watched.looked(value)
    # Pages that connected before the first look may have missed a release. A restored backup has lower numbers.
    if before is None or any(now.heads[event] < number for event, number in before.heads.items()):
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
    """Follow the database, for ever."""
    await follow()


@background.task
async def relay_hints() -> None:
    """Take the hints of other processes, for ever."""
    await events.relay(hear)
