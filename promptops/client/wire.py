"""The way to the control room: its HTTP addresses and its socket. And one call of a server that reloads its files.

This module and `engine.http` are the only ones that import an HTTP library. The token goes to the address that the
server's owner gave and nowhere else: no redirect is followed, no cookie kept, no proxy variable read. Every call has a
time limit and every body a size limit. When to call what belongs to `follower`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp

from promptops.engine.addresses import guarded_socket, refusal_of_url
from promptops.engine.http import CONNECT_SECONDS, shared_ssl_context
from promptops.engine.live_document import MAX_BYTES, MAX_PUSHED_BYTES

MAX_MODEL_BYTES = 4 * 1024 * 1024
MAX_ANSWER_BYTES = 256 * 1024
MAX_FRAME_BYTES = MAX_PUSHED_BYTES + 16 * 1024
"""The longest frame that the control room sends: a hint with its live document."""
SHORT_FRAME = 16 * 1024
"""Characters of a frame that is read at once. A longer one is read in a thread, so that runs do not wait."""

CALL_SECONDS = 10.0
"""The longest time of a call, beyond the time that it asked to wait. It ends an answer that drips, too."""

INVALID_TOKEN, NOT_ALLOWED = 4401, 4403
"""Close codes of the socket: the token is refused, or it may not follow under this name."""


class WireError(Exception):
    """The control room gave no usable answer. The message is a sentence without the token.

    `retry_after` is the time in seconds that the control room asks for. `is_final` marks an answer that sending the
    same again would not change.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0, is_final: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_final = is_final


class Unauthorized(WireError):
    """The control room refuses the token."""


class Socket(Protocol):
    """An open socket. Both methods raise `WireError` once it is closed, and `Unauthorized` for a refused token."""

    async def send(self, message: dict[str, Any]) -> None: ...

    async def receive(self) -> dict[str, Any]: ...


class Wire(Protocol):
    """All calls to the control room. Each raises `WireError`, and `Unauthorized` for a refused token."""

    async def live(self, *, known: str, after: tuple[str, int] | None = None, wait: float = 0.0) -> bytes | None:
        """Return the live document; `None` if it has the SHA-256 `known`. Waits for a newer one than `after`."""

    async def post(self, path: str, message: dict[str, Any]) -> dict[str, Any]:
        """Post a message and return the answer."""

    async def model(self, number: int) -> bytes:
        """Return the file of a safety model."""

    def socket(self) -> AbstractAsyncContextManager[Socket]:
        """Open the socket of the fleet."""

    async def close(self) -> None: ...


@dataclass
class HttpWire:
    """The control room at `url`, such as `https://prompts.example.com`. Belongs to one event loop.

    `token` is the token, or a function that returns the newest one.
    """

    url: str
    token: str | Callable[[], str]
    agent: str = "PromptOps-client"

    def __post_init__(self) -> None:
        self.url = checked_url(self.url)
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"HttpWire({self.url!r})"

    async def live(self, *, known: str, after: tuple[str, int] | None = None, wait: float = 0.0) -> bytes | None:
        """Return the live document, or `None` for 304."""
        parameters = {}
        if after is not None:
            parameters = {"epoch": after[0], "after": str(after[1]), "wait": f"{wait:g}"}
        headers = {"If-None-Match": f'"{known}"'} if known else {}
        status, body = await self._call(
            "GET", "/api/v1/live", params=parameters, headers=headers, limit=MAX_BYTES, wait=wait
        )
        return None if status == 304 else body

    async def post(self, path: str, message: dict[str, Any]) -> dict[str, Any]:
        """Post a message to a path such as `/api/v1/servers`."""
        _, body = await self._call("POST", path, json=message)
        return parsed(body) if body else {}

    async def model(self, number: int) -> bytes:
        """Return the file of a safety model."""
        _, body = await self._call("GET", f"/api/v1/safety/models/{number}", limit=MAX_MODEL_BYTES)
        return body

    @asynccontextmanager
    async def socket(self) -> AsyncGenerator[Socket, None]:
        """Open the socket of the fleet."""
        address = "ws" + self.url.removeprefix("http") + "/ws/v1/fleet"
        try:
            async with asyncio.timeout(CALL_SECONDS):
                opened = await self._open().ws_connect(
                    address,
                    headers=self._headers(),
                    max_msg_size=MAX_FRAME_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 401:
                raise Unauthorized("The control room refuses the token.") from None
            raise WireError(f"The control room opens no socket: HTTP {error.status}.") from None
        except Exception as error:
            raise failure(error) from None
        try:
            yield HttpSocket(opened)
        finally:
            await opened.close()

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _call(
        self, method: str, path: str, *, limit: int = MAX_ANSWER_BYTES, wait: float = 0.0, **further: Any
    ) -> tuple[int, bytes]:
        """Return status and body of a successful answer, or of 304."""
        headers = self._headers() | further.pop("headers", {})
        try:
            async with (
                asyncio.timeout(wait + CALL_SECONDS),
                self._open().request(
                    method, self.url + path, headers=headers, allow_redirects=False, **further
                ) as response,
            ):
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > limit:
                        raise WireError(f"The control room sent more than {limit:,} bytes.", is_final=True)
        except WireError:
            raise
        except Exception as error:
            raise failure(error) from None
        if response.status in (401, 403):
            raise Unauthorized(f"The control room refuses the token: {problem(response.status, bytes(body))}")
        if response.status != 304 and not 200 <= response.status < 300:
            raise WireError(
                f"The control room answered {problem(response.status, bytes(body))}",
                retry_after=seconds(response.headers.get("Retry-After", "")),
                is_final=response.status in (400, 404, 405, 409, 413, 415, 422),
            )
        return response.status, bytes(body)

    def _headers(self) -> dict[str, str]:
        token = self.token if isinstance(self.token, str) else self.token()
        return {"Authorization": f"Bearer {token}", "User-Agent": self.agent}

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=shared_ssl_context(), limit=8, socket_factory=guarded_socket),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


