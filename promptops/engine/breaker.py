"""The arithmetic of health: circuit breakers and budgets of extra calls. No clocks, locks or providers belong here."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "half_open"]

FAILURES_TO_OPEN = 5
"""Failures in a row that open a breaker: the default of purgatory, pybreaker and Envoy's `consecutive_5xx`."""

RATE_WINDOW = 20
"""The number of latest calls from which the failure rate is computed: Hystrix's `requestVolumeThreshold`. Fewer calls
say nothing about a rate. The 100 calls of resilience4j and Polly would take eight minutes at one prompt in 5 s."""

RATE_TO_OPEN = 0.3
"""The failure rate that opens a breaker, between Polly's 0.1 and resilience4j's 0.5. A provider that fails every third
call fails at least 6 of any 20. One that fails 5% of its calls fails 6 of 20 once in 3,000 windows."""

OPEN_SECONDS = 10.0
"""The seconds for which a breaker stays open before one call may probe: half the contract's deadline for a run. So a
recovered primary returns soon, and one probe in ten seconds is no burden."""

EXTRA_CALLS_SAVED = 10.0
"""The most unused extra calls that a budget holds, so that a quiet day does not save up for a burst: `maxTokens` in the
example of gRPC's retry throttling (gRFC A6)."""

EXTRA_CALLS_PER_RUN = 0.1
"""The fraction of a retry that each run earns for all runs: `tokenRatio` in the same example, and `RetryRatio` in
.NET's retry budget. With a full budget at the start, 100 runs make at most 10 + 10 retries, 20%."""


class Breaker:
    """A circuit breaker: closed, open, or half-open with a single probe. It has no clock; `now` is in seconds.

    Failures in a row open it, and so does a high failure rate among the latest calls. After `OPEN_SECONDS` one call may
    probe. Its success closes the breaker, and its failure opens it for the same time again. If the probe is canceled,
    the next call may probe. Any success closes a breaker that failures in a row opened. If the rate opened it, only a
    probe closes it, because most calls succeed even then.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.opened_at: float | None = None
        self.probing = False
        self._opened_by_rate = False
        self._latest: deque[bool] = deque(maxlen=RATE_WINDOW)

    @property
    def state(self) -> State:
        """Return the state to show. It is half-open while the probe is in progress."""
        if self.opened_at is None:
            return "closed"
        return "half_open" if self.probing else "open"

    def copy(self) -> Breaker:
        """Return a breaker in the same state that shares nothing with this one."""
        twin = Breaker()
        twin.__dict__.update(self.__dict__, _latest=self._latest.copy())
        return twin

    def blocks(self, now: float) -> bool:
        """Return whether the breaker blocks the next call. The call that an open breaker allows is the probe."""
        return self.opened_at is not None and (self.probing or now < self.opened_at + OPEN_SECONDS)

    def success(self, *, probe: bool = False) -> None:
        """Count a success, and close the breaker, unless the failure rate opened it and this is not the probe."""
        self.failures = 0
        if self.opened_at is None:
            self._latest.append(True)
        elif probe or not self._opened_by_rate:
            self._close()

    def failure(self, now: float, *, probe: bool) -> None:
        """Count a failure. Only a failed probe keeps an open breaker open for longer."""
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
    """Extra calls that all runs may make together. Each run earns a fraction of one, and at most 10 are saved."""

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
