"""A control room of two processes, servers that follow it, a publisher, and everything that can go wrong with them.

The test decides what fails and when. This module counts every read, and checks at the end that nothing is lost.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from promptops.client import Clock, LiveEnhancer
from promptops.engine import LLMResponse
from tests.services.postgresql import OwnPostgreSQL, own_postgresql
from tests.services.redis_server import OwnRedis, own_redis
from tests.services.server import SECRET_KEY, Server, manage

READ_SECONDS = 0.02
LOOK_SECONDS = 0.05
SCOPES = ("read", "follow", "release", "audit")


class Line:
    """What a server's connections go through. It leads to the first process that takes them, and can be cut."""

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


class ControlRoom:
    """Two processes on one PostgreSQL and one Redis, a publisher, and the servers that follow."""

    def __init__(self, folder: Path, database: OwnPostgreSQL, redis: OwnRedis) -> None:
        self.folder, self.database, self.redis = folder, database, redis
        self.processes: dict[int, Server] = {}
        self.ports: list[int] = []
        self.servers: list[Follower] = []
        self.published: dict[int, str] = {}
        """The texts that a release confirmed, by revision."""
        self.refusals: list[dict[str, Any]] = []
        self.unexpected: list[str] = []
        self.looks = 0
        self.output = ""
        self._keys = itertools.count()
        self._environment = {
            "DATABASE_URL": database.url,
            "REDIS_URL": redis.url,
            "SECRET_KEY": SECRET_KEY,
            "API_REQUESTS_PER_MINUTE": "10000000",
            "GRACE_SECONDS": "1",
        }

    async def prepare(self, servers: int) -> None:
        arguments = [word for scope in SCOPES for word in ("--scope", scope)]
        token = asyncio.to_thread(manage, self.folder, "create_token", "proof", *arguments, **self._environment)
        made, _ = await asyncio.gather(token, self.start_processes(0, 1))
        self.token = made.stdout.split()[-1]
        self.session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self.token}"}, timeout=aiohttp.ClientTimeout(total=10)
        )
        for number in range(servers):
            line = Line(self.ports, number)
            follower = Follower(
                f"gpu-{number}", line, await line.open(), self.token, self.folder / f"cache-{number}.json"
            )
            await follower.start()
            self.servers.append(follower)

    async def close(self) -> None:
        for follower in self.servers:
            await follower.live.close()
            follower.line.close()
        await self.session.close()
        self.kill_processes()

    async def start_processes(self, *places: int) -> None:
        started = {place: Server(self.folder / f"process-{place}", **self._environment) for place in places}
        self.processes |= started
        for server in started.values():
            await asyncio.to_thread(server.wait_for, "PromptOps is up")
        self.ports[:] = [self.processes[place].port for place in sorted(self.processes)]

    def kill_process(self, place: int) -> None:
        """Kill the process without a warning (SIGKILL)."""
        server = self.processes.pop(place)
        server.kill()
        self.output += server.output

    def kill_processes(self) -> None:
        """Kill all of them."""
        for place in tuple(self.processes):
            self.kill_process(place)

    async def release(self, number: int) -> None:
        """Publish the text of this number. It is repeated with its key until a process confirms it."""
        body = {"text": f"Polish it. This is release {number}.", "note": f"Release {number}"}
        headers = {"Idempotency-Key": f"release-{number}"}
        while True:
            async with contextlib.AsyncExitStack() as stack:
                try:
                    version = await self._live_version()
                    if version is None:
                        continue
                    answer = await stack.enter_async_context(
                        self.session.post(
                            f"{self._address()}/api/v1/templates/enhance/publish",
                            json=body | {"expected": version},
                            headers=headers,
                        )
                    )
                    values = await answer.json()
                except (aiohttp.ClientError, TimeoutError):
                    continue
                finally:
                    await asyncio.sleep(LOOK_SECONDS)
            if answer.status == 200:
                self.published[values["revision"]] = body["text"]
                return
            if answer.status == 503:
                self.refusals.append(values | {"retry_after": answer.headers.get("Retry-After")})
            elif values["type"].rpartition("#")[2] not in ("conflict", "key-reused"):
                raise AssertionError(values)

    async def another_release(self) -> None:
        """Wait until the publisher has made one more release."""
        before = len(self.published)
        await until(lambda: len(self.published) > before, 60)

    async def _live_version(self) -> int | None:
        """Return the number of the live version as one process has it; None if it cannot say."""
        async with self.session.get(f"{self._address()}/api/v1/templates/enhance") as answer:
            return int((await answer.json())["version"]) if answer.status == 200 else None

    def _address(self) -> str:
        if not self.processes:
            raise TimeoutError
        return self.processes[random.choice(tuple(self.processes))].address

    async def look_for_ever(self) -> None:
        """Read what is live from each process. As long as a process lives, it answers."""
        while True:
            for place, process in tuple(self.processes.items()):
                if process.process.poll() is not None or process.port not in self.ports:
                    continue
                try:
                    async with self.session.get(f"{process.address}/api/v1/live") as answer:
                        self.looks += 1
                        if answer.status != 200:
                            self.unexpected.append(f"/live: {answer.status} {await answer.text()}")
                        await answer.read()
                except (aiohttp.ClientError, TimeoutError) as error:
                    if self.processes.get(place) is process:  # else it was killed meanwhile
                        self.unexpected.append(f"/live: {error!r}")
            await asyncio.sleep(LOOK_SECONDS)

    async def refusal(self, method: str, path: str, **further: Any) -> tuple[int, str, str | None]:
        """Return status, problem type and Retry-After of a request that this moment refuses."""
        async with self.session.request(method, f"{self._address()}/api/v1/{path}", **further) as answer:
            values = await answer.json()
            return answer.status, values["type"].rpartition("#")[2], answer.headers.get("Retry-After")

    async def until_all_run(self, revision: int, seconds: float) -> float:
        """Wait until every server runs the revision, and return how long that took."""
        began = time.monotonic()
        await until(lambda: all(each.live.state.revision == revision for each in self.servers), seconds)
        return time.monotonic() - began

    async def check_chain(self) -> None:
        """Check that the chain of the audit is whole."""
        verified = await asyncio.to_thread(manage, self.folder, "audit_verify", **self._environment)
        assert verified.returncode == 0, verified.stdout + verified.stderr

    async def check_records(self) -> None:
        """Check that the database has all that was confirmed, once, and that all servers stand there as current."""
        newest = max(self.published)
        await until(lambda: self._acknowledged(newest) == len(self.servers), 30)
        with psycopg.connect(self.database.url) as connection:
            rows = connection.execute(
                "SELECT r.revision, v.body FROM promptops_release r JOIN promptops_version v ON v.id = r.version_id"
                " WHERE v.body LIKE 'Polish it. This is release %%' ORDER BY r.revision"
            ).fetchall()
            entries = connection.execute("SELECT count(*) FROM promptops_auditentry WHERE note LIKE 'Release %%'")
            assert entries.fetchone() == (len(self.published),)
        assert dict(rows) == self.published
        assert len(rows) == len(self.published)
        for follower in self.servers:
            for revision, text in follower.texts:
                assert self.published.get(revision, text).strip() == text.strip()

    def _acknowledged(self, revision: int) -> int:
        with psycopg.connect(self.database.url) as connection:
            rows = connection.execute(
                "SELECT count(DISTINCT name) FROM promptops_server"
                " WHERE kind = 'library' AND revision = %s AND NOT has_other_content",
                [revision],
            )
            return int(rows.fetchone()[0])


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 -- conditions outside of this loop
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def control_room(folder: Path, servers: int) -> AsyncIterator[ControlRoom]:
    """A control room with servers that follow, read, and are looked after until the end."""
    with own_postgresql() as database, own_redis() as redis:
        room = ControlRoom(folder, database, redis)
        tasks: list[asyncio.Task[None]] = []
        try:
            await room.prepare(servers)
            tasks = [asyncio.create_task(each.read_for_ever()) for each in room.servers]
            tasks.append(asyncio.create_task(room.look_for_ever()))
            yield room
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await room.close()