class HttpSocket:
    """An open socket of aiohttp."""

    def __init__(self, opened: aiohttp.ClientWebSocketResponse) -> None:
        self._opened = opened

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._opened.send_str(json.dumps(message))
        except Exception as error:
            raise failure(error) from None

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        frame = await self._opened.receive()
        if frame.type is aiohttp.WSMsgType.TEXT:
            is_short = len(frame.data) <= SHORT_FRAME
            return parsed(frame.data) if is_short else await asyncio.to_thread(parsed, frame.data)
        if self._opened.close_code in (INVALID_TOKEN, NOT_ALLOWED):
            raise Unauthorized("The control room refuses the token, or the token is another server's.")
        raise WireError("The socket was closed.")


async def call_server(method: str, url: str, *, seconds: float, limit: int) -> tuple[int, bytes]:
    """Call an address of the streaming server, without a token, and return status and body.

    A POST sends an empty JSON object. Raises `WireError`, and `TimeoutError` after `seconds`.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=shared_ssl_context(), socket_factory=guarded_socket, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
    sent: dict[str, str] | None = {} if method == "POST" else None
    body = bytearray()
    try:
        async with (
            asyncio.timeout(seconds),
            session,
            session.request(method, url, json=sent, allow_redirects=False) as response,
        ):
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise WireError(f"The server's answer to {method} is too long.")
    except (WireError, TimeoutError):
        raise
    except aiohttp.ClientConnectorError:
        raise WireError("The server's reload address cannot be reached.") from None
    except Exception as error:
        raise WireError(f"The server's answer to {method} broke off ({type(error).__name__}).") from None
    return response.status, bytes(body)


def checked_url(url: str) -> str:
    """Return the address without a final slash. Raises `ValueError` with a sentence for an invalid one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in url:
        raise ValueError("The control room's address must be like https://prompts.example.com.")
    if why := refusal_of_url(url):
        raise ValueError(why)
    return url.rstrip("/")


def parsed(data: str | bytes) -> dict[str, Any]:
    """Return a JSON object. Raises `WireError`."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise WireError("The control room sent something that is not a JSON object.")
    return message


def problem(status: int, body: bytes) -> str:
    """Return the status and the sentence of a problem document (RFC 9457)."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, RecursionError, KeyError, TypeError):
        detail = ""
    return f"HTTP {status}. {detail[:500]}" if isinstance(detail, str) and detail else f"HTTP {status}."


def seconds(text: str) -> float:
    """Return a Retry-After in seconds, at most a minute; 0 if it is none."""
    return min(60.0, float(text)) if text.isascii() and text.isdigit() else 0.0


def failure(error: Exception) -> WireError:
    """Return the error for any exception of the HTTP client, in plain words and without the request."""
    if isinstance(error, TimeoutError):
        return WireError("The control room did not answer in time.")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return WireError("The control room's TLS certificate or connection was not accepted.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return WireError("The control room cannot be reached.")
    return WireError(f"The connection to the control room broke off ({type(error).__name__}).")
