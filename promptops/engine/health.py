"""How the providers are doing: shared by all concurrent runs, keyed by name, so it survives a change of configuration.

A provider may be asked when its circuit breaker lets it, it is not cooling down, and fewer calls than its limit are
under way. `admit` answers that and gives a `Permit`, which is settled exactly once, by how the call ended.

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
from copy import copy
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from promptops.engine.errors import LLMProviderError
from promptops.engine.policies import chosen_to_fall_back, policy_for
from promptops.engine.types import LLMProvider

State: TypeAlias = Literal["closed", "open", "half_open"]

FAILURES_TO_OPEN = 5
"""Failures in a row that open a breaker: the default of purgatory and pybreaker."""

OPEN_SECONDS = 10.0
"""How long a breaker stays open before one call may probe: half the contract's deadline for a run, so that a recovered
primary is back soon, and one probe in ten seconds is no burden."""

COOLDOWN_SECONDS = 1.0
"""The cooldown after a 429 that does not say for how long; Retry-After counts in whole seconds, 1 is its smallest."""

LATENCIES_KEPT = 100
"""How many of a provider's latest latencies its p95 is taken from."""

LATENCIES_NEEDED = 20
"""Fewer tell nothing about the slowest twentieth."""

HEDGES_SAVED = 10.0
"""How many unused hedges may be saved up, so that a quiet day does not pay for a burst."""


class Breaker:
    """A circuit breaker: closed, open, half-open with a single probe. Knows no clock; `now` is in seconds.

    Failures in a row open it. After `OPEN_SECONDS` one call may probe: its success closes the breaker, its failure
    opens it for as long again, and when it is canceled the next call may probe. Any success closes it.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.opened_at: float | None = None
        self.probing = False

    @property
    def state(self) -> State:
        """What is shown of it; half-open while the probe is under way."""
        if self.opened_at is None:
            return "closed"
        return "half_open" if self.probing else "open"

    def blocks(self, now: float) -> bool:
        """Whether it keeps the next call away. While it lets one through and is not closed, that one is the probe."""
        return self.opened_at is not None and (self.probing or now < self.opened_at + OPEN_SECONDS)

    def success(self) -> None:
        """Close."""
        self.failures, self.opened_at, self.probing = 0, None, False

    def failure(self, now: float, *, probe: bool) -> None:
        """Count a failure. Those of calls from before it opened, or made as a last resort, keep it open no longer."""
        self.failures += 1
        if probe or (self.opened_at is None and self.failures >= FAILURES_TO_OPEN):
            self.opened_at = now
        if probe:
            self.probing = False


@dataclass(frozen=True)
class HealthView:
    """How a provider is doing, for people to see.

    `state` is the breaker's, `since` the Unix time of its last change, `reason` why the provider is misconfigured, or,
    while the breaker is not closed, the last error that counted. `limit` is `None` for a provider without one.
    `trouble` is the kind of the error that marked the provider misconfigured, `cooldown_since` the Unix time of the
    answer that asked for the cooldown.
    """

    state: State = "closed"
    reason: str | None = None
    since: float | None = None
    cooldown_left_ms: int = 0
    misconfigured: bool = False
    in_flight: int = 0
    limit: int | None = None
    trouble: str | None = field(default=None, compare=False)
    cooldown_since: float | None = field(default=None, compare=False)

    @property
    def out_of_credit(self) -> bool:
        """Whether the provider's account has no credit left."""
        return self.trouble == "quota"


@dataclass(eq=False)
class Permit:
    """The right to make one call; `probe` marks the one that decides about an open breaker.

    `of` is what was known of the provider then: how the call ends says nothing of one that was changed meanwhile.
    """

    key: str
    probe: bool = False
    settled: bool = False
    of: _Provider | None = field(default=None, repr=False)


