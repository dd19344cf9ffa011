"""`/metrics`, and the metrics of requests and sockets. This is the outermost door: it begins the facts of each.

The event loop answers `/metrics` before Django, without a session or a database, so that it works during an outage.
What is measured belongs to the features (`<feature>/metrics.py`).
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from prometheus_client import generate_latest, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from promptops.platform import metrics
from promptops.platform.requests import facts_of

Application = Callable[[Any, Any, Any], Awaitable[None]]

PATH = "/metrics"
LEAST_TOKEN = 20
"""Characters of METRICS_TOKEN."""
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
OFF = "This address shows no metrics. Set METRICS_TOKEN, or METRICS_PORT for a port of their own.\n"
REFUSED = "Send METRICS_TOKEN of this server in the header `Authorization: Bearer ...`.\n"
SERVERS_PATH = "/ws/v1/fleet"

requests = metrics.counter(
    "promptops_http_requests_total",
    "Answered requests by route, method and class of status",
    ["route", "method", "status"],
)
seconds = metrics.histogram(
    "promptops_http_request_duration_seconds",
    "Time from a request to the end of its answer, waits and streams included",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
sockets = metrics.stored_gauge("promptops_websocket_connections", "Open WebSockets of pages and of servers", ["kind"])
for kind in ("page", "server"):
    sockets.labels(kind)


def with_requests(application: Application) -> Application:
    """Answer `/metrics`, hand everything else to the application, and measure both."""

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        status = 500

        async def send_noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        with facts_of(scope) as facts:
            try:
                await (_answer if scope["path"] == PATH else application)(scope, receive, send_noting)
            finally:
                route = facts.route or _fixed_route(scope["path"])
                method = scope["method"] if scope["method"] in METHODS else metrics.OTHER
                requests.labels(route, method, f"{status // 100}xx").inc()
                seconds.labels(route).observe(time.perf_counter() - began)

    return answered


def with_sockets(application: Application) -> Application:
    """Count the open sockets by kind."""

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        with facts_of(scope), sockets.labels("server" if scope["path"] == SERVERS_PATH else "page").track_inprogress():
            await application(scope, receive, send)

    return answered


def _fixed_route(path: str) -> str:
    """Return the route of an address that neither Django nor the machine interface has resolved."""
    if path in {PATH, "/livez", "/readyz"}:
        return path
    return settings.STATIC_URL if path.startswith(settings.STATIC_URL) else metrics.OTHER


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    if not settings.METRICS_TOKEN:
        status, body = 404, OFF.encode()
    elif not secrets.compare_digest(dict(scope["headers"]).get(b"authorization", b""), _expected()):
        status, body = 401, REFUSED.encode()
        headers.append((b"www-authenticate", b'Bearer realm="PromptOps metrics"'))
    else:
        # In a thread: thousands of samples take milliseconds.
        status, body = 200, await asyncio.to_thread(generate_latest, metrics.registry)
        headers[0] = (b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode())
    headers.append((b"x-content-type-options", b"nosniff"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _expected() -> bytes:
    return f"Bearer {settings.METRICS_TOKEN}".encode()


def serve_on_own_port() -> None:
    """Answer on METRICS_PORT too, in a thread and without a token. Raises OSError if the port cannot be had."""
    if settings.METRICS_PORT:
        start_http_server(settings.METRICS_PORT, addr=settings.METRICS_HOST, registry=metrics.registry)
