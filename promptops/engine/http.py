"""HTTP to providers and webhooks: pooled connections, failures in plain words, bodies with a size limit.

This is the only module that imports an HTTP library. The interface is httpx's requests, responses and transports. The
connections are aiohttp's, because httpx's own pool scans all of them for every request
(docs/decisions/0007-http-transport.md). Each running event loop has one transport. All transports share one SSL
context, so the CA bundle is read once per process. The meaning of an answer does not belong here.

A key goes to the address that the operator entered and nowhere else: this module follows no redirects, keeps no
cookies, and reads neither `.netrc` nor the proxy variables of the environment. It reads `SSL_CERT_FILE` and
`SSL_CERT_DIR`, so that an installation can trust a private certificate authority.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, Self
from weakref import WeakSet

import aiohttp
import httpx
import yarl
from aiohttp.connector import Connection

from promptops.engine.addresses import ForbiddenAddressError, SocketFactory, guarded_socket, refusal_of_url
from promptops.engine.auth import BearerKey
from promptops.engine.event_stream import BYTE_ORDER_MARK
from promptops.engine.inflate import STEP_BYTES, InflateError, Inflater

MAX_BODY_BYTES = 4 * 1024 * 1024
"""The longest body that is read: an answer of 256 tokens is about 1 KiB of text, 100 KiB as a stream of events."""

MAX_HEADER_BYTES = 64 * 1024
"""The longest line and the longest header that are read. aiohttp's own limit is 8 KiB, and gateways send longer
policies, cookies and metadata."""

CONNECT_SECONDS = 5.0
"""The longest time that a connection may take to open. After that the call fails."""

MAX_CONNECTIONS = 512
"""The most open connections per event loop. Further calls wait within their own time limits."""

KEEPALIVE_SECONDS = 30.0
"""The time for which an unused connection is kept. Common load balancers drop one after 60 s."""

Transport = httpx.AsyncBaseTransport
TransportFactory = Callable[[], Transport]


class CallFailed(Exception):
    """A call without a readable answer.

    It never leaves the provider that made the call. Its cause would carry the request with its headers, so a provider
    makes its own error from `reason` and drops this one.
    """

    def __init__(self, reason: str, *, timed_out: bool = False, too_long: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.timed_out, self.too_long = reason, timed_out, too_long


_EVENT_STARTS = frozenset({b":", b"d", b"e", b"i", b"r"})
"""The first characters of an event stream's lines: a comment, data, event, id, retry."""


