"""Reports of runs: counts and timings, in batches, dropped rather than blocking. Texts only if the server opts in."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from promptops.client.timing import Clock
from promptops.client.wire import Unauthorized, WireError
from promptops.engine.judged_runs import Outcome

MAX_WAITING = 1_000
MAX_WAITING_CHARACTERS = 4 * 1024 * 1024
MAX_BATCH = 100
MAX_TEXT_CHARACTERS = 16_000
ERROR_KIND_CHARACTERS = 40


class Reports:
    """The queue of one server's reports. Any thread may add to it; one task sends it."""

    def __init__(self, clock: Clock, *, texts: bool) -> None:
        self.clock, self.texts = clock, texts
        self.dropped = 0
        """The number of reports that were dropped since the last report of it."""
        self.forget()

    def forget(self) -> None:
        """Drop everything without counting it: it belongs to the process that this one was forked from."""
        self._lock = threading.Lock()
        self._waiting: deque[tuple[dict[str, Any], int]] = deque()
        self._characters = 0
        self._batch: dict[str, Any] | None = None
        self._minute: deque[float] = deque(maxlen=10_000)
        self.dropped = 0

    def add(self, run: dict[str, Any]) -> None:
        """Add the report of a run. If too many wait, the oldest is dropped."""
        size = len(run.get("input", "")) + len(run.get("output", ""))
        with self._lock:
            self._minute.append(self.clock.monotonic())
            self._waiting.append((run, size))
            self._characters += size
            while len(self._waiting) > MAX_WAITING or self._characters > MAX_WAITING_CHARACTERS:
                self._characters -= self._waiting.popleft()[1]
                self.dropped += 1

    def runs_a_minute(self) -> float:
        """Return the number of runs in the last minute."""
        since = self.clock.monotonic() - 60.0
        with self._lock:
            while self._minute and self._minute[0] < since:
                self._minute.popleft()
            return float(len(self._minute))

    async def send(self, post: Callable[..., Any], introduction: dict[str, Any]) -> bool:
        """Send one batch and return whether more wait. A batch that was not answered is sent again with its id.

        Raises `WireError`, except for a batch that the control room will never take, which is dropped and counted.
        """
        batch = self._batch = self._batch or self._next(introduction)
        if batch is None:
            return False
        try:
            await post("/api/v1/reports", batch)
        except Unauthorized:
            raise
        except WireError as error:
            if not error.is_final:
                raise
            with self._lock:
                self.dropped += len(batch["runs"]) + batch["dropped"]
            self._batch = None
            return False
        self._batch = None
        with self._lock:
            return bool(self._waiting)

    def _next(self, introduction: dict[str, Any]) -> dict[str, Any] | None:
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
            self._characters -= sum(size for _, size in taken)
            if not taken:
                return None
            dropped, self.dropped = self.dropped, 0
        names = {name: introduction[name] for name in ("server", "instance")}
        return {"batch": str(uuid.uuid4()), **names, "dropped": dropped, "runs": [run for run, _ in taken]}

    def report(self, values: dict[str, Any], outcome: Outcome, at: datetime, text: str) -> dict[str, Any]:
        """Return the report of a run. `values` name its operation, template, version, revision and epoch."""
        response = outcome.response
        run = {
            **values,
            "at": at.isoformat(),
            "status": outcome.status,
            "latency_ms": round(outcome.latency_ms, 1),
            "provider": response.provider if response else "",
            "model": response.model if response else "",
            "attempts": len(outcome.attempts),
            "fallback_used": bool(response and response.fallback_used),
            "error_kind": outcome.error_kind[:ERROR_KIND_CHARACTERS],
        }
        if self.texts:
            is_blocked = outcome.status == "blocked"
            run["input"] = text[:MAX_TEXT_CHARACTERS]
            run["output"] = response.content[:MAX_TEXT_CHARACTERS] if response and not is_blocked else ""
        return run
