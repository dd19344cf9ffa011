"""Shared parts of the engine's tests: scripted providers, and a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from promptops.engine import (
    ChainEvent,
    HealthRegistry,
    LLMMessage,
    LLMProviderError,
    LLMRateLimitedError,
    LLMRequest,
    LLMResponse,
    OpenAICompatibleProvider,
    StreamEvent,
    TextChunk,
    close_client,
    complete_chain,
)
from promptops.engine.health import FAILURES_TO_OPEN

KEY = "sk-very-secret-4711"
"""A key that no message, log line or traceback may show."""

BOTH = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def ask(text: str = "a fox", **fields: Any) -> LLMRequest:
    """Return a request with a system message and `text`."""
    return LLMRequest(
        [LLMMessage("system", "Improve."), LLMMessage("user", text)], **{"model": "default-model", **fields}
    )


class FakeProvider:
    """Answers with its `answer`: a text, a response, an exception, or a coroutine function."""

    def __init__(self, name: str, answer: Any = "fine", **attributes: Any) -> None:
        self.name = name
        self.answer = answer
        self.requests: list[LLMRequest] = []
        for attribute, value in attributes.items():
            setattr(self, attribute, value)

    async def complete(self, request: LLMRequest) -> LLMResponse:
        self.requests.append(request)
        answer = await self.answer() if callable(self.answer) else self.answer
        if isinstance(answer, BaseException):
            raise answer
        return LLMResponse(answer, self.name, "fake-model", 1.0) if isinstance(answer, str) else answer


class FakeStream(FakeProvider):
    """Streams its steps: yields texts as chunks, raises exceptions, awaits coroutine functions."""

    def __init__(self, name: str, *steps: Any, finish: bool = True, **attributes: Any) -> None:
        super().__init__(name, "not streamed", **attributes)
        self.steps = steps
        self.finish = finish
        self.closed = asyncio.Event()

    async def stream(self, request: LLMRequest) -> AsyncIterator[StreamEvent]:
        self.requests.append(request)
        try:
            for step in self.steps:
                if isinstance(step, BaseException):
                    raise step
                if callable(step):
                    await step()
                else:
                    yield TextChunk(step)
            if self.finish:
                text = "".join(step for step in self.steps if isinstance(step, str))
                yield LLMResponse(text, self.name, "fake-model", 1.0)
        finally:
            self.closed.set()


def hang(seconds: float = 30.0) -> Callable[[], Awaitable[str]]:
    """Return a step that takes far longer than any test."""

    async def wait() -> str:
        await asyncio.sleep(seconds)
        return "too late"

    return wait


def provider(base_url: str = "http://model.test/v1", **fields: Any) -> OpenAICompatibleProvider:
    """Return a provider named "acme" with `KEY`."""
    return OpenAICompatibleProvider(base_url, **{"name": "acme", "api_key": KEY, **fields})


def closed_port() -> int:
    """Return a port of loopback on which nothing listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class Clock:
    """A clock that moves only when `now` is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def fail(health: HealthRegistry, *providers: FakeProvider, times: int = FAILURES_TO_OPEN) -> None:
    """Make runs of `providers` that all end with an error."""
    for _ in range(times):
        with pytest.raises(LLMProviderError):
            await complete_chain(ask(), providers, timeout_ms=1000, health=health)


def refuse(message: str = "no", *, retryable: bool = True) -> LLMProviderError:
    return LLMProviderError(message, retryable=retryable)


def limited(seconds: float | None) -> LLMRateLimitedError:
    """Return a 429 with a cooldown of `seconds`, or without a time for `None`."""
    error = LLMRateLimitedError("a answered with status 429", status=429)
    error.retry_after_s = seconds
    return error


@dataclass
class Received:
    """A request that the loopback server received."""

    path: str
    headers: dict[str, str]
    body: Any


Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Loopback:
    """A real HTTP server on loopback that keeps connections open. `respond` writes the raw answer to a request."""

    respond: Respond
    url: str = ""
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    open: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append(Received(head[0].split()[1], headers, json.loads(body or "{}")))
                responding = asyncio.ensure_future(self.respond(writer))
                while not responding.done():
                    if reader.at_eof() or reader.exception():  # the client hung up, or reset the connection
                        responding.cancel()
                    await asyncio.wait({responding}, timeout=0.005)
                await responding
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            self.open -= 1
            writer.close()

    async def wait_closed(self, seconds: float = 3.0) -> None:
        """Wait until no connection is open. Fails after `seconds`, long before `hang` or a kept connection ends."""
        async with asyncio.timeout(seconds):
            while self.open:  # noqa: ASYNC110 - the server's own state, in a test
                await asyncio.sleep(0.002)


async def least(measure: Callable[[], Awaitable[float]], tries: int = 8, good: float = 0.0) -> float:
    """Return the least of several measured values. Stops at the first one that is at most `good`.

    On a busy machine the code that keeps a time limit sometimes seems late. Code that breaks it is late every time.
    """
    values = []
    for _ in range(tries):
        values.append(await measure())
        if values[-1] <= good:
            break
    return min(values)


async def quickest(run: Callable[[], Awaitable[object]], good: float = 0.0) -> float:
    """Return the least time of several runs, in seconds. Stops at the first one that takes at most `good`."""

    async def seconds() -> float:
        started = time.monotonic()
        await run()
        return time.monotonic() - started

    return await least(seconds, good=good)


@asynccontextmanager
async def loopback(respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[Loopback]:
    """Run a `Loopback`."""
    server = Loopback(respond)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"
    try:
        yield server
    finally:
        listening.close()
        await close_client()
        await server.wait_closed()


def http_answer(body: bytes | str | object, status: int = 200, content_type: str = "application/json") -> bytes:
    """Return a whole HTTP answer. Anything except bytes and text is sent as JSON."""
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
    raw = body.encode() if isinstance(body, str) else body
    return b"HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        content_type.encode(),
        len(raw),
        raw,
    )


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


def part(raw: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(raw), raw)


def event(data: object) -> bytes:
    """Return one server-sent event."""
    return b"data: %s\n\n" % (data.encode() if isinstance(data, str) else json.dumps(data).encode())


def delta(content: object = None, finish: str | None = None, **fields: object) -> bytes:
    """Return the event that adds `content` to a streamed answer."""
    message = {"content": content, **fields} if content is not None else fields
    return event({"choices": [{"index": 0, "delta": message, "finish_reason": finish}]})


def answer_with(*raw: bytes, then: Callable[[], Awaitable[object]] | None = None, close: bool = False) -> Respond:
    """Return a responder that writes `raw` piece by piece, awaits `then` and may close the connection."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        for piece in raw:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if then is not None:
            await then()
        if close:
            writer.close()

    return respond


