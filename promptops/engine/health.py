"""The health of the providers, shared by all concurrent runs.

It is keyed by name, so it survives a change of configuration. A run may call a provider when three things are true: its
circuit breaker allows it, it is not cooling down, and fewer calls than its limit are in progress. `admit` checks that
and returns a `Permit`, which is settled exactly once, by the way the call ends. The records are in
`provider_health.py`, the arithmetic of breakers and budgets in `breaker.py`.

Safe to use from several threads and event loops: every change is made under one lock, and a waiting run is woken on
its own loop.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from promptops.engine.breaker import (
    EXTRA_CALLS_PER_RUN,
    EXTRA_CALLS_SAVED,
    FAILURES_TO_OPEN,
    OPEN_SECONDS,
    Breaker,
    Budget,
)
from promptops.engine.errors import LLMProviderError
from promptops.engine.policies import chosen_to_fall_back, policy_for
from promptops.engine.provider_health import Cooldown, HealthView, Permit, ProviderHealth
from promptops.engine.types import LLMProvider
from promptops.stats.percentiles import percentile

__all__ = ["FAILURES_TO_OPEN", "OPEN_SECONDS", "Breaker", "HealthRegistry", "HealthView", "Permit"]

LAST_RESORT_SECONDS = 120.0
"""The longest cooldown for a run that can call no other provider. A provider may ask for hours, and an operator who has
paid, or a limit that was lifted early, should not have to wait that long. One call in two minutes harms nobody."""

LATENCIES_NEEDED = 20
"""The least latencies for a p95: fewer say nothing about the slowest twentieth."""


@dataclass(eq=False)
class _Waiter:
    keys: frozenset[str]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Permit | None]


class HealthRegistry:
    """The health of all providers, keyed by the provider's name.

    `clock` is monotonic, `wall_clock` returns the Unix time shown to people; both in seconds.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.RLock()
        self._providers: dict[str, ProviderHealth] = {}
        self._waiters: deque[_Waiter] = deque()
        self._hedges = Budget()
        # Full, so that the first run of a new registry may retry.
        self._retries = Budget(EXTRA_CALLS_SAVED)

    def key(self, provider: LLMProvider) -> str:
        """Return the key of the health of `provider`."""
        return provider.name

    def view(self, name: str) -> HealthView:
        """Return how the provider is doing now. A provider that was never called is healthy."""
        with self._lock:
            known = self._providers.get(name, ProviderHealth())
            cooldown, left = known.cooldown, max(0.0, known.cooldown.until - self.clock())
            return HealthView(
                state=known.breaker.state,
                reason=known.misconfigured or known.reason,
                since=known.since,
                cooldown_left_ms=round(left * 1000),
                misconfigured=known.misconfigured is not None,
                in_flight=known.in_flight,
                limit=known.limit,
                trouble=known.trouble,
                cooldown_since=cooldown.since if left else None,
                cooldown_reason=cooldown.reason if left else None,
            )

    def copy(self) -> HealthRegistry:
        """Return a registry with the same open breakers and cooldowns. Its runs do not change this one."""
        twin = HealthRegistry(clock=self.clock, wall_clock=self._wall_clock)
        with self._lock:
            for key, known in self._providers.items():
                twin._providers[key] = ProviderHealth(breaker=known.breaker.copy(), cooldown=replace(known.cooldown))
        return twin

    def forget(self, name: str) -> None:
        """Reset the health of a provider whose key or address was changed.

        Calls in progress still count for its limit. Their results count for nothing.
        """
        with self._lock:
            before = self._providers.pop(name, None)
            if before is not None:
                self._providers[name] = ProviderHealth(in_flight=before.in_flight, limit=before.limit)

    def end_cooldown(self, name: str) -> bool:
        """End the provider's cooldown for an operator, and return whether there was one."""
        with self._lock:
            known = self._providers.get(name)
            if known is None or known.cooldown.until <= self.clock():
                return False
            known.cooldown = Cooldown()
            self._hand_on(name)
            return True

    # Before a call

    def admit(self, key: str, limit: int | None = None, *, last_resort: bool = False) -> Permit | None:
        """Return the permit to call a provider, or `None` when it may not be called now.

        A last resort ignores an open breaker. One call at a time also ignores a cooldown that began at least
        `LAST_RESORT_SECONDS` ago.
        """
        with self._lock:
            known = self._known(key)
            known.limit = limit
            return self._admit(key, known, last_resort=last_resort)

    def blocked_for(self, key: str, *, last_resort: bool = False) -> float:
        """Return the seconds until the provider's cooldown ends: 0 without one, infinite while its breaker blocks it.

        A last resort ignores the breaker, and a cooldown blocks it for `LAST_RESORT_SECONDS` at most. The time is
        infinite while the one call that may ignore a longer cooldown is in progress.
        """
        with self._lock:
            known = self._providers.get(key)
            if known is None:
                return 0.0
            now, cooldown = self.clock(), known.cooldown
            if not last_resort:
                return math.inf if known.breaker.blocks(now) else max(0.0, cooldown.until - now)
            if cooldown.until > now and known.asked_while_cooling:
                return math.inf
            return max(0.0, min(cooldown.until, cooldown.began + LAST_RESORT_SECONDS) - now)

    async def wait(self, keys: Sequence[str], seconds: float) -> Permit | None:
        """Wait until one of `keys` has room, and return a permit for it.

        Returns `None` when the run has to check again, after `seconds` at the latest. Runs are served in the order of
        their arrival.
        """
        loop = asyncio.get_running_loop()
        waiter = _Waiter(frozenset(keys), loop, loop.create_future())
        with self._lock:
            self._waiters.append(waiter)
        permit: Permit | None = None
        try:
            async with asyncio.timeout(seconds):
                permit = await waiter.future
        except TimeoutError:
            pass
        finally:
            with self._lock, suppress(ValueError):  # a waiter that was served is removed already
                self._waiters.remove(waiter)
            if permit is None and waiter.future.done() and not waiter.future.cancelled():
                unused = waiter.future.result()  # the permit arrived just as the waiting ended
                if unused is not None:
                    self.canceled(unused)
        return permit

    # After a call

    def succeeded(
        self, permit: Permit, *, latency_ms: float, streamed: bool, retry_after_s: float | None = None
    ) -> None:
        """Count an answer. `latency_ms` is the time to its first text, or without streaming to its end."""
        with self._lock:
            known = self._settle(permit)
            if known is None:
                return
            known.latencies[streamed].append(latency_ms)
            known.misconfigured = known.trouble = None
            if permit.cooling:
                known.cooldown = Cooldown()
            self._count_success(known, permit)
            self._cool_down(known, retry_after_s)
            self._hand_on(permit.key)

    def failed(self, permit: Permit, error: LLMProviderError, provider: LLMProvider) -> None:
        """Count a call that ended with `error`."""
        with self._lock:
            known = self._settle(permit)
            if known is None:
                return
            policy = policy_for(error)
            if policy.misconfigured:
                known.misconfigured, known.trouble = str(error), error.kind
            if policy.answered:
                known.misconfigured = known.trouble = None
                self._count_success(known, permit)
            elif policy.breaker or chosen_to_fall_back(error, provider):
                self._count_failure(known, error, permit)
            elif permit.probe:  # the provider answers again, even if it refuses
                self._count_success(known, permit)
            self._cool_down(known, error.retry_after_s or policy.cooldown, str(error))
            self._hand_on(permit.key)

    def canceled(self, permit: Permit) -> None:
        """Settle a call that its caller canceled, or a hedge that lost. It says nothing about the provider."""
        with self._lock:
            known = self._settle(permit)
            if known is None:
                return
            if permit.probe:
                known.breaker.probing = False
            self._hand_on(permit.key)

    # Extra calls

    def p95_ms(self, key: str, *, streamed: bool) -> float | None:
        """Return the 95th percentile of the provider's latest latencies in ms, or `None` when there are too few."""
        with self._lock:
            known = self._providers.get(key)
            latencies = list(known.latencies[streamed]) if known else []
        return percentile(latencies, 95) if len(latencies) >= LATENCIES_NEEDED else None

    def count_run(self, hedges: float = 0.0) -> None:
        """Count a run. It earns a tenth of a retry and `hedges` hedges, which any run may spend."""
        with self._lock:
            self._retries.earn(EXTRA_CALLS_PER_RUN)
            self._hedges.earn(hedges)

    def spend_hedge(self) -> bool:
        """Spend a hedge if the budget allows one, and return whether it did."""
        with self._lock:
            return self._hedges.spend()

    def spend_retry(self, key: str) -> bool:
        """Spend a retry if the budget allows one and the provider's breaker is closed, and return whether it did."""
        with self._lock:
            return self._known(key).breaker.state == "closed" and self._retries.spend()

    # Under the lock

    def _known(self, key: str) -> ProviderHealth:
        known = self._providers.get(key)
        if known is None:
            known = self._providers[key] = ProviderHealth()
        return known

    def _admit(self, key: str, known: ProviderHealth, *, last_resort: bool = False) -> Permit | None:
        if known.full or self.blocked_for(key, last_resort=last_resort):
            return None
        probe = known.breaker.state != "closed" and not last_resort
        cooling = last_resort and known.cooldown.until > self.clock()
        if probe:
            known.breaker.probing = True
        if cooling:
            known.asked_while_cooling = True
        known.in_flight += 1
        return Permit(key, probe, cooling, of=known)

    def _settle(self, permit: Permit) -> ProviderHealth | None:
        if permit.settled:
            return None
        permit.settled = True
        known = self._known(permit.key)
        known.in_flight = max(0, known.in_flight - 1)
        if known is not permit.of:
            self._hand_on(permit.key)
            return None
        if permit.cooling:
            known.asked_while_cooling = False
        return known

    def _count_success(self, known: ProviderHealth, permit: Permit) -> None:
        before = known.breaker.state
        known.breaker.success(probe=permit.probe)
        if known.breaker.state == "closed":
            known.reason = None
            if before != "closed":
                known.since = self._wall_clock()

    def _count_failure(self, known: ProviderHealth, error: LLMProviderError, permit: Permit) -> None:
        before = known.breaker.state
        known.breaker.failure(self.clock(), probe=permit.probe)
        if known.breaker.state != "closed":
            known.reason = str(error)
            if before == "closed":
                known.since = self._wall_clock()

    def _cool_down(self, known: ProviderHealth, seconds: float | None, reason: str | None = None) -> None:
        if seconds:
            now = self.clock()
            until = max(known.cooldown.until, now + seconds)
            known.cooldown = Cooldown(until, now, self._wall_clock(), reason)

    def _hand_on(self, key: str) -> None:
        """Give the free call of a provider to the first run that waits for it.

        If the provider is blocked now, its waiting runs get no permit and look for another provider.
        """
        if not self._waiters:
            return
        known = self._providers[key]
        blocked = self.blocked_for(key) > 0
        for waiter in [waiter for waiter in self._waiters if key in waiter.keys]:
            permit = None if blocked else self._admit(key, known)
            if permit is None and not blocked:
                return
            self._waiters.remove(waiter)
            try:
                waiter.loop.call_soon_threadsafe(self._deliver, waiter, permit)
            except RuntimeError:  # its loop was closed meanwhile
                if permit is not None:
                    self.canceled(permit)

    def _deliver(self, waiter: _Waiter, permit: Permit | None) -> None:
        if not waiter.future.done():
            waiter.future.set_result(permit)
        elif permit is not None:
            self.canceled(permit)