class Reply:
    """An answer whose body has not been read yet.

    Leaving the `async with` block closes the connection unless the body was read to its end.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._body: httpx.AsyncByteStream = response.stream  # type: ignore[assignment]
        self.status = response.status_code
        self.headers = {name.lower().decode("latin-1"): text.decode("latin-1") for name, text in response.headers.raw}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(Exception):  # the answer was read or given up, so an error at closing does not matter
            await self._body.aclose()

    @property
    def is_event_stream(self) -> bool:
        """Return whether the content type is that of server-sent events."""
        return self.headers.get("content-type", "").lower().startswith("text/event-stream")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives. Raises `CallFailed` when it breaks off or is longer than `MAX_BODY_BYTES`."""
        size = 0
        try:
            encoding = self.headers.get("content-encoding", "").strip().lower()
            inflater = Inflater(encoding) if encoding not in ("", "identity") else None
            async for chunk in self._body:
                for piece in inflater.feed(chunk) if inflater else _steps(chunk):
                    size += len(piece)
                    if size > MAX_BODY_BYTES:
                        raise CallFailed(f"sent more than {MAX_BODY_BYTES // 1024 // 1024} MiB", too_long=True)
                    yield piece
                    if piece is not chunk:
                        await asyncio.sleep(0)  # the chunk holds more: let other tasks run
        except CallFailed:
            raise
        except Exception as exc:
            raise _plain_failure(exc) from None

    async def read(self) -> bytes:
        """Return the whole body. Raises `CallFailed` like `chunks`."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def is_stream(self, chunks: AsyncGenerator[bytes, None]) -> tuple[bool, bytes]:
        """Return whether the body is a stream of events, and the bytes of `chunks` that were read to decide it.

        The first character decides, because servers send streams under any content type. A line of a stream and a JSON
        document never begin with the same character. Raises `CallFailed` like `chunks`.
        """
        parts: list[bytes] = []
        start = b""
        async for chunk in chunks:
            if not parts and chunk.startswith(b"{"):  # the usual case
                return False, chunk
            parts.append(chunk)
            start = (start + chunk).removeprefix(BYTE_ORDER_MARK).lstrip()
            if start and not BYTE_ORDER_MARK.startswith(start):
                is_stream = start[:1] in _EVENT_STARTS or (self.is_event_stream and start[:1] not in b"{[")
                return is_stream, b"".join(parts)
        return self.is_event_stream, b"".join(parts)


def _steps(chunk: bytes) -> Iterable[bytes]:
    """Return the chunk in pieces of at most `STEP_BYTES`, usually one."""
    if len(chunk) <= STEP_BYTES:
        return (chunk,)
    return (chunk[at : at + STEP_BYTES] for at in range(0, len(chunk), STEP_BYTES))


async def post_json(url: str, payload: Mapping[str, Any], *, key: BearerKey | None) -> Reply:
    """Post `payload` and return the answer. Read it in its `async with` block.

    The overall time limit is the caller's. Raises `CallFailed` when there is no answer.
    """
    # A stream, because httpx adds headers to content that aiohttp adds too, for 6% of a call's CPU time.
    return await _ask("POST", url, lambda: httpx.ByteStream(json.dumps(payload).encode()), key)


async def get(url: str, *, key: BearerKey | None) -> Reply:
    """Get a document like `post_json`, with the same rules for addresses."""
    return await _ask("GET", url, lambda: httpx.ByteStream(b""), key)


async def _ask(method: str, url: str, body: Callable[[], httpx.ByteStream], key: BearerKey | None) -> Reply:
    try:
        request = httpx.Request(method, _url(url), headers=_HEADERS, stream=body())
        if key is not None:
            name, value = key.header()
            request.headers[name] = value
        return Reply(await _send(request))
    except Exception as exc:
        raise _plain_failure(exc) from None


async def fetch(
    method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"", pool: Transport | None = None
) -> Reply:
    """Send a request to an address that the caller has checked. `pool` is a transport of the caller's.

    The list of hosts for providers does not apply. The time limit is the caller's. Raises `CallFailed`.
    """
    fields = {"User-Agent": _HEADERS["User-Agent"], "Accept": "application/json", **headers}
    try:
        request = httpx.Request(method, httpx.URL(url), headers=fields, content=content)
        return Reply(await (pool.handle_async_request(request) if pool else _send(request)))
    except Exception as exc:
        raise _plain_failure(exc) from None


@lru_cache(maxsize=256)
def _url(text: str) -> httpx.URL:
    url = httpx.URL(text)
    if problem := refusal_of_url(text):
        raise ForbiddenAddressError(problem)
    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol("no http address")
    return url


async def _send(request: httpx.Request) -> httpx.Response:
    """Send a request. Sends it again if it went out on a kept connection that the server had already closed."""
    while True:
        _connection_reused.set(False)
        try:
            return await transport().handle_async_request(request)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not _connection_reused.get():
                raise


_connection_reused: ContextVar[bool] = ContextVar("connection_reused", default=False)

connected_at: ContextVar[list[float] | None] = ContextVar("connected_at", default=None)
"""A list of the caller's, to which each call adds the loop time at which it got its connection."""

_used: WeakSet[asyncio.Protocol] = WeakSet()
"""The connections that have carried a request."""