Says = bytes | list[bytes | float] | Callable[[Any], bytes]


async def call_server(
    says: Says, *, stream: bool = True, suffix: str = "/v1", request: LLMRequest | None = None, **options: Any
) -> tuple[LLMResponse | LLMProviderError, list[Received]]:
    """Call a provider once whose server answers with `says`, and return the result and the server's requests.

    `says` is a raw answer, a list of its pieces with pauses in seconds, or a function of the request's JSON. The server
    hangs up after its answer.
    """

    async def respond(writer: asyncio.StreamWriter) -> None:
        answer = says(server.requests[-1].body) if callable(says) else says
        for piece in [answer] if isinstance(answer, bytes) else answer:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                writer.write(piece)
                await writer.drain()
        writer.close()

    async with loopback(respond) as server:
        provider = OpenAICompatibleProvider(server.url.removesuffix("/v1") + suffix, **{"name": "acme", **options})
        request = request or ask(max_tokens=64, temperature=0.7, timeout_ms=5000)
        try:
            if not stream:
                return await provider.complete(request), server.requests
            events = await collect(provider.stream(request))  # type: ignore[arg-type]
            assert isinstance(events[-1], LLMResponse)
            assert text_of(events) == events[-1].content
            return events[-1], server.requests
        except LLMProviderError as error:
            return error, server.requests


def stream_head(content_type: str = "text/event-stream", **headers: str) -> bytes:
    """Return the head of an answer whose body ends with the connection. An empty content type is left out."""
    lines = {"Content-Type": content_type, "Connection": "close", **headers}
    sent = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 200 OK\r\n{sent}\r\n".encode()


def completion(content: object = "a red fox", finish: str | None = "stop", **fields: object) -> dict[str, object]:
    """Return a chat completion as JSON."""
    message = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], **fields}


async def failing(says: bytes, *, stream: bool = False) -> LLMProviderError:
    """Return the error of a provider whose server answers with `says` to its only request."""
    error, requests = await call_server(says, stream=stream)
    assert isinstance(error, LLMProviderError), error
    assert len(requests) == 1
    return error


GOOD = http_answer(completion())
"""A whole HTTP answer with the text "a red fox"."""


async def collect(events: AsyncIterator[ChainEvent], into: list[ChainEvent] | None = None) -> list[ChainEvent]:
    """Return all events. The events before an error are in `into`."""
    events_so_far = into if into is not None else []
    async for happened in events:
        events_so_far.append(happened)
    return events_so_far


def text_of(events: list[Any]) -> str:
    """Return the text of the chunks among `events`."""
    return "".join(happened.text for happened in events if isinstance(happened, TextChunk))
