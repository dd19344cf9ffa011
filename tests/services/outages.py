"""A control room of two processes, servers that follow it, a publisher, and everything that can go wrong with them.

The test decides what fails and when. This module counts every read, and checks at the end that nothing is lost.
"""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from tests.services.followers import Follower, Line
from tests.services.postgresql import OwnPostgreSQL, own_postgresql
from tests.services.redis_server import OwnRedis, own_redis
from tests.services.server import ROOT, SECRET_KEY, Server, environment

LOOK_SECONDS = 0.05
RUN_SECONDS = 0.1
RECORD_SECONDS = 2.0
"""A run of a process that is killed within this time of its answer may not be recorded."""
SETUP = """
import sys, django
django.setup()
from promptops.ledger.audit import COMMAND_LINE
from promptops.people.actions.tokens import make_token
from promptops.providers.actions.chain import ProviderFields, create_provider
fields = ProviderFields(name="own", kind="openai", model="m", base_url=f"http://127.0.0.1:{sys.argv[1]}/0/v1")
create_provider(fields, by=COMMAND_LINE, key="sk-own")
print(make_token("proof", ["read", "follow", "run", "release", "audit"], by=COMMAND_LINE)[1])
"""


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
        self.runs: dict[str, tuple[int, float]] = {}
        """The runs that a process answered: by id, its place and the time."""
        self.uncertain: set[str] = set()
        """Runs that were answered just before their process was killed."""
        self._environment = {
            "DATABASE_URL": database.url,
            "REDIS_URL": redis.url,
            "SECRET_KEY": SECRET_KEY,
            "API_REQUESTS_PER_MINUTE": "10000000",
            "GRACE_SECONDS": "1",
        }

    async def prepare(self, servers: int) -> None:
        self._upstream, port = _provider()
        self.token = (await asyncio.to_thread(self._python, "-c", SETUP, port)).split()[-1]
        await self.start_processes(0, 1)
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
        self._upstream.terminate()
        self._upstream.wait()

    def _python(self, *arguments: str) -> str:
        """Return what a program with the environment of the processes prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment(self.folder, **self._environment),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async def start_processes(self, *places: int) -> None:
        started = {place: Server(self.folder / f"process-{place}", **self._environment) for place in places}
        self.processes |= started
        for server in started.values():
            await asyncio.to_thread(server.wait_for, "PromptOps is up")
        self.ports[:] = [self.processes[place].port for place in sorted(self.processes)]

    def kill_process(self, place: int) -> None:
        """Kill the process without a warning (SIGKILL)."""
        server = self.processes.pop(place)
        killed = time.monotonic()
        server.kill()
        self.uncertain |= {
            run for run, (where, at) in self.runs.items() if where == place and killed - at < RECORD_SECONDS
        }
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
            for place, process in self._serving():
                if await self._asked(place, process, "GET", "live") is not None:
                    self.looks += 1
            await asyncio.sleep(LOOK_SECONDS)

    async def run_for_ever(self) -> None:
        """Run an operation at each process. As long as a process lives, it answers."""
        while True:
            for place, process in self._serving():
                answer = await self._asked(place, process, "POST", "run/enhance", json={"input": "a fox"})
                if answer is not None:
                    run = json.loads(answer)["run"]
                    self.runs[run] = place, time.monotonic()
                    if self.processes.get(place) is not process:  # its answer was on its way when it was killed
                        self.uncertain.add(run)
            await asyncio.sleep(RUN_SECONDS)

    def _serving(self) -> list[tuple[int, Server]]:
        return [each for each in self.processes.items() if each[1].port in self.ports]

    async def _asked(self, place: int, process: Server, method: str, path: str, **further: Any) -> bytes | None:
        """Return the answer of a process; None if there is none, which counts unless the process was killed."""
        try:
            async with self.session.request(method, f"{process.address}/api/v1/{path}", **further) as answer:
                body = await answer.read()
                if answer.status == 200:
                    return body
                failure = f"{path}: {answer.status} {body.decode()}"
        except (aiohttp.ClientError, TimeoutError) as error:
            if self.processes.get(place) is not process:
                return None
            failure = f"{path}: {error!r}"
        self.unexpected.append(failure)
        return None

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
        await asyncio.to_thread(self._python, "manage.py", "audit_verify")

    async def check_records(self) -> None:
        """Check that the database has all that was confirmed, once, and that all servers stand there as current."""
        newest, answered = max(self.published), set(self.runs)
        await asyncio.sleep(RECORD_SECONDS)  # until these runs are recorded; further runs are answered meanwhile
        await until(lambda: self._acknowledged(newest) == len(self.servers), 30)
        with psycopg.connect(self.database.url) as connection:
            rows = connection.execute(
                "SELECT r.revision, v.body FROM promptops_release r JOIN promptops_version v ON v.id = r.version_id"
                " WHERE v.body LIKE 'Polish it. This is release %%' ORDER BY r.revision"
            ).fetchall()
            entries = connection.execute("SELECT count(*) FROM promptops_auditentry WHERE note LIKE 'Release %%'")
            assert entries.fetchone() == (len(self.published),)
            recorded = connection.execute("SELECT public_id FROM promptops_run WHERE public_id IS NOT NULL").fetchall()
        assert dict(rows) == self.published
        assert len(rows) == len(self.published)
        lost = answered - {str(row[0]) for row in recorded}
        assert lost <= self.uncertain, f"{len(lost - self.uncertain)} runs are lost"
        self.lost_with_a_process = len(lost)
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


def _provider() -> "tuple[subprocess.Popen[str], str]":
    """Start a provider that answers at once. Return its process and port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.upstream"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


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
            tasks += [asyncio.create_task(each) for each in (room.look_for_ever(), room.run_for_ever())]
            yield room
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await room.close()
