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
from promptops.engine.providers.adaptations import learned
from promptops.engine.providers.addresses import base_address
from promptops.engine.snapshot import Snapshot
from promptops.ledger import parts
from promptops.ledger.models import LiveConfiguration
from promptops.live import polling
from promptops.live.polling import Look
from promptops.platform import events
from promptops.platform.threads import DatabaseThread, in_background
from promptops.providers.key_variables import address_of
from promptops.providers.models import LearnedAdaptation, Provider
from promptops.safety import guards

log = logging.getLogger(__name__)

FOLLOW_SECONDS = 0.5

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
_restored: set[tuple[str, str]] = set()  # what `learned` knows from the database, by address and model
_ended_here: set[int] = set()  # the audit entries of cooldowns that this process has ended


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
            if before is None or before.safety != loaded.safety:
                guards.warm_up(loaded.safety)
        else:
            return before
    restore_learned()
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


def server(provider: Provider) -> str:
    """Return the address by which the engine remembers what it learned of the provider."""
    return base_address(address_of(provider)).rstrip("/")


def restore_learned() -> None:
    """Make this process ask each provider as the database knows that it wants to be asked.

    What the database no longer has is forgotten.
    """
    global _restored
    stored: dict[tuple[str, str], dict[str, str]] = {}
    for row in LearnedAdaptation.objects.select_related("provider"):
        stored.setdefault((server(row.provider), row.model), {})[row.name] = row.words
    with _lock:
        for place in _restored - stored.keys():
            learned.forget(*place)
        for place, words in stored.items():
            learned.restore(*place, words)
        _restored = set(stored)


def end_cooldown(provider: str, entry: int) -> None:
    """Let runs of this process ask the provider again now. `entry` is the audit entry of the person's decision."""
    if entry not in _ended_here:
        _ended_here.add(entry)
        health.end_cooldown(provider)


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


async def follow(interval: float = FOLLOW_SECONDS, *, on_comparison: Callable[[], None] = lambda: None) -> None:
    """For ever: notice what other processes changed, swap the snapshot, and tell this process's open pages.

    `on_comparison` is called at each look while a comparison is running.
    """
    before: Look | None = None
    thread = DatabaseThread("follower")  # its own, so that nothing slow holds up a release
    try:
        while True:
            try:
                now = await thread.run(polling.look)
                await _take_over(before, now, thread)
                if now.is_comparing:
                    on_comparison()
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
    if now.learned != (before.learned if before else frozenset()):
        await thread.run(restore_learned)
    presence_before = before.presence if before else {}
    for template in {*presence_before, *now.presence}:
        if presence_before.get(template) != now.presence.get(template):
            await events.tell_pages(events.PRESENCE_CHANGED, template)
    if before is None:
        events.begin_at(now.heads)  # pages that open later begin there
        return
    if any(now.heads[event] < number for event, number in before.heads.items()):  # a backup was restored
        events.begin_at({})
    for event, number in now.heads.items():
        await events.tell_pages(event, number)
    newest_entry = before.heads[events.AUDIT_RECORDED]
    if now.heads[events.AUDIT_RECORDED] > newest_entry:
        for person in await thread.run(polling.people_changed, newest_entry):
            await events.tell_pages(events.USER_CHANGED, person)
        for provider, entry in await thread.run(polling.cooldowns_ended, newest_entry):
            end_cooldown(provider, entry)
