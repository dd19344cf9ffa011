"""Pinned sessions: a viewer's session keeps the texts, settings and contracts that it began with.

The chain, its keys, the safety filter and the levers are always the newest (`engine.pins`). A release that applies to
pinned sessions too moves their pins to what is live.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from promptops.client.contents import Content
from promptops.client.timing import Clock
from promptops.engine.pins import pinned

Policy: TypeAlias = Literal["session", "segment", "call"]
"""The moment in which a session takes what is live: once, at each segment, or at each call."""

IDLE_SECONDS = 30 * 60.0
MAX_SESSIONS = 10_000


@dataclass
class Pin:
    """The pinned content of one session."""

    content: Content
    policy: Policy
    used_at: float


class Pins:
    """The pins of one server, by session. May be used from several threads."""

    def __init__(self, current: Callable[[], Content], clock: Clock, idle: float = IDLE_SECONDS) -> None:
        self._current, self._clock, self._idle = current, clock, idle
        self._pins: OrderedDict[str, Pin] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._pins)

    def begin(self, session: str, policy: Policy) -> None:
        """Pin a session, unless it is pinned with this policy already. Raises `ValueError` for an unknown policy."""
        if policy not in get_args(Policy):
            raise ValueError(f"The policy must be one of {', '.join(get_args(Policy))}, not {policy!r}")
        with self._lock:
            self._expire()
            pin = self._pins.get(session)
            if pin is None or pin.policy != policy:
                self._pins[session] = Pin(self._current(), policy, self._clock.monotonic())
            self._pins.move_to_end(session)
            while len(self._pins) > MAX_SESSIONS:
                self._pins.popitem(last=False)

    def content(self, session: str, policy: Policy) -> Content:
        """Return what the session's next run uses. A session that expired is pinned again."""
        newest = self._current()
        with self._lock:
            self._expire()
            pin = self._pins.setdefault(session, Pin(newest, policy, 0.0))
            pin.used_at = self._clock.monotonic()
            self._pins.move_to_end(session)
            if pin.policy == "call":
                pin.content = newest
            snapshot = pinned(pin.content.snapshot, newest.snapshot)
            if snapshot is newest.snapshot:
                pin.content = newest
            return replace(pin.content, snapshot=snapshot)

    def move_on(self, session: str) -> None:
        """Pin the session to what is live now."""
        with self._lock:
            if (pin := self._pins.get(session)) is not None:
                pin.content = self._current()

    def end(self, session: str) -> None:
        """Forget a session."""
        with self._lock:
            self._pins.pop(session, None)

    def _expire(self) -> None:
        since = self._clock.monotonic() - self._idle
        while self._pins and next(iter(self._pins.values())).used_at < since:
            self._pins.popitem(last=False)
