"""What a process takes over from other processes about providers: learned adaptations, and cooldowns ended by hand."""

import threading

from django.db.models import Subquery

from promptops.engine.providers.adaptations import learned
from promptops.engine.providers.addresses import base_address
from promptops.engine.snapshot import Snapshot
from promptops.ledger.models import AuditEntry
from promptops.live import polling
from promptops.live import snapshots as live
from promptops.providers.key_variables import address_of
from promptops.providers.models import LearnedAdaptation, Provider

_lock = threading.Lock()
_restored: set[tuple[str, str]] = set()  # servers and models that the engine has adaptations of from the database
_ended_here: set[int] = set()  # audit entries of cooldowns that this process has ended


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
        live.health.end_cooldown(provider)


def cooldowns_ended(since: int) -> list[tuple[str, int]]:
    """Return provider and audit entry of each cooldown that somebody ended after that audit entry."""
    entries = AuditEntry.objects.filter(seq__gt=since, action="provider.cooldown_ended")
    return list(entries.order_by("seq").values_list("object_name", "seq"))


async def _end_cooldowns(since: int, in_thread: polling.InThread) -> None:
    for provider, entry in await in_thread(cooldowns_ended, since):
        end_cooldown(provider, entry)


async def _learned_changed(before: frozenset[int], now: frozenset[int], in_thread: polling.InThread) -> None:
    await in_thread(restore_learned)


def _restore_at_swap(before: Snapshot | None, now: Snapshot) -> None:
    restore_learned()


live.SWAPPED.append(_restore_at_swap)
polling.AFTER_ENTRIES.append(_end_cooldowns)
polling.watch(
    "learned",  # by row: no row ever changes
    polling.Watch(
        lambda: Subquery(LearnedAdaptation.objects.order_by().values(rows=polling.JSONRows("pk"))),
        parse=lambda rows: frozenset(rows or []),
        changed=_learned_changed,
    ),
)