@dataclass
class _Provider:
    breaker: Breaker = field(default_factory=Breaker)
    cooldown_until: float = 0.0
    in_flight: int = 0
    limit: int | None = None
    misconfigured: str | None = None
    reason: str | None = None
    since: float | None = None
    trouble: str | None = None
    cooldown_since: float | None = None
    latencies: dict[bool, deque[float]] = field(
        default_factory=lambda: {streamed: deque(maxlen=LATENCIES_KEPT) for streamed in (False, True)}
    )

    @property
    def full(self) -> bool:
        return self.limit is not None and self.in_flight >= self.limit


@dataclass(eq=False)
class _Waiter:
    keys: frozenset[str]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Permit | None]


class HealthRegistry:
    """The health of all providers, by key, which is a provider's name.

    `clock` is monotonic, `wall_clock` the Unix time shown to people; both in seconds.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.RLock()
        self._providers: dict[str, _Provider] = {}
        self._waiters: deque[_Waiter] = deque()
        self._hedges = 0.0

    def view(self, name: str) -> HealthView:
        """How the provider is doing now; one that was never asked is healthy."""
        with self._lock:
            found = self._providers.get(name, _Provider())
            return HealthView(
                state=found.breaker.state,
                reason=found.misconfigured or found.reason,
                since=found.since,
                cooldown_left_ms=max(0, round((found.cooldown_until - self.clock()) * 1000)),
                misconfigured=found.misconfigured is not None,
                in_flight=found.in_flight,
                limit=found.limit,
                trouble=found.trouble,
                cooldown_since=found.cooldown_since if found.cooldown_until > self.clock() else None,
            )

    def copy(self) -> HealthRegistry:
        """One that knows of the same open breakers and cooldowns, and whose runs leave no mark in this one."""
        found = HealthRegistry(clock=self.clock, wall_clock=self._wall_clock)
        with self._lock:
            for key, known in self._providers.items():
                found._providers[key] = _Provider(breaker=copy(known.breaker), cooldown_until=known.cooldown_until)
        return found

    def end_cooldown(self, name: str) -> None:
        """Let the provider be asked again now, whatever time it asked for."""
        with self._lock:
            found = self._providers.get(name)
            if found is not None:
                found.cooldown_until = 0.0
                self._hand_on(name)

    def forget(self, name: str) -> None:
        """Start afresh with a provider, as after its key or address was changed.

        Calls under way still count for its limit; how they end counts for nothing.
        """
        with self._lock:
            before = self._providers.pop(name, None)
            if before is not None:
                self._providers[name] = _Provider(in_flight=before.in_flight, limit=before.limit)

    # Before a call

    def admit(self, key: str, limit: int | None = None, *, last_resort: bool = False) -> Permit | None:
        """The right to call a provider that may be asked now. A last resort passes an open breaker."""
        with self._lock:
            found = self._found(key)
            found.limit = limit
            return self._admit(key, found, last_resort=last_resort)

    def blocked_for(self, key: str, *, last_resort: bool = False) -> float:
        """Seconds until the provider's cooldown ends, 0 without one, endless while its breaker blocks it."""
        with self._lock:
            found = self._providers.get(key)
            if found is None:
                return 0.0
            now = self.clock()
            if not last_resort and found.breaker.blocks(now):
                return math.inf
            return max(0.0, found.cooldown_until - now)

    async def wait(self, keys: Sequence[str], seconds: float) -> Permit | None:
        """Wait until one of `keys` has room: a permit for it. `None` when to look again, after `seconds` at the latest.

        Runs are served in the order in which they came.
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
            with self._lock, suppress(ValueError):  # it is gone when it was served
                self._waiters.remove(waiter)
            if permit is None and waiter.future.done() and not waiter.future.cancelled():
                unused = waiter.future.result()  # it came in the same moment as the end of the waiting
                if unused is not None:
                    self.canceled(unused)
        return permit

    # After a call

    def succeeded(
        self, permit: Permit, *, latency_ms: float, streamed: bool, retry_after_s: float | None = None
    ) -> None:
        """The call brought an answer; `latency_ms` is the time to its first text, or without streaming to its end."""
        with self._lock:
            found = self._settle(permit)
            if found is None:
                return
            found.latencies[streamed].append(latency_ms)
            found.misconfigured = found.trouble = None
            self._close(found)
            self._cool_down(found, retry_after_s)
            self._hand_on(permit.key)

    def failed(self, permit: Permit, error: LLMProviderError, provider: LLMProvider) -> None:
        """The call ended with `error`."""
        with self._lock:
            found = self._settle(permit)
            if found is None:
                return
            policy = policy_for(error)
            if policy.misconfigured:
                found.misconfigured, found.trouble = str(error), error.kind
            if policy.breaker or chosen_to_fall_back(error, provider):
                self._count_failure(found, error, permit)
            elif permit.probe:  # it answers again, if only to refuse
                self._close(found)
            self._cool_down(found, error.retry_after_s or (COOLDOWN_SECONDS if policy.cooldown else None))
            self._hand_on(permit.key)

    def canceled(self, permit: Permit) -> None:
        """The caller went away, or a hedge lost: nothing is known about the provider."""
        with self._lock:
            found = self._settle(permit)
            if found is None:
                return
            if permit.probe:
                found.breaker.probing = False
            self._hand_on(permit.key)

    # Hedging

    def p95_ms(self, key: str, *, streamed: bool) -> float | None:
        """The 95th percentile of the provider's latest latencies, `None` when they are too few."""
        with self._lock:
            found = self._providers.get(key)
            known = sorted(found.latencies[streamed]) if found else []
        return known[int(len(known) * 0.95)] if len(known) >= LATENCIES_NEEDED else None

    def count_call(self, budget: float) -> None:
        """A run has begun that may hedge: `budget` more hedges are allowed."""
        with self._lock:
            self._hedges = min(HEDGES_SAVED, self._hedges + budget)

    def take_hedge(self) -> bool:
        """Whether the budget allows one more hedge; it is taken then."""
        with self._lock:
            if self._hedges < 1 - 1e-9:  # ten times 0.1 is a little less than 1
                return False
            self._hedges -= 1
            return True

    # Under the lock

    def _found(self, key: str) -> _Provider:
        found = self._providers.get(key)
        if found is None:
            found = self._providers[key] = _Provider()
        return found

    def _admit(self, key: str, found: _Provider, *, last_resort: bool = False) -> Permit | None:
        if found.full or self.blocked_for(key, last_resort=last_resort):
            return None
        probe = found.breaker.state != "closed" and not last_resort
        if probe:
            found.breaker.probing = True
        found.in_flight += 1
        return Permit(key, probe, of=found)

    def _settle(self, permit: Permit) -> _Provider | None:
        if permit.settled:
            return None
        permit.settled = True
        found = self._found(permit.key)
        found.in_flight = max(0, found.in_flight - 1)
        if found is not permit.of:
            self._hand_on(permit.key)
            return None
        return found

    def _close(self, found: _Provider) -> None:
        if found.breaker.state != "closed":
            found.since = self._wall_clock()
        found.reason = None
        found.breaker.success()

    def _count_failure(self, found: _Provider, error: LLMProviderError, permit: Permit) -> None:
        before = found.breaker.state
        found.breaker.failure(self.clock(), probe=permit.probe)
        if found.breaker.state != "closed":
            found.reason = str(error)
            if before == "closed":
                found.since = self._wall_clock()

    def _cool_down(self, found: _Provider, seconds: float | None) -> None:
        if seconds:
            found.cooldown_since = self._wall_clock()
            found.cooldown_until = max(found.cooldown_until, self.clock() + seconds)

    def _hand_on(self, key: str) -> None:
        """Give the place that became free to the first run that waits for it.

        One that has become blocked is given to nobody: the runs that wait for it look for another way.
        """
        found = self._providers[key]
        blocked = self.blocked_for(key) > 0
        for waiter in [waiter for waiter in self._waiters if key in waiter.keys]:
            permit = None if blocked else self._admit(key, found)
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
