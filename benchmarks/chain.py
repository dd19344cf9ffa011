"""The chain compared with four other ways to call the same provider, interleaved in one process.

The chain is measured twice: not streamed, and streamed inside and handed over whole, as for a provider that limits its
silence. The streamed answer comes in 66 events, the other answers in one piece.

The other ways do the same work: they write the request as JSON, send it, and read the text in the JSON of the answer.
The raw socket is the lower limit, because it checks nothing.

The last rows are the chain's own CPU time, with answers from memory. Each is the minimum of many batches, which other
work on the machine changes little. So these rows can compare two commits.
"""

import asyncio
import gc
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx

from benchmarks import upstream
from promptops.engine import (
    HealthRegistry,
    LLMMessage,
    LLMRequest,
    OpenAICompatibleProvider,
    close_client,
    complete_chain,
)
from promptops.engine.http import use_transport

DELAYS_MS = (0, 50)
CONCURRENT = (1, 16, 128)
ROUNDS = 3
CALLS = {1: 40, 16: 480, 128: 1280}
"""The calls of each round, by the number of concurrent calls. Three times as many if the upstream does not wait."""

FEWER_CALLS = {
    "chain, streamed inside": {1: 40, 16: 160, 128: 256},
    "pooled httpx": {1: 20, 16: 160, 128: 256},
    "client per call": {1: 6, 16: 32, 128: 128},
}
"""The same for the slow ways, which take up to 8 and 25 ms of CPU time a call."""

BATCHES = 150
BATCH_CALLS = 40
"""The batches of calls without network. A batch takes 5 ms, which is so short that some are not interrupted."""

REQUEST = LLMRequest([LLMMessage("system", "Improve."), LLMMessage("user", "a fox")], "m", 64, 0.7)
Call = Callable[[], Awaitable[str]]


def _body() -> bytes:
    messages = [{"role": message.role, "content": message.content} for message in REQUEST.messages]
    body = {"model": "m", "messages": messages, "max_tokens": REQUEST.max_tokens, "temperature": REQUEST.temperature}
    return json.dumps(body).encode()


def _text(body: bytes) -> str:
    return json.loads(body)["choices"][0]["message"]["content"]


def chain(url: str, **limits: int) -> Call:
    """Return the chain, as PromptOps calls a provider."""
    provider, health = OpenAICompatibleProvider(base_url=url, name="loopback"), HealthRegistry()
    for name, limit_ms in limits.items():
        setattr(provider, name, limit_ms)

    async def call() -> str:
        return (await complete_chain(REQUEST, [provider], timeout_ms=60_000, health=health)).content

    return call


def client_per_call(url: str) -> Call:
    """Return the way of PromptOps' predecessor: a new client for each call."""

    async def call() -> str:
        async with httpx.AsyncClient(timeout=60) as client:
            return _text((await client.post(f"{url}/chat/completions", content=_body())).content)

    return call


def pooled(client: httpx.AsyncClient, url: str) -> Call:
    """Return httpx with its own pool."""

    async def call() -> str:
        return _text((await client.post(f"{url}/chat/completions", content=_body())).content)

    return call


def aiohttp_alone(session: aiohttp.ClientSession, url: str) -> Call:
    """Return aiohttp alone. The chain uses its pool too."""

    async def call() -> str:
        async with session.post(f"{url}/chat/completions", data=_body()) as response:
            return _text(await response.read())

    return call


def raw_socket(port: int, delay_ms: int) -> Call:
    """Return a kept socket without an HTTP library. It reads the answer line by line, as in the asyncio docs."""
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    head = f"POST /{delay_ms}/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n".encode()

    async def call() -> str:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        body = _body()
        writer.write(head % len(body) + body)
        await writer.drain()
        assert (await reader.readline()).split()[1] == b"200"
        headers = {}
        while (line := await reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        text = _text(await reader.readexactly(int(headers[b"content-length"])))
        idle.append((reader, writer))
        return text

    return call


@dataclass
class Measured:
    """The measurements of one way over all rounds."""

    taken_ms: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0
    cpu_s: float = 0.0

    async def add(self, call: Call, calls: int, concurrent: int) -> None:
        """Make `calls` calls, `concurrent` at once, and add their times. The CPU time is that of this process."""
        gc.collect()  # so that no way pays for the garbage of another
        waiting = iter(range(calls))

        async def worker() -> None:
            for _ in waiting:
                began = time.perf_counter()
                assert (await call()).startswith("A red fox.")
                self.taken_ms.append((time.perf_counter() - began) * 1000)

        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(concurrent)))
        self.elapsed_s += time.perf_counter() - began
        self.cpu_s += time.process_time() - cpu

    def figures(self) -> dict[str, float]:
        """Return p50, p99, calls a second and CPU seconds per 1,000 calls."""
        percentiles = statistics.quantiles(self.taken_ms, n=100, method="inclusive")
        return {
            "p50_ms": round(percentiles[49], 2),
            "p99_ms": round(percentiles[98], 2),
            "calls_per_s": round(len(self.taken_ms) / self.elapsed_s, 1),
            "cpu_s_per_1000": round(self.cpu_s / len(self.taken_ms) * 1000, 3),
        }


