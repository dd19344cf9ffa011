"""A real server whose database goes away in the middle of runs, and comes back."""

import asyncio
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import psycopg
import pytest

from tests.client.loopback import until
from tests.engine.helpers import STREAM_END, STREAM_HEAD, delta, event, loopback, part
from tests.services.postgresql import OwnPostgreSQL, own_postgresql
from tests.services.server import Browser, Server, administrator, serving

ANSWER = "A red fox."
ANSWERED = r"(?s)A red fox\..*not recorded yet"
PROVIDER = {"kind": "openai", "name": "own", "model": "m", "timeout_ms": "", "key_source": "stored", "key": "sk-own"}


@pytest.fixture
def postgresql() -> Iterator[OwnPostgreSQL]:
    with own_postgresql() as server:
        yield server


class Pages:
    """Open editor pages of one person, each with one run of its own."""

    def __init__(self, pages: list[aiohttp.ClientWebSocketResponse], provider: str) -> None:
        self.pages, self.provider = pages, provider

    async def run(self) -> None:
        for number, page in enumerate(self.pages):
            wanted = {"template": "enhance", "what": "editor", "where": self.provider, "input": f"input {number}"}
            editor = {"body": "Polish it.", "temperature": "", "max_tokens": "", "model": "", "base": ""}
            await page.send_str(json.dumps({"action": "run"} | wanted | editor))

    async def read(self, pattern: str, seconds: float = 60) -> list[str]:
        """The first message of each page that holds the pattern."""

        async def of(page: aiohttp.ClientWebSocketResponse) -> str:
            ends = time.monotonic() + seconds
            while True:
                text = await page.receive_str(timeout=max(0.01, ends - time.monotonic()))
                if re.search(pattern, text):
                    return text

        return list(await asyncio.gather(*map(of, self.pages)))

    async def close(self) -> None:
        for page in self.pages:
            await page.close()


def added_provider(browser: Browser, url: str) -> str:
    """Add a provider at the address and return its number."""
    browser.fill("/providers/new/", PROVIDER | {"base_url": url, "confirm": "1"})
    return max(re.findall(r'href="/providers/(\d+)/"', browser.get("/providers/").text), key=int)


@asynccontextmanager
async def pages_of(server: Server, url: str, count: int) -> AsyncIterator[tuple[Browser, Pages]]:
    browser = await asyncio.to_thread(administrator, server)
    provider = await asyncio.to_thread(added_provider, browser, url)
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(browser.page()) for _ in range(count)]
        yield browser, Pages(pages, provider)


@asynccontextmanager
async def outage(
    folder: Path, postgresql: OwnPostgreSQL, count: int, **more: str
) -> AsyncIterator[tuple[Server, Browser, Pages]]:
    """Yield a server whose database went away in the middle of so many runs, which have ended since."""
    is_away = asyncio.Event()

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        await is_away.wait()
        writer.write(part(delta(ANSWER, "stop")) + part(event("[DONE]")) + STREAM_END)
        await writer.drain()

    async with loopback(respond) as upstream:
        with serving(folder, DATABASE_URL=postgresql.url, **more) as server:
            async with pages_of(server, upstream.url, count) as (browser, pages):
                await pages.run()
                await until(lambda: len(upstream.requests) == count, seconds=60)
                await asyncio.to_thread(postgresql.stop)
                is_away.set()
                await pages.read(ANSWERED)
                yield server, browser, pages


def runs_in(database: str) -> list[tuple[str, str]]:
    with psycopg.connect(database) as connection:
        return connection.execute("SELECT input, output FROM promptops_run ORDER BY input").fetchall()


# 7 s: a start, pages that wait 2 s for the record, and a database that stops and starts again.
async def test_runs_that_end_during_an_outage_are_recorded_afterwards(tmp_path, postgresql) -> None:
    async with outage(tmp_path, postgresql, 4) as (server, browser, pages):
        page = await asyncio.to_thread(browser.get, "/prompts/")
        assert (page.status_code, page.headers["retry-after"]) == (503, "5")
        assert "The database cannot be reached at the moment." in page.text
        for socket in pages.pages:
            await socket.send_str(json.dumps({"action": "test", "provider": pages.provider}))
        await pages.read("The database cannot be reached at the moment.")
        await pages.read("4 runs not recorded yet")
        await asyncio.to_thread(postgresql.start)
        await pages.read(r"(?s)unrecorded-Task-\d+.*run \d+</a>")
        assert runs_in(postgresql.url) == [(f"input {number}", ANSWER) for number in range(4)]
        assert (await asyncio.to_thread(browser.get, "/prompts/")).status_code == 200
        await pages.close()
        await asyncio.to_thread(server.end, signal.SIGTERM)
    assert "Traceback" not in server.output
    assert len(server.output.splitlines()) < 40, server.output


# 7 s, for the same reasons.
async def test_the_end_of_the_server_waits_for_runs_that_are_not_recorded_yet(tmp_path, postgresql) -> None:
    async with outage(tmp_path, postgresql, 2) as (server, _, pages):
        await pages.close()
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1)
        assert server.process.poll() is None
        await asyncio.to_thread(postgresql.start)
        assert await asyncio.to_thread(server.process.wait, 60) == 0
    assert [output for _, output in runs_in(postgresql.url)] == [ANSWER] * 2
    assert "Traceback" not in server.output


# 10 s: the server waits 1 s for runs and 5 s for their record.
async def test_what_is_lost_with_the_server_is_counted_in_its_log(tmp_path, postgresql) -> None:
    async with outage(tmp_path, postgresql, 2, GRACE_SECONDS="1") as (server, _, pages):
        await pages.close()
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, 60) == 0
        await asyncio.to_thread(server.wait_for, "2 runs were not recorded")
    assert "Traceback" not in server.output
