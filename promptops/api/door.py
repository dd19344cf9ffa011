"""The frame of every answer of the machine interface: the request id, headers, draining, and errors that escape."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

from promptops.api.problems import MEDIA_TYPE, later
from promptops.platform.draining import gate
from promptops.platform.requests import Facts, facts_of

log = logging.getLogger("promptops.api")

Application = Callable[[Any, Any, Any], Awaitable[None]]

PREFIXES = ("/api", "/v1")
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
STOPPING = "This process is stopping. Ask again: another process answers, or this one after its restart."
# Each is sent unless the route sends its own.
HEADERS = {
    b"cache-control": b"no-store",
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}


def is_for_machines(path: str) -> bool:
    """Return whether an address belongs to the machine interface."""
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in PREFIXES)


def with_api(pages: Application, machines: Application) -> Application:
    """Return an application that hands the addresses of the machine interface to `machines`, and others to `pages`."""

    async def chosen(scope: Any, receive: Any, send: Any) -> None:
        await (machines if is_for_machines(scope["path"]) else pages)(scope, receive, send)

    return chosen


def with_door(application: Application) -> Application:
    """Return the application with request ids, headers and draining. Cookies are dropped before it."""

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        with facts_of(scope) as facts:
            await let_in(facts, scope, receive, send)

    async def let_in(facts: Facts, scope: Any, receive: Any, send: Any) -> None:
        state: dict[str, Any] = {}
        is_finished = False

        async def send_with_headers(message: Any) -> None:
            nonlocal is_finished
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                names = {name.lower() for name, _ in own}
                more = [(name, value) for name, value in HEADERS.items() if name not in names]
                more += [(b"x-request-id", facts.id.encode())]
                more += [
                    (name.lower().encode(), value.encode())
                    for name, value in state.get("headers", {}).items()
                    if name.lower().encode() not in names
                ]
                message = {**message, "headers": own + more}
            is_finished = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        scope = {**scope, "state": state, "headers": [each for each in scope["headers"] if each[0] != b"cookie"]}
        try:
            if gate.closed:
                await _send_stopping(send_with_headers)
                return
            # A change that has begun is finished before the process ends.
            changes = scope["method"].upper() not in SAFE_METHODS
            with gate.passing(asyncio.current_task()) if changes else nullcontext():
                await application(scope, receive, send_with_headers)
        except Exception:
            log.exception("A request of a machine failed: %s %s.", scope["method"], _route(scope))
            if not is_finished:
                raise
        finally:
            facts.route = getattr(scope.get("route"), "path", "")

    return answered


def _route(scope: Any) -> str:
    """Return the route without the values in its address."""
    return getattr(scope.get("route"), "path", "an unknown address")


async def _send_stopping(send: Any) -> None:
    problem = later("stopping", STOPPING, 1)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"retry-after", problem.headers["Retry-After"].encode())]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": problem.body})
