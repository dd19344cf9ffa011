"""`/livez` and `/readyz`: the process lives, and the process can do its work.

The event loop answers them before Django, without a session, a thread of the pool or a page's database connection. So
they answer even while all of these hang. Nothing here names a host, a person or a secret.
"""

import asyncio
import concurrent.futures
import json
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connections

from promptops.ledger.models import LiveConfiguration
from promptops.live import snapshots as live
from promptops.platform.draining import gate

PROBE_EVERY = 1.0
"""Seconds between two probes, however often somebody asks."""
PROBE_SECONDS = 1.5
"""Seconds for which an answer waits for the probes, which may take longer themselves."""
FOLLOWER_SECONDS = 5.0
"""Without a successful poll for this long, the process may run an old configuration. It polls twice a second."""
REDIS_SECONDS = 0.5

Application = Callable[[Any, Any, Any], Awaitable[None]]


class Probe:
    """The result of a check that may hang. The check runs at most once in PROBE_EVERY, in a thread of its own."""

    def __init__(self, check: Callable[[], dict[str, Any]]) -> None:
        self._check = check
        self._lock = threading.Lock()
        self._began = 0.0
        self._result: concurrent.futures.Future[dict[str, Any]] | None = None

    async def result(self) -> dict[str, Any]:
        """Return what the check returned, or an `error` if it takes longer than PROBE_SECONDS."""
        future = self._current()
        if not future.done():
            left = max(0.0, self._began + PROBE_SECONDS - time.monotonic())
            await asyncio.wait({asyncio.wrap_future(future)}, timeout=left)
        return future.result() if future.done() else {"error": f"no answer within {PROBE_SECONDS} s"}

    def _current(self) -> "concurrent.futures.Future[dict[str, Any]]":
        with self._lock:
            fresh = time.monotonic() - self._began < PROBE_EVERY
            if self._result is None or (self._result.done() and not fresh):
                self._began = time.monotonic()
                self._result = concurrent.futures.Future()
                # A daemon: a probe that hangs must not keep the process from ending.
                threading.Thread(target=self._run, args=[self._result], daemon=True).start()
            return self._result

    def _run(self, future: "concurrent.futures.Future[dict[str, Any]]") -> None:
        try:
            future.set_result(self._check())
        except Exception as error:
            future.set_result({"error": type(error).__name__})


def check_database() -> dict[str, Any]:
    """Return the live revision, and an `error` or a `write_error` if the database cannot be read or written.

    Nothing is written: SQLite gives the lock for writing, PostgreSQL says whether it would take a change.
    """
    connection = connections["default"]
    try:
        try:
            revision = LiveConfiguration.objects.values_list("revision", flat=True).get(pk=1)
        except (DatabaseError, LiveConfiguration.DoesNotExist) as error:
            return {"error": type(error).__name__}
        try:
            with connection.cursor() as cursor:
                if connection.vendor == "sqlite":
                    cursor.execute("PRAGMA busy_timeout = 1000")  # ms
                    cursor.execute("BEGIN IMMEDIATE")
                    cursor.execute("ROLLBACK")
                    refused = ""
                else:
                    cursor.execute("SELECT current_setting('transaction_read_only')")
                    refused = "read-only" if cursor.fetchone() == ("on",) else ""
        except DatabaseError as error:
            refused = type(error).__name__
        return {"revision": revision} | ({"write_error": refused} if refused else {})
    finally:
        connection.close()


def check_redis() -> dict[str, Any]:
    """Return an `error` if Redis does not answer."""
    timeouts = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
    with redis.Redis.from_url(settings.REDIS_URL, **timeouts) as server:
        server.ping()
    return {}


database_probe, redis_probe = Probe(check_database), Probe(check_redis)


@dataclass
class Readiness:
    """The content of `/readyz`: `reasons` make it 503, `warnings` do not."""

    facts: dict[str, Any]
    reasons: list[str]
    warnings: list[str]


async def readiness() -> Readiness:
    """Return the readiness, within 2 seconds."""
    probes = [database_probe.result()] + ([redis_probe.result()] if settings.REDIS_URL else [])
    database, *others = await asyncio.gather(*probes)
    facts, reasons = _follower_facts(database.get("revision"))
    warnings = []
    if error := database.get("error"):
        reasons.append(f"The database cannot be read: {error}.")
    elif error := database.get("write_error"):
        reasons.append(f"The database cannot be written: {error}.")
    facts["database"] = {
        "readable": "error" not in database,
        "writable": not {"error", "write_error"} & database.keys(),
    }
    facts["redis"] = None
    for result in others:
        facts["redis"] = {"reachable": "error" not in result}
        if error := result.get("error"):
            warnings.append(f"Redis does not answer: {error}. Other processes hear of changes up to a second later.")
    if gate.closed:
        reasons.append("The process is stopping.")
    return Readiness(facts, reasons, warnings)


def _follower_facts(revision: int | None) -> tuple[dict[str, Any], list[str]]:
    """Return the age of the snapshot, and the reasons why it may be old. In the database, `revision` is live."""
    now, following, snapshot = time.monotonic(), live.following, live.loaded_snapshot()
    reasons = []
    if following.polled_at is None:
        reasons.append("The live configuration has not been read yet.")
    elif now - following.polled_at > FOLLOWER_SECONDS:
        reasons.append(f"The live configuration was last read {now - following.polled_at:.0f} seconds ago.")
    facts: dict[str, Any] = {
        "snapshot": {
            "revision": snapshot.revision if snapshot else None,
            "age_seconds": _age(now, following.loaded_at) if snapshot else None,
            "live_revision": revision,
        },
        "follower": {"alive": not reasons, "last_poll_seconds": _age(now, following.polled_at)},
        "last_error": {"kind": following.failure, "age_seconds": _age(now, following.failed_at)}
        if following.failure
        else None,
    }
    return facts, reasons


def _age(now: float, then: float | None) -> float | None:
    return None if then is None else round(now - then, 1)


def with_health(application: Application) -> Application:
    """Answer `/livez` and `/readyz`, and hand everything else to the application."""

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/livez":
            await _send(send, 200, {"status": "ok"})
        elif scope["path"] == "/readyz":
            ready = await readiness()
            status = "not ready" if ready.reasons else "ready"
            content = {"status": status, "reasons": ready.reasons, "warnings": ready.warnings, **ready.facts}
            await _send(send, 503 if ready.reasons else 200, content)
        else:
            await application(scope, receive, send)

    return answered


async def _send(send: Any, status: int, content: dict[str, Any]) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content, indent=1).encode() + b"\n"})
