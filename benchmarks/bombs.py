"""Hostile answers of a provider: how much memory each takes, and how long it keeps the event loop from its work."""

import asyncio
import gzip
import json
import time
import tracemalloc
from typing import Any

from promptops.engine import LLMMessage, LLMProviderError, LLMRequest, OpenAICompatibleProvider, close_client

REQUEST = LLMRequest([LLMMessage("user", "a fox")], "m", timeout_ms=20_000)
TICK_SECONDS = 0.001


def _answer(body: bytes, encoding: str = "") -> bytes:
    lines = [
        "HTTP/1.1 200 OK",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *([f"Content-Encoding: {encoding}"] if encoding else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def _choices(filling: str) -> bytes:
    choice = json.dumps({"message": {"content": "A fox"}, "finish_reason": "stop"})
    return f'{{"choices": [{choice}], "more": {filling}}}'.encode()


def _answers() -> dict[str, bytes]:
    bomb = gzip.compress(b" " * 250_000_000)
    size = 4_000_000
    return {
        f"250 MB in {len(bomb) // 1000} KB of gzip": _answer(bomb, "gzip"),
        "the same, compressed twice": _answer(gzip.compress(bomb), "gzip, gzip"),
        "4 MB of numbers": _answer(_choices("[" + "1," * (size // 2) + "1]")),
        "4 MB of empty lists": _answer(_choices("[" + "[]," * (size // 3) + "1]")),
        "4 MB of escapes": _answer(_choices('"' + "\\u0041" * (size // 6) + '"')),
        "4 MB of open brackets": _answer(b"[" * size),
        "4 MB of empty events": _answer(b"data: {}\n\n" * (size // 10)),
    }


async def bench_bombs() -> list[dict[str, Any]]:
    """One row for each answer: seconds, the most memory that Python held, and the longest wait of the event loop."""
    return [await _measured(name, raw) for name, raw in _answers().items()]


async def _measured(name: str, raw: bytes) -> dict[str, Any]:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await asyncio.sleep(30)

    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            longest = max(longest, time.perf_counter() - before - TICK_SECONDS)

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    provider = OpenAICompatibleProvider(base_url=f"http://127.0.0.1:{port}/v1", name="hostile")
    ticking = asyncio.create_task(watch())
    began = time.perf_counter()
    ends = await _end_of(provider)
    elapsed = time.perf_counter() - began
    ticking.cancel()
    tracemalloc.start()  # apart, since tracing takes time
    await _end_of(provider)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    server.close()
    return {
        "what": name,
        "ends": ends,
        "seconds": round(elapsed, 3),
        "peak_mib": round(peak / 2**20, 1),
        "longest_wait_ms": round(longest * 1000, 1),
    }


async def _end_of(provider: OpenAICompatibleProvider) -> str:
    """Call once, and return how that ended."""
    try:
        return (await provider.complete(REQUEST)).content
    except LLMProviderError as error:
        return error.kind
    finally:
        await close_client()
