"""What is known about the health of one provider: records without locks, clocks and rules.

`health.py` changes them under its lock, `breaker.py` has the arithmetic of the breaker.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from promptops.engine.breaker import Breaker, State

LATENCIES_KEPT = 100
"""How many of a provider's latest latencies its p95 is taken from."""


@dataclass(frozen=True)
class HealthView:
    """How a provider is doing, for people to see.

    `state` is the breaker's, `since` the Unix time of its last change, `reason` why the provider is misconfigured, or,
    while the breaker is not closed, the last error that counted. `limit` is `None` for a provider without one.

    `trouble` is the kind of the error that marked the provider misconfigured: "auth", "missing_key", "not_found" or
    "quota". `cooldown_since` is the Unix time of the answer that asked for the cooldown, `cooldown_reason` the error in
    it; both are `None` without a cooldown, the reason also after an answer that used up a rate limit. These three
    explain the state and are no part of it, so two views are compared without them.
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
    cooldown_reason: str | None = field(default=None, compare=False)

    @property
    def out_of_credit(self) -> bool:
        """Whether the provider's account has no credit left."""
        return self.trouble == "quota"


@dataclass(eq=False)
class Permit:
    """The right to make one call; `probe` marks the one that decides about an open breaker.

    `cooling` marks the one call that is made although the provider is cooling down. `of` is what was known of the
    provider then: how the call ends says nothing of one that was changed meanwhile.
    """

    key: str
    probe: bool = False
    cooling: bool = False
    settled: bool = False
    of: ProviderHealth | None = field(default=None, repr=False)


@dataclass
class Cooldown:
    """Until when a provider is left alone; `until` and `began` on the monotonic clock, `since` in Unix time."""

    until: float = 0.0
    began: float = 0.0
    since: float | None = None
    reason: str | None = None


@dataclass
class ProviderHealth:
    breaker: Breaker = field(default_factory=Breaker)
    cooldown: Cooldown = field(default_factory=Cooldown)
    asked_while_cooling: bool = False
    in_flight: int = 0
    limit: int | None = None
    misconfigured: str | None = None
    trouble: str | None = None
    reason: str | None = None
    since: float | None = None
    latencies: dict[bool, deque[float]] = field(
        default_factory=lambda: {streamed: deque(maxlen=LATENCIES_KEPT) for streamed in (False, True)}
    )

    @property
    def full(self) -> bool:
        return self.limit is not None and self.in_flight >= self.limit
