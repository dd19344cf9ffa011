"""Streaming servers in the process of a test: they follow over lines that can be cut, and read all the time."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from promptops.client import Clock, LiveEnhancer
from promptops.engine import LLMResponse

READ_SECONDS = 0.02


class Line:
    """The line of a server's connections. It leads to the first process that takes them, and can be cut."""

    def __init__(self, ports: list[int], first: int) -> None:
        self._ports, self._first = ports, first
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_cut = False

    async def open(self) -> str:
        """Return the address for the server."""
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        self._listener.close()
        self._drop()

    @contextlib.contextmanager
    def cut(self) -> Any:
        """Break all connections, and take no new one."""
        self._is_cut = True
        self._drop()
        try:
            yield
        finally:
            self._is_cut = False

    def _drop(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = None if self._is_cut else await self._process()
        if upstream is None:
            writer.transport.abort()
            return
        self._writers |= {writer, upstream[1]}
        try:
            await asyncio.gather(_copy(reader, upstream[1]), _copy(upstream[0], writer))
        finally:
            self._writers -= {writer, upstream[1]}

    async def _process(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        ports = list(self._ports)
        for place in range(len(ports)):
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", ports[(self._first + place) % len(ports)])
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(Exception):
        writer.transport.abort()  # as a dead process ends both directions


class Model:
    """The provider of a server. It answers with the system prompt that it got."""

    name = "own"

    async def complete(self, request: Any) -> LLMResponse:
        return LLMResponse(request.messages[0].content, self.name, "m", 0.1)


@dataclass
class Shift:
    """A clock that jumps ahead."""

    seconds: float = 0.0

    def clock(self) -> Clock:
        return Clock(
            monotonic=lambda: time.monotonic() + self.seconds,
            now=lambda: datetime.now(UTC) + timedelta(seconds=self.seconds),
        )


@dataclass
class Follower:
    """A streaming server: it follows, and reads all the time."""

    name: str
    line: Line
    url: str
    token: str
    cache: Path
    shift: Shift = field(default_factory=Shift)
    reads: int = 0
    failures: list[str] = field(default_factory=list)
    texts: set[tuple[int, str]] = field(default_factory=set)
    """Each revision that a read used, with the system prompt."""

    async def start(self) -> None:
        self.live = LiveEnhancer(
            self.url,
            self.token,
            server=self.name,
            cache=self.cache,
            providers=[Model()],
            start_timeout=0.5,
            clock=self.shift.clock(),
        )
        await self.live.start()

    async def restart(self) -> None:
        """Start again from the cache, as a new process of the server does."""
        await self.live.close()
        await self.start()

    async def read_for_ever(self) -> None:
        while True:
            self.reads += 1
            try:
                response = await self.live.enhance("a fox")
                self.texts.add((response.revision, response.content))
            except Exception as error:
                self.failures.append(f"{self.name}: {error!r}")
            await asyncio.sleep(READ_SECONDS)
