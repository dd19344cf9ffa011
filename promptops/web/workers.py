"""Bounds on requests in progress: each takes a thread, and each thread a connection to the database.

A request waits for a free worker in a bounded queue. If the queue is full, the answer is 503 with Retry-After. Requests
that hash a password have workers and a queue of their own, so signing in takes no worker from pages.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve

from promptops.people import passwords
from promptops.platform import outages

Application = Callable[[Any, Any, Any], Awaitable[None]]

MAX_WAITING = 1_000
"""Requests that wait for a worker; a page of 30 ms and 8 workers empties such a queue in about 20 s on 2 cores."""
MAX_WAIT_SECONDS = 20.0

RESERVED_THREADS = 2
RESERVED_PATHS = ("/static/", "/healthz")
"""Paths with workers of their own: health checks and static files must not wait for pages that wait for a lock.

`/livez` and `/readyz` need no worker (promptops.web.health)."""

PASSWORDS_WAITING = 25 * passwords.AT_ONCE
PASSWORDS_WAIT_SECONDS = 10.0
"""The queue empties within this time if a sign-in takes less than 0.4 s."""

BUSY = "The server is busy. Try again in a few seconds."
SIGNING_IN_BUSY = "Many people are signing in right now. Go back and try again in 5 seconds."


class Workers:
    """A fixed number of threads that answer requests, one each at a time, and keep their connection in between."""

    def __init__(
        self,
        threads: int,
        *,
        max_waiting: int = MAX_WAITING,
        max_wait: float = MAX_WAIT_SECONDS,
        name: str = "request",
        busy: str = BUSY,
    ) -> None:
        self._free = asyncio.Semaphore(threads)
        # The thread that was used last is used first, so that few have a connection if few are needed.
        self._idle = [ThreadPoolExecutor(max_workers=1, thread_name_prefix=name) for _ in range(threads)]
        self._waiting = 0
        self._max_waiting, self._max_wait = max_waiting, max_wait
        self._busy = busy

    async def answer(self, application: Application, scope: Any, receive: Any, send: Any) -> None:
        """Let the application answer in one of the threads, or answer 503 if none is free in time."""
        if not await self._acquire():
            await send_unavailable(scope, send, self._busy)
            return
        thread = self._idle.pop()
        try:
            async with ThreadSensitiveContext(executor=thread):
                await application(scope, receive, send)
        finally:
            self._idle.append(thread)
            self._free.release()

    async def _acquire(self) -> bool:
        if self._waiting >= self._max_waiting:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(self._max_wait):
                await self._free.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True


def with_workers(application: Application, threads: int) -> Application:
    """Return the application with at most `threads` requests at once.

    Two kinds are extra: the reserved ones, and `passwords.AT_ONCE` that hash a password.
    """
    workers, reserved = Workers(threads), Workers(RESERVED_THREADS)
    hashing = Workers(
        passwords.AT_ONCE,
        max_waiting=PASSWORDS_WAITING,
        max_wait=PASSWORDS_WAIT_SECONDS,
        name="password",
        busy=SIGNING_IN_BUSY,
    )

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith(RESERVED_PATHS):
            chosen = reserved
        else:
            chosen = hashing if _hashes_password(scope) else workers
        await chosen.answer(application, scope, receive, send)

    return answered


def _hashes_password(scope: Any) -> bool:
    """Return whether the request is a form whose view hashes a password (`promptops.web.access.hashes_password`)."""
    if scope["method"].upper() != "POST":  # Django takes "post" for a POST too
        return False
    try:
        view = resolve(scope["path"]).func
    except Resolver404:
        return False
    return bool(getattr(view, "hashes_password", False))


async def send_unavailable(scope: Any, send: Any, reason: str) -> None:
    """Send a 503 with the reason: a page, or only the sentence for a request of htmx."""
    is_htmx = any(name.lower() == b"hx-request" for name, _ in scope["headers"])
    body = reason if is_htmx else _unavailable_page(reason)
    kind = b"text/plain" if is_htmx else b"text/html"
    headers = [
        (b"content-type", kind + b"; charset=utf-8"),
        (b"retry-after", b"%d" % outages.RETRY_SECONDS),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


@cache  # a busy server sends it hundreds of times, from the event loop
def _unavailable_page(reason: str) -> str:
    return render_to_string("503.html", {"reason": reason})
