"""The live configuration in memory: database -> Snapshot, the current one, and following changes made elsewhere.

Runs read `current()`, one reference, and keep it until they end. A release swaps the reference when it commits;
When another process has released, `hear()` swaps it at its hint in Redis, or `follow()` at its next look. In every
process the snapshot is swapped before pages hear of the release.
"""

import asyncio
import logging
import threading
import time
from dataclasses import dataclass

from channels.db import database_sync_to_async
from django.db import Error
from django.db.models import Count, Exists, Max, OuterRef

from promptops import events, guards, parts
from promptops.engine.health import HealthRegistry
from promptops.engine.providers.adaptations import learned
from promptops.engine.providers.addresses import base_address
from promptops.engine.snapshot import Snapshot
from promptops.key_variables import address_of
from promptops.models import (
    AuditEntry,
    AuditHead,
    Draft,
    LearnedAdaptation,
    LiveConfiguration,
    Presence,
    Provider,
    Run,
)
from promptops.threads import in_background

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


def learned_mark() -> tuple[int, int]:
    """Return the newest row and the number of rows of what was learned: any change changes one of them."""
    mark = LearnedAdaptation.objects.aggregate(newest=Max("pk"), rows=Count("pk"))
    return mark["newest"] or 0, mark["rows"]


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


def heads() -> dict[str, int]:
    """The newest revision, audit entry and run, by event name: what an open page compares itself with."""
    return {
        events.REVISION_RELEASED: LiveConfiguration.objects.values_list("revision", flat=True).get(pk=1),
        events.AUDIT_RECORDED: AuditHead.objects.values_list("seq", flat=True).filter(pk=1).first() or 0,
        events.RUN_RECORDED: Run.objects.order_by("-id").values_list("id", flat=True).first() or 0,
    }


SIGN_INS_CHANGED = ("user.role_changed", "user.deactivated", "user.password_changed", "user.session_ended")


def people_changed(since: int) -> list[int]:
    """The ids of the people whose role, password or sessions changed after that audit entry."""
    entries = AuditEntry.objects.filter(seq__gt=since, action__in=SIGN_INS_CHANGED)
    return [int(pk) for pk in entries.values_list("object_id", flat=True).distinct().order_by()]


def cooldowns_ended(since: int) -> list[tuple[str, int]]:
    """Return provider and audit entry of each cooldown that somebody ended after that audit entry."""
    entries = AuditEntry.objects.filter(seq__gt=since, action="provider.cooldown_ended")
    return list(entries.order_by("seq").values_list("object_name", "seq"))


def presence() -> dict[int, frozenset[tuple[int, bool]]]:
    """By template id: which of its editor's pages are open (their rows' ids), and whether the person has a draft."""
    draft = Draft.objects.filter(template=OuterRef("template"), user=OuterRef("user"))
    found: dict[int, set[tuple[int, bool]]] = {}
    for template, page, has_draft in Presence.current().values_list("template_id", "pk", Exists(draft)):
        found.setdefault(template, set()).add((page, has_draft))
    return {template: frozenset(pages) for template, pages in found.items()}


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
    seen: _Seen | None = None
    while True:
        try:
            seen = await _look(seen)
            following.polled_at = time.monotonic()
        except Exception as error:  # a database that is away must not end the following
            if not following.is_failing:
                log.error("The live configuration cannot be read (%s); trying again twice a second.", error)
            following.failed_at, following.failure = time.monotonic(), type(error).__name__
        await asyncio.sleep(interval)


@dataclass(frozen=True)
class _Seen:
    """What one look found."""

    heads: dict[str, int]
    presence: dict[int, frozenset[tuple[int, bool]]]
    learned: tuple[int, int]


async def _look(before: _Seen | None) -> _Seen:
    """Read what there is now, swap the snapshot where it is old, and tell pages what they have not heard yet."""
    # Not in the one thread that sockets share: a slow query there must not hold up the hints.
    now = _Seen(*await in_background(lambda: (heads(), presence(), learned_mark())))
    if _current is None or now.heads[events.REVISION_RELEASED] > _current.revision:
        await in_background(refresh)
    if now.learned != (before.learned if before else (0, 0)):
        await in_background(restore_learned)
    if before is None:
        events.begin_at(now.heads)  # pages that open later begin there
        return now
    if any(now.heads[event] < number for event, number in before.heads.items()):  # a backup was restored
        events.begin_at({})
    for event, number in now.heads.items():
        await events.tell_pages(event, number)
    if now.heads[events.AUDIT_RECORDED] > before.heads[events.AUDIT_RECORDED]:
        for person in await in_background(people_changed, before.heads[events.AUDIT_RECORDED]):
            await events.tell_pages(events.USER_CHANGED, person)
        for provider, entry in await in_background(cooldowns_ended, before.heads[events.AUDIT_RECORDED]):
            end_cooldown(provider, entry)
    for template in {*before.presence, *now.presence}:
        if before.presence.get(template) != now.presence.get(template):
            await events.tell_pages(events.PRESENCE_CHANGED, template)
    return now
