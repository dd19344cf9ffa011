"""The health records of one provider, without locks, clocks and rules.

`health.py` changes them under its lock, `breaker.py` has the arithmetic of the breaker.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from promptops.engine.breaker import Breaker, State

LATENCIES_KEPT = 100
"""The number of latest latencies from which a provider's p95 is computed."""


@dataclass(frozen=True)
class HealthView:
    """The state of a provider, for people to see.

    `state` is the breaker's state, `since` the Unix time of its last change. `reason` says why the provider is
    misconfigured, or, while the breaker is not closed, names the last error that counted. `limit` is `None` for a
    provider without a limit.

    `trouble` is the kind of the error that marked the provider misconfigured: "auth", "missing_key", "not_found" or
    "quota". `cooldown_since` is the Unix time of the answer that began the cooldown, `cooldown_reason` the error in
    that answer. Both are `None` without a cooldown; the reason is also `None` after an answer that used up a rate
    limit. These three explain the state and are not part of it, so a comparison of two views ignores them.
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
        """Return whether the provider's account has no credit left."""
        return self.trouble == "quota"


@dataclass(eq=False)
class Permit:
    """The right to make one call. `probe` marks the call that decides about an open breaker.

    `cooling` marks the one call that is made although the provider is cooling down. `of` is the provider's health when
    the permit was given. If the provider was changed since then, the result of the call does not count.
    """

    key: str
    probe: bool = False
    cooling: bool = False
    settled: bool = False
    of: ProviderHealth | None = field(default=None, repr=False)


@dataclass
class Cooldown:
    """A time in which runs avoid a provider. `until` and `began` are monotonic, `since` is Unix time."""

    until: float = 0.0
    began: float = 0.0
    since: float | None = None
    reason: str | None = None


@dataclass
class ProviderHealth:
    """The health of one provider. `latencies` are in ms, by whether the answer was streamed."""

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
        """Return whether as many calls as its limit are in progress."""
        return self.limit is not None and self.in_flight >= self.limit
