"""HTTP to providers: pooled clients, failures in plain words, capped bodies, server-sent events.

The only module that imports httpx. There is one client per running event loop, with aiohttp's connection pool below
it (httpx's own rescans every connection for every request). All clients share one SSL context, so the CA bundle is
read once per process.

A key goes to the address that the operator entered and nowhere else: redirects are not followed, cookies are not
kept, and neither `.netrc` nor the proxy variables of the environment are read. `SSL_CERT_FILE` and `SSL_CERT_DIR`
are, so that a private certificate authority can be trusted.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

MAX_BODY_BYTES = 4 * 1024 * 1024
"""The longest answer that is read: an answer of 256 tokens is about 1 KiB of text, 100 KiB as a stream of events."""

CONNECT_SECONDS = 5.0
"""How long a connection may take to open; after that the address is taken to be dead."""

MAX_CONNECTIONS = 512
"""Open connections per event loop. Calls over that number wait within their own time limit."""

KEEPALIVE_SECONDS = 30.0
"""How long an unused connection is kept; common load balancers drop one after 60 s."""

TransportFactory = Callable[[], httpx.AsyncBaseTransport]


class CallFailed(Exception):
    """A call that brought no readable answer.

    It lives only between this module and the provider: the exception behind it carries the request with its headers,
    so a provider makes its own error from `reason` and lets this one go.
    """

    def __init__(self, reason: str, *, timed_out: bool = False, too_long: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out
        self.too_long = too_long


class BearerAuth(httpx.Auth):
    """Sends a key as bearer token. An object, so that no header dictionary with the key lies about in a traceback."""

    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header to the request."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        yield request


class Reply:
    """An answer whose body has not been read yet."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    @property
    def is_event_stream(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        return self.headers.get("content-type", "").lower().startswith("text/event-stream")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises `CallFailed` when it breaks off or is longer than `MAX_BODY_BYTES`."""
        size = 0
        body = aiter(self._response.aiter_bytes())
        while True:
            with _plain_failures():
                chunk = await anext(body, None)
            if chunk is None:
                return
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise CallFailed(f"sent more than {MAX_BODY_BYTES // 1024 // 1024} MiB", too_long=True)
            yield chunk

    async def read(self) -> bytes:
        """The whole body. Raises `CallFailed` like `chunks`."""
        return b"".join([chunk async for chunk in self.chunks()])


@asynccontextmanager
async def post_json(url: str, payload: Mapping[str, Any], *, auth: httpx.Auth | None) -> AsyncIterator[Reply]:
    """Post `payload` and give the answer; leaving the block closes the connection unless the body was read to its end.

    Sets no overall time limit: that is the caller's. Raises `CallFailed` when there is no answer.
    """
    with _plain_failures():
        http = client()
        request = http.build_request("POST", url, content=json.dumps(payload).encode(), headers=_HEADERS)
        response = await _send(http, request, auth)
    try:
        yield Reply(response)
    finally:
        with suppress(Exception):  # the answer is read or given up: how the connection ends changes nothing
            await response.aclose()


async def _send(http: httpx.AsyncClient, request: httpx.Request, auth: httpx.Auth | None) -> httpx.Response:
    """Send, once more if the server had dropped the kept connection that it went out on before it could be used."""
    while True:
        _connection_reused.set(False)
        try:
            return await http.send(request, auth=auth, stream=True)
        except httpx.TransportError as exc:
            dropped = isinstance(exc.__cause__, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
            if not (dropped and _connection_reused.get()):
                raise


_connection_reused: ContextVar[bool] = ContextVar("connection_reused", default=False)

connected_at: ContextVar[list[float] | None] = ContextVar("connected_at", default=None)
"""Where a caller puts a list, the loop times at which its calls got their connections are added to it."""


async def _note_connection(*_: object) -> None:
    times = connected_at.get()
    if times is not None:
        times.append(asyncio.get_running_loop().time())


async def _note_reuse(*_: object) -> None:
    _connection_reused.set(True)
    await _note_connection()


_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


@contextmanager
def _plain_failures() -> Iterator[None]:
    """Turn whatever goes wrong in the HTTP client into `CallFailed`."""
    try:
        yield
    except Exception as exc:  # aiohttp lets some of its own through, and nothing here may reach a caller raw
        raise CallFailed(_reason(exc), timed_out=_timed_out(exc)) from None


def _timed_out(exc: Exception) -> bool:
    # The aiohttp transport reports a refused connection as httpx.ConnectTimeout; the cause tells the truth.
    if isinstance(exc.__cause__, aiohttp.ClientError):
        return isinstance(exc.__cause__, TimeoutError)
    return isinstance(exc, httpx.TimeoutException | TimeoutError)


def _reason(exc: Exception) -> str:
    if isinstance(exc, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return "could not be reached: its address is not a valid URL"
    if _timed_out(exc):
        return "did not answer in time"
    match exc.__cause__:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return "could not be reached: its TLS certificate or connection was not accepted"
        case aiohttp.ClientConnectorDNSError():
            return "could not be reached: its host name was not found"
        case aiohttp.ClientConnectorError():
            return "could not be reached: the connection was refused"
    if isinstance(exc, httpx.DecodingError):
        return "sent an answer that could not be decompressed"
    return f"broke off the connection ({type(exc.__cause__ or exc).__name__})"


# Clients

_lock = threading.Lock()
_clients: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}
_transport_factory: TransportFactory | None = None
_ssl_context: ssl.SSLContext | None = None


def client() -> httpx.AsyncClient:
    """The running event loop's client. Clients of loops that have been closed are dropped on the way."""
    loop = asyncio.get_running_loop()
    found = _clients.get(loop)
    if found is None:
        with _lock:
            _drop_dead_clients()
            found = _clients[loop] = _new_client()
    return found


async def close_client() -> None:
    """Close the running event loop's client and its connections; the next call opens a new one."""
    with _lock:
        found = _clients.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.aclose()


@contextmanager
def use_transport(factory: TransportFactory) -> Iterator[None]:
    """The seam for tests: inside the block new clients get their transport from `factory`.

    It counts for all threads; clients from before it come back after it.
    """
    global _clients, _transport_factory
    with _lock:
        before = _clients, _transport_factory
        _clients, _transport_factory = {}, factory
    try:
        yield
    finally:
        with _lock:
            _clients, _transport_factory = before


def shared_ssl_context() -> ssl.SSLContext:
    """The process's SSL context, made on first use: reading the CA bundle takes about 30 ms."""
    global _ssl_context
    if _ssl_context is None:
        _ssl_context = httpx.create_ssl_context()
    return _ssl_context


def _new_client() -> httpx.AsyncClient:
    made = httpx.AsyncClient(
        transport=(_transport_factory or _pooled_transport)(),
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        headers={"User-Agent": "PromptOps"},
        follow_redirects=False,
        trust_env=False,
    )
    made.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return made


def _pooled_transport() -> httpx.AsyncBaseTransport:
    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=shared_ssl_context(), limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_SECONDS
        )
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        trace.on_connection_create_end.append(_note_connection)
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, trace_configs=[trace]
        )

    return AiohttpTransport(verify=shared_ssl_context(), client=session)


