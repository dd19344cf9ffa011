"""The times of following: the clock, the pauses and the back-off. Tests replace all of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the time, aware and in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """The sources of time and chance. `monotonic` returns seconds, `random` a number from 0 to 1."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = utc_now
    random: Callable[[], float] = random.random


@dataclass(frozen=True)
class Timing:
    """The pauses of following, in seconds.

    `heartbeat` is the pause between two heartbeats. A socket that is silent for `silence` is given up. `stale` is the
    time without a word from the control room after which the state is stale. `answer` is the time for the answer to a
    registration. `long_poll` is the time that a long poll waits, `poll` the pause between two polls. `socket_retry` is
    the time until a socket is tried again. `unauthorized` is the pause after a refused token. `refused` is the pause
    before an invalid document is read again. `first_pause` and `longest_pause` limit the back-off; the longest is under
    a heartbeat, so that every lag heals within two. After a change of the epoch no other one is used for `epoch_pause`:
    the processes of a control room notice a restore within a second. `watch` is the pause between two looks at the
    state, `reports` the one between two batches, `model` the longest time that content waits for its safety model.
    """

    heartbeat: float = 10.0
    silence: float = 25.0
    stale: float = 30.0
    answer: float = 10.0
    long_poll: float = 25.0
    poll: float = 5.0
    socket_retry: float = 60.0
    unauthorized: float = 60.0
    refused: float = 60.0
    first_pause: float = 0.5
    longest_pause: float = 6.0
    epoch_pause: float = 8.0
    watch: float = 1.0
    reports: float = 5.0
    model: float = 10.0


@dataclass
class Backoff:
    """Pauses that double up to a limit, with full jitter: each is a random share of its limit.

    Servers that lost their control room at the same moment do not come back at the same moment.
    """

    clock: Clock
    first: float
    longest: float
    failures: int = field(default=0, init=False)

    def next(self) -> float:
        """Return the next pause in seconds."""
        limit = min(self.longest, self.first * 2 ** min(self.failures, 16))
        self.failures += 1
        return self.clock.random() * limit

    def reset(self) -> None:
        """Begin with short pauses again."""
        self.failures = 0
