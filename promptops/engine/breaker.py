"""The arithmetic of health, without clocks, locks and providers: circuit breakers and budgets of extra calls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "half_open"]

FAILURES_TO_OPEN = 5
"""Failures in a row that open a breaker: the default of purgatory, pybreaker and Envoy's `consecutive_5xx`."""

RATE_WINDOW = 20
"""The latest calls that the failure rate is taken from. Hystrix's `requestVolumeThreshold`: fewer calls say nothing
about a rate. The 100 calls of resilience4j and Polly would take a stream of one prompt in 5 s eight minutes to fill."""

RATE_TO_OPEN = 0.3
"""The failure rate that opens a breaker, between Polly's 0.1 and resilience4j's 0.5. A provider that fails every third
call fails at least 6 of any 20. One that fails 5% of its calls fails 6 of 20 once in 3,000 windows."""

OPEN_SECONDS = 10.0
"""How long a breaker stays open before one call may probe: half the contract's deadline for a run, so that a recovered
primary is back soon, and one probe in ten seconds is no burden."""

EXTRA_CALLS_SAVED = 10.0
"""How many unused extra calls a budget may hold, so that a quiet day does not pay for a burst: `maxTokens` in the
example of gRPC's retry throttling (gRFC A6)."""

EXTRA_CALLS_PER_RUN = 0.1
"""How many retries a run earns for all runs: `tokenRatio` in the same example, and `RetryRatio` in .NET's retry
budget. With a full budget at the start, 100 runs make at most 10 + 10 retries, 20%."""


class Breaker:
    """A circuit breaker: closed, open, half-open with a single probe. Knows no clock; `now` is in seconds.

    Failures in a row open it, and so does a failure rate over the latest calls. After `OPEN_SECONDS` one call may
    probe: its success closes the breaker, its failure opens it for as long again, and when it is canceled the next
    call may probe. Any success closes a breaker that failures in a row opened; one that its rate opened is closed by
    a probe alone, because most of its calls succeed all the time.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.opened_at: float | None = None
        self.probing = False
        self._opened_by_rate = False
        self._latest: deque[bool] = deque(maxlen=RATE_WINDOW)

    @property
    def state(self) -> State:
        """What is shown of it; half-open while the probe is in progress."""
        if self.opened_at is None:
            return "closed"
        return "half_open" if self.probing else "open"

    def copy(self) -> Breaker:
        """Return a breaker in the same state that shares nothing with this one."""
        twin = Breaker()
        twin.__dict__.update(self.__dict__, _latest=self._latest.copy())
        return twin

    def blocks(self, now: float) -> bool:
        """Whether it keeps the next call away. While it lets one through and is not closed, that one is the probe."""
        return self.opened_at is not None and (self.probing or now < self.opened_at + OPEN_SECONDS)

    def success(self, *, probe: bool = False) -> None:
        """Count a success, and close unless the failure rate opened it and this is no probe."""
        self.failures = 0
        if self.opened_at is None:
            self._latest.append(True)
        elif probe or not self._opened_by_rate:
            self._close()

    def failure(self, now: float, *, probe: bool) -> None:
        """Count a failure. Those of calls from before it opened, or made as a last resort, keep it open no longer."""
        self.failures += 1
        if probe:
            self.opened_at, self.probing = now, False
        elif self.opened_at is None:
            self._latest.append(False)
            self._opened_by_rate = self._rate_is_high()
            if self._opened_by_rate or self.failures >= FAILURES_TO_OPEN:
                self.opened_at = now

    def _rate_is_high(self) -> bool:
        failed = self._latest.count(False)
        return len(self._latest) == RATE_WINDOW and failed >= RATE_WINDOW * RATE_TO_OPEN

    def _close(self) -> None:
        self.opened_at, self.probing, self._opened_by_rate = None, False, False
        self._latest.clear()


@dataclass
class Budget:
    """Extra calls that all runs may make together. Each run earns a fraction of one; at most 10 are saved up."""

    calls: float = 0.0

    def earn(self, fraction: float) -> None:
        """Add what one run earns."""
        self.calls = min(EXTRA_CALLS_SAVED, self.calls + fraction)

    def spend(self) -> bool:
        """Spend one call if there is one, and return whether there was."""
        if self.calls < 1 - 1e-9:  # ten times 0.1 is a little less than 1
            return False
        self.calls = max(0.0, self.calls - 1)
        return True