def _drop_dead_clients() -> None:
    for loop in [loop for loop in _clients if loop.is_closed()]:
        _run_without_loop(_clients.pop(loop).aclose())


def _run_without_loop(closing: Coroutine[Any, Any, None]) -> None:
    """Run the closing of a client whose loop is closed: nothing is left to wait for, so one step ends it."""
    try:
        closing.send(None)
    except (StopIteration, RuntimeError):  # RuntimeError: a transport that does ask for the closed loop
        return
    closing.close()


@atexit.register
def _close_all_clients() -> None:
    """Close what was left open, so that no complaint about it is printed when the interpreter ends."""
    for loop in [loop for loop in _clients if not (loop.is_closed() or loop.is_running())]:
        loop.run_until_complete(_clients.pop(loop).aclose())
    _drop_dead_clients()


# Server-sent events


class EventParser:
    """Splits a stream of bytes into the data of server-sent events, wherever the bytes are cut.

    Works on bytes, so a character split between two chunks is whole again before it is decoded. Comments and fields
    other than `data` are skipped.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[str]:
        """The data of the events that `chunk` completes."""
        text = self._rest + chunk
        # A carriage return at the very end may be the first half of a line end: it waits for the next chunk.
        held = b"\r" if text.endswith(b"\r") else b""
        lines = text[: len(text) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + held
        return [event for line in lines for event in self._line(line)]

    def close(self) -> list[str]:
        """The data of a last event that no blank line ended."""
        last, self._rest = self._rest.rstrip(b"\r"), b""
        return self._line(last) + self._line(b"")

    def _line(self, line: bytes) -> list[str]:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            event = b"\n".join(self._data).decode("utf-8", errors="replace")
            self._data = []
            return [event]
        return []