async def bench_chain(port: int) -> list[dict[str, Any]]:
    """Return one row for each delay, number of concurrent calls and way. The ratios are relative to the raw socket."""
    rows = []
    for delay_ms in DELAYS_MS:
        url = f"http://127.0.0.1:{port}/{delay_ms}/v1"
        for concurrent in CONCURRENT:
            async with AsyncExitStack() as opened:
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
                client = await opened.enter_async_context(httpx.AsyncClient(timeout=60, limits=limits))
                connector = aiohttp.TCPConnector(limit=0)
                session = await opened.enter_async_context(aiohttp.ClientSession(connector=connector))
                ways = {
                    "raw socket": raw_socket(port, delay_ms),
                    "aiohttp alone": aiohttp_alone(session, url),
                    "chain": chain(url),
                    "chain, streamed inside": chain(url, first_text_ms=60_000, stall_ms=60_000),
                    "pooled httpx": pooled(client, url),
                    "client per call": client_per_call(url),
                }
                compared = await _compare(ways, concurrent, more=1 if delay_ms else 3)
                rows += [{"delay_ms": delay_ms, "concurrent": concurrent, **row} for row in compared]
                await close_client()
    return [*rows, *(dict.fromkeys(rows[0], "") | row for row in await _without_network())]


async def _compare(ways: dict[str, Call], concurrent: int, *, more: int) -> list[dict[str, Any]]:
    measured = {name: Measured() for name in ways}
    for name, call in ways.items():  # open the connections before the measurement
        if name != "client per call":
            await Measured().add(call, concurrent, concurrent)
    for _ in range(ROUNDS):
        for name, call in ways.items():
            calls = FEWER_CALLS[name][concurrent] if name in FEWER_CALLS else CALLS[concurrent] * more
            await measured[name].add(call, calls, concurrent)
    figures = {name: each.figures() for name, each in measured.items()}
    return [{"what": name, **each, **_ratios(each, figures)} for name, each in figures.items()]


async def _without_network() -> list[dict[str, Any]]:
    """Return one row for each way of the chain: the CPU time of its calls with answers from memory."""
    with use_transport(lambda: httpx.MockTransport(_answer_from_memory)):
        ways = {
            "chain, no network": chain("http://memory/v1"),
            "chain, streamed inside, no network": chain("http://memory/v1", first_text_ms=60_000, stall_ms=60_000),
        }
        least = dict.fromkeys(ways, float("inf"))
        for _ in range(BATCHES):
            for name, call in ways.items():
                gc.collect()
                cpu = time.process_time()
                for _ in range(BATCH_CALLS):
                    await call()
                least[name] = min(least[name], time.process_time() - cpu)
    return [
        {"delay_ms": 0, "concurrent": 1, "what": name, "cpu_s_per_1000": round(cpu / BATCH_CALLS * 1000, 4)}
        for name, cpu in least.items()
    ]


def _answer_from_memory(request: httpx.Request) -> httpx.Response:
    if b'"stream": true' in request.content:
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=_events())
    stream = httpx.ByteStream(upstream.ANSWER)
    return httpx.Response(200, headers={"Content-Type": "application/json"}, stream=stream)


async def _events() -> AsyncIterator[bytes]:
    for event in [*upstream.EVENTS, *upstream.LAST_EVENTS]:
        yield event


def _ratios(one: dict[str, float], figures: dict[str, dict[str, float]]) -> dict[str, float]:
    raw, slowest = figures["raw socket"], figures["client per call"]
    return {
        "p99_to_raw": round(one["p99_ms"] / raw["p99_ms"], 2),
        "cpu_to_raw": round(one["cpu_s_per_1000"] / raw["cpu_s_per_1000"], 2),
        "calls_to_client_per_call": round(one["calls_per_s"] / slowest["calls_per_s"], 1),
    }
