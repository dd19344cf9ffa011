"""Loopback servers with faults, for the tests of the chain."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from promptops.engine import (
    OpenAICompatibleProvider,
)
from tests.engine.helpers import (
    KEY,
    STREAM_END,
    STREAM_HEAD,
    Loopback,
    Respond,
    delta,
    event,
    http_answer,
    loopback,
    part,
)

GOOD_STREAM = STREAM_HEAD + part(delta("a red fox", "stop")) + part(event("[DONE]")) + STREAM_END


def at(server: Loopback, name: str = "bad", **fields) -> OpenAICompatibleProvider:
    """Return a provider that calls `server` with `KEY`."""
    return OpenAICompatibleProvider(server.url, **{"name": name, "api_key": KEY, **fields})


def open_sockets() -> set[str]:
    """Return the sockets of this process, if the system lists them."""
    files = set()
    for file in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # the file of the listing itself is closed already
            files.add(os.readlink(file))
    return {name for name in files if name.startswith("socket:")}


@asynccontextmanager
async def servers(*responds: Respond) -> AsyncIterator[list[Loopback]]:
    """Run a loopback server for each responder."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(loopback(respond)) for respond in responds]


def head(status: int = 200, **headers: str) -> bytes:
    """Return the head of an HTTP answer."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode()


def refused(status: int, body: object, **headers: str) -> bytes:
    """Return a whole HTTP answer with further headers."""
    raw = http_answer(body, status)
    first, rest = raw.split(b"\r\n", 1)
    return first + b"\r\n" + head(**headers).split(b"\r\n", 1)[1].rstrip(b"\r\n") + b"\r\n" + rest


def dripping(first: bytes, drop: bytes) -> Respond:
    """Return a responder that repeats `drop` for ever."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.005)

    return respond


def resetting(first: bytes = b"") -> Respond:
    """Return a responder that resets the connection."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.transport.abort()

    return respond


LENGTH = head(Content_Type="application/json", Content_Length="100000")
