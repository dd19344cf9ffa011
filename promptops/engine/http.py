"""HTTP to providers: pooled connections, failures in plain words, capped bodies.

The only module that imports httpx, whose requests, responses and transports are the interface; the connections are
aiohttp's, because httpx's own pool rescans all of them for every request (docs/decisions/0007-http-transport.md). There
is one transport per running event loop. All share one SSL context, so the CA bundle is read once per process.

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
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Self
from weakref import WeakSet

import aiohttp
import httpx
import yarl
from aiohttp.connector import Connection

from promptops.engine.addresses import ForbiddenAddressError, guarded_socket, refusal_of_url
from promptops.engine.auth import BearerKey
from promptops.engine.event_stream import BYTE_ORDER_MARK
from promptops.engine.inflate import STEP_BYTES, InflateError, Inflater

MAX_BODY_BYTES = 4 * 1024 * 1024
"""The longest answer that is read: an answer of 256 tokens is about 1 KiB of text, 100 KiB as a stream of events."""

MAX_HEADER_BYTES = 64 * 1024
"""The longest line and the longest header of an answer that are read: the policies, cookies and metadata of gateways
are longer than the 8 KiB that aiohttp reads by itself."""

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


_EVENT_STARTS = frozenset({b":", b"d", b"e", b"i", b"r"})
"""First characters of the lines of an event stream: a comment, data, event, id, retry."""


class Reply:
    """An answer whose body has not been read yet.

    Leaving its `async with` block closes the connection unless the body was read to its end.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._body: httpx.AsyncByteStream = response.stream  # type: ignore[assignment]
        self.status = response.status_code
        self.headers = {name.lower().decode("latin-1"): text.decode("latin-1") for name, text in response.headers.raw}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(Exception):  # the answer is read or given up: how the connection ends changes nothing
            await self._body.aclose()

    @property
    def is_event_stream(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        return self.headers.get("content-type", "").lower().startswith("text/event-stream")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises `CallFailed` when it breaks off or is longer than `MAX_BODY_BYTES`."""
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
                        await asyncio.sleep(0)  # the chunk holds more: others get their turn
        except CallFailed:
            raise
        except Exception as exc:
            raise _plain_failure(exc) from None

    async def read(self) -> bytes:
        """The whole body. Raises `CallFailed` like `chunks`."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def is_stream(self, chunks: AsyncGenerator[bytes, None]) -> tuple[bool, bytes]:
        """Return whether the body is a stream of events, and what was read of `chunks` to tell.

        The first character says it: servers send streams under any content type. JSON begins with none that a line of a
        stream begins with. Raises `CallFailed` like `chunks`.
        """
        parts: list[bytes] = []
        start = b""
        async for chunk in chunks:
            if not parts and chunk.startswith(b"{"):  # as a rule
                return False, chunk
            parts.append(chunk)
            start = (start + chunk).removeprefix(BYTE_ORDER_MARK).lstrip()
            if start and not BYTE_ORDER_MARK.startswith(start):
                is_stream = start[:1] in _EVENT_STARTS or (self.is_event_stream and start[:1] not in b"{[")
                return is_stream, b"".join(parts)
        return self.is_event_stream, b"".join(parts)


def _steps(chunk: bytes) -> Iterable[bytes]:
    """Return the chunk in pieces of at most `STEP_BYTES`; as a rule it is one."""
    if len(chunk) <= STEP_BYTES:
        return (chunk,)
    return (chunk[at : at + STEP_BYTES] for at in range(0, len(chunk), STEP_BYTES))


async def post_json(url: str, payload: Mapping[str, Any], *, key: BearerKey | None) -> Reply:
    """Post `payload` and return the answer, to be read in its `async with` block.

    Sets no overall time limit: that is the caller's. Raises `CallFailed` when there is no answer.
    """
    try:
        # As a stream: given as content, httpx would add headers that aiohttp adds too, for 6% of a call's CPU time.
        body = httpx.ByteStream(json.dumps(payload).encode())
        request = httpx.Request("POST", _url(url), headers=_HEADERS, stream=body)
        if key is not None:
            name, value = key.header()
            request.headers[name] = value
        return Reply(await _send(request))
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
    """Send, once more if the server had dropped the kept connection that it went out on before it could be used."""
    while True:
        _connection_reused.set(False)
        try:
            return await transport().handle_async_request(request)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not _connection_reused.get():
                raise


_connection_reused: ContextVar[bool] = ContextVar("connection_reused", default=False)

connected_at: ContextVar[list[float] | None] = ContextVar("connected_at", default=None)
"""Where a caller puts a list, the loop times at which its calls got their connections are added to it."""

_used: WeakSet[asyncio.Protocol] = WeakSet()
"""The connections that have carried a request."""


class _Request(aiohttp.ClientRequest):
    """A request that knows its connection, and does not go out on one on which something came that nobody asked for.

    What came would be read as the answer to this request, and the answer to this one as that to the next.
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
    """Whatever went wrong in the HTTP client, in plain words: nothing here may reach a caller raw."""
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
    """The running event loop's transport. Those of loops that have been closed are dropped on the way."""
    loop = asyncio.get_running_loop()
    found = _transports.get(loop)
    if found is None:
        with _lock:
            _drop_dead_transports()
            found = _transports[loop] = (_transport_factory or PooledTransport)()
    return found


async def close_client() -> None:
    """Close the running event loop's connections; the next call opens new ones."""
    with _lock:
        found = _transports.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.aclose()


@contextmanager
def use_transport(factory: TransportFactory) -> Iterator[None]:
    """The seam for tests: inside the block calls go through transports from `factory`.

    It counts for all threads; transports from before it come back after it.
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
    """httpx requests over aiohttp's connection pool. Lets aiohttp's exceptions through: they say more than httpx's."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=shared_ssl_context(),
                limit=MAX_CONNECTIONS,
                keepalive_timeout=KEEPALIVE_SECONDS,
                socket_factory=guarded_socket,
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
        """Whether it can no longer be used."""
        return self._session.closed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request whose body is in memory; the answer's body is read from its stream."""
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


@lru_cache(maxsize=256)
def _aiohttp_url(text: str) -> yarl.URL:
    return yarl.URL(text, encoded=True)


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._response.content.iter_any())

    async def aclose(self) -> None:
        # What nobody wants is cut off. A body that was read to its end has given its connection back already.
        self._response.close()


def shared_ssl_context() -> ssl.SSLContext:
    """The process's SSL context, made on first use: reading the CA bundle takes about 30 ms."""
    global _ssl_context
    if _ssl_context is None:
        _ssl_context = httpx.create_ssl_context()
    return _ssl_context


def _drop_dead_transports() -> None:
    for loop in [loop for loop in _transports if loop.is_closed()]:
        _run_without_loop(_transports.pop(loop).aclose())


def _run_without_loop(closing: Coroutine[Any, Any, None]) -> None:
    """Run the closing of a transport whose loop is closed: nothing is left to wait for, so one step ends it."""
    try:
        closing.send(None)
    except (StopIteration, RuntimeError):  # RuntimeError: a transport that does ask for the closed loop
        return
    closing.close()


@atexit.register
def _close_all() -> None:
    """Close what was left open, so that no complaint about it is printed when the interpreter ends."""
    for loop in [loop for loop in _transports if not (loop.is_closed() or loop.is_running())]:
        loop.run_until_complete(_transports.pop(loop).aclose())
    _drop_dead_transports()
