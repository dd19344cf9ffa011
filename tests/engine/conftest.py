"""What the engine's tests share: scripted providers and a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from promptops.engine import (
    LLMMessage,
    LLMProviderError,
    LLMRequest,
    LLMResponse,
    StreamEvent,
    TextChunk,
    close_client,
)


def ask(text: str = "a fox", **fields: Any) -> LLMRequest:
    """A request with a system message and `text`."""
    return LLMRequest([LLMMessage("system", "Improve."), LLMMessage("user", text)], **{"model": "default-model", **fields})


class FakeProvider:
    """Answers with what it was given: a text, a response, an exception, or a coroutine function."""

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
    """Streams the given steps: texts are chunks, exceptions are raised, coroutine functions awaited."""

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
    """A step that takes far longer than any test."""

    async def wait() -> str:
        await asyncio.sleep(seconds)
        return "too late"

    return wait


def refuse(message: str = "no", *, retryable: bool = True) -> LLMProviderError:
    return LLMProviderError(message, retryable=retryable)


@dataclass
class Received:
    """A request that reached the loopback server."""

    path: str
    headers: dict[str, str]
    body: Any


Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Loopback:
    """A real HTTP server. `respond` writes raw bytes for each request; a connection is kept until it says otherwise."""

    respond: Respond
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    all_closed: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.all_closed.clear()
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) and not writer.is_closing():
                first, *lines = head.decode().strip().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines)
                raw_headers = dict(line.split(": ", 1) for line in lines)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                lowered = {name.lower(): value for name, value in raw_headers.items()}
                self.requests.append(Received(first.split()[1], lowered, json.loads(body)))
                responding = asyncio.ensure_future(self.respond(writer))
                gone = asyncio.ensure_future(reader.read(1)) if False else None
                await responding
                assert gone is None
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.open -= 1
            writer.close()
            if not self.open:
                self.all_closed.set()
