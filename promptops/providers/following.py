"""Following other processes: learned adaptations, and cooldowns that a person ended.

The verbs that learn, forget and end a cooldown are in `providers.actions`.
"""

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
    """Return the address under which the engine keeps the provider's learned adaptations."""
    return base_address(address_of(provider)).rstrip("/")


def restore_learned() -> None:
    """Replace this process's learned adaptations by those of the database."""
    global _restored
    stored: dict[tuple[str, str], dict[str, str]] = {}
    for row in LearnedAdaptation.objects.select_related("provider"):
        stored.setdefault((server(row.provider), row.model), {})[row.name] = row.words
    with _lock:
        for address, model in _restored - stored.keys():
            learned.forget(address, model)
        for (address, model), words in stored.items():
            learned.restore(address, model, words)
        _restored = set(stored)


def end_cooldown(provider: str, entry: int) -> None:
    """End the provider's cooldown in this process, once for each audit entry `entry` that records its end."""
    if entry not in _ended_here:
        _ended_here.add(entry)
        live.health.end_cooldown(provider)


def cooldowns_ended(since: int) -> list[tuple[str, int]]:
    """Return the provider and the audit entry of each cooldown that a person ended after the entry `since`."""
    entries = AuditEntry.objects.filter(seq__gt=since, action="provider.cooldown_ended")
    return list(entries.order_by("seq").values_list("object_name", "seq"))


async def _end_cooldowns(since: int, in_thread: polling.InThread) -> None:
    for provider, entry in await in_thread(cooldowns_ended, since):
        end_cooldown(provider, entry)


async def _learned_changed(before: frozenset[int], now: frozenset[int], in_thread: polling.InThread) -> None:
    await in_thread(restore_learned)


def _restore_at_swap(before: Snapshot | None, now: Snapshot) -> None:
    if before is not None and before.epoch != now.epoch:  # the numbers of entries are used again
        _ended_here.clear()
    restore_learned()


live.SWAPPED.append(_restore_at_swap)
polling.AFTER_ENTRIES.append(_end_cooldowns)
polling.watch(
    "learned",  # the keys are enough: no row ever changes
    polling.Watch(
        lambda: Subquery(LearnedAdaptation.objects.order_by().values(rows=polling.JSONRows("pk"))),
        parse=lambda rows: frozenset(rows or []),
        changed=_learned_changed,
    ),
)