class _Request(aiohttp.ClientRequest):
    """A request that knows its connection, and refuses one on which the server sent something unrequested.

    Those bytes would be read as the answer to this request, and the real answer as that to the next request.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        protocol = conn.protocol
        assert protocol is not None
        _connection_reused.set(protocol in _used)
        _used.add(protocol)
        if (times := connected_at.get()) is not None:
            times.append(self.loop.time())
        if protocol.should_close:
            raise aiohttp.ServerDisconnectedError
        return await super().send(conn)


_HEADERS = httpx.Headers(
    {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "Accept-Encoding": "gzip",
        "User-Agent": "PromptOps",
    }
)
"""The headers of every request. Each request copies them."""


def _plain_failure(exc: Exception) -> CallFailed:
    """Return the failure for any exception of the HTTP client, in plain words. No raw exception may reach a caller."""
    return CallFailed(_reason(exc), timed_out=_timed_out(exc))


def _timed_out(exc: Exception) -> bool:
    return isinstance(exc, httpx.TimeoutException | TimeoutError)


def _reason(exc: Exception) -> str:
    if _timed_out(exc):
        return "did not answer in time"
    match exc:
        case ForbiddenAddressError() | aiohttp.ClientConnectorError(os_error=ForbiddenAddressError()):
            forbidden = exc if isinstance(exc, ForbiddenAddressError) else exc.os_error
            return f"was not called: {forbidden}".rstrip(".")
        case httpx.InvalidURL() | httpx.UnsupportedProtocol() | aiohttp.InvalidURL():
            return "could not be reached: its address is not a valid URL"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return "could not be reached: its TLS certificate or connection was not accepted"
        case aiohttp.ClientConnectorDNSError():
            return "could not be reached: its host name was not found"
        case aiohttp.ClientConnectorError():
            return "could not be reached: the connection was refused"
        case InflateError():
            return f"sent an answer that could not be decompressed: {exc}"
        case aiohttp.ClientResponseError() if exc.message.startswith("Got more than"):  # it has no class of its own
            return f"sent a header longer than {MAX_HEADER_BYTES // 1024} KiB"
    return f"broke off the connection ({type(exc).__name__})"


# Transports

_lock = threading.Lock()
_transports: dict[asyncio.AbstractEventLoop, httpx.AsyncBaseTransport] = {}
_transport_factory: TransportFactory | None = None
_ssl_context: ssl.SSLContext | None = None


def transport() -> httpx.AsyncBaseTransport:
    """Return the running event loop's transport, and drop those of closed loops when it makes a new one."""
    loop = asyncio.get_running_loop()
    current = _transports.get(loop)
    if current is None:
        with _lock:
            _drop_dead_transports()
            current = _transports[loop] = (_transport_factory or PooledTransport)()
    return current


async def close_client() -> None:
    """Close the running event loop's connections; the next call opens new ones."""
    with _lock:
        current = _transports.pop(asyncio.get_running_loop(), None)
    if current is not None:
        await current.aclose()


@contextmanager
def use_transport(factory: TransportFactory) -> Iterator[None]:
    """Send calls through transports from `factory` inside the block: the seam for tests.

    It applies to all threads. The earlier transports are restored after the block.
    """
    global _transports, _transport_factory
    with _lock:
        before = _transports, _transport_factory
        _transports, _transport_factory = {}, factory
    try:
        yield
    finally:
        with _lock:
            _transports, _transport_factory = before


class PooledTransport(httpx.AsyncBaseTransport):
    """httpx requests over aiohttp's connection pool. Raises aiohttp's exceptions, which say more than httpx's."""

    def __init__(self, socket_factory: SocketFactory = guarded_socket) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=shared_ssl_context(),
                limit=MAX_CONNECTIONS,
                keepalive_timeout=KEEPALIVE_SECONDS,
                socket_factory=socket_factory,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            request_class=_Request,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )

    @property
    def is_closed(self) -> bool:
        """Return whether the transport can no longer be used."""
        return self._session.closed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request whose body is in memory. The answer's body is a stream."""
        response = await self._session.request(
            request.method,
            _aiohttp_url(str(request.url)),
            headers=[(name.decode("ascii"), text.decode("ascii")) for name, text in request.headers.raw],
            data=request.read(),
            allow_redirects=False,
        )
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Body(response))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


_aiohttp_url = lru_cache(maxsize=256)(partial(yarl.URL, encoded=True))


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._response.content.iter_any())

    async def aclose(self) -> None:
        # Closes an unread body. A body that was read to its end has returned its connection to the pool already.
        self._response.close()


def shared_ssl_context() -> ssl.SSLContext:
    """Return the process's SSL context. It is made on first use, because reading the CA bundle takes about 30 ms."""
    global _ssl_context
    if _ssl_context is None:
        _ssl_context = httpx.create_ssl_context()
    return _ssl_context


def _drop_dead_transports() -> None:
    for loop in [loop for loop in _transports if loop.is_closed()]:
        _run_without_loop(_transports.pop(loop).aclose())


def _run_without_loop(closing: Coroutine[Any, Any, None]) -> None:
    """Close a transport whose loop is closed. Nothing is left to wait for, so one step is enough."""
    with suppress(StopIteration, RuntimeError):  # RuntimeError: a transport that uses the closed loop
        closing.send(None)
        closing.close()


@atexit.register
def _close_all() -> None:
    """Close the transports that were left open, so that the interpreter prints no warnings when it ends."""
    for loop in [loop for loop in _transports if not (loop.is_closed() or loop.is_running())]:
        loop.run_until_complete(_transports.pop(loop).aclose())
    _drop_dead_transports()
