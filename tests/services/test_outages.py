"""A real server whose database goes away in the middle of runs, and comes back."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import psycopg
import pytest

from benchmarks.upstream import TOKENS
from tests.services.postgresql import OwnPostgreSQL, own_postgresql
from tests.services.server import ROOT, Browser, Server, administrator, serving

DELAY_MS = 1500
ANSWER = "".join(TOKENS)
ANSWERED = r"(?s)A red fox\..*not recorded yet"
PROVIDER = {"kind": "openai", "name": "own", "model": "m", "timeout_ms": "", "key_source": "stored", "key": "sk-own"}


@pytest.fixture
def postgresql() -> Iterator[OwnPostgreSQL]:
    with own_postgresql() as server:
        yield server


@pytest.fixture
def upstream() -> Iterator[str]:
    """The address of a provider that takes its time."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.upstream"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/{DELAY_MS}/v1"
    finally:
        process.terminate()
        process.wait()


class Pages:
    """Open editor pages of one person, each with one run of its own."""

    def __init__(self, pages: list[aiohttp.ClientWebSocketResponse], provider: str) -> None:
        self.pages, self.provider = pages, provider

    async def run(self) -> None:
        for number, page in enumerate(self.pages):
            wanted = {"template": "enhance", "what": "editor", "where": self.provider, "input": f"input {number}"}
            editor = {"body": "Polish it.", "temperature": "", "max_tokens": "", "model": "", "base": ""}
            await page.send_str(json.dumps({"action": "run"} | wanted | editor))
            await asyncio.sleep(0.05)  # they end in this order

    async def read(self, pattern: str, seconds: float = 15) -> list[str]:
        """The first message of each page that holds the pattern."""

        async def of(page: aiohttp.ClientWebSocketResponse) -> str:
            until = time.monotonic() + seconds
            while True:
                text = await page.receive_str(timeout=max(0.01, until - time.monotonic()))
                if re.search(pattern, text):
                    return text

        return list(await asyncio.gather(*map(of, self.pages)))


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


def runs_in(database: str) -> list[tuple[str, str]]:
    with psycopg.connect(database) as connection:
        return connection.execute("SELECT input, output FROM promptops_run ORDER BY id").fetchall()


# 10 s: a start, answers of 1.5 s, pages that wait 2 s for the record, and a database that stops and starts again.
async def test_runs_that_end_during_an_outage_are_recorded_afterwards(tmp_path, postgresql, upstream) -> None:
    with serving(tmp_path, DATABASE_URL=postgresql.url) as server:
        async with pages_of(server, upstream, 4) as (browser, pages):
            await pages.run()
            await asyncio.sleep(0.4)
            await asyncio.to_thread(postgresql.stop)
            await pages.read(ANSWERED)
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
        server.end(signal.SIGTERM)
    assert "Traceback" not in server.output
    assert len(server.output.splitlines()) < 40, server.output


# 10 s, for the same reasons.
async def test_the_end_of_the_server_waits_for_runs_that_are_not_recorded_yet(tmp_path, postgresql, upstream) -> None:
    with serving(tmp_path, DATABASE_URL=postgresql.url) as server:
        async with pages_of(server, upstream, 2) as (_, pages):
            await pages.run()
            await asyncio.sleep(0.4)
            await asyncio.to_thread(postgresql.stop)
            await pages.read(ANSWERED)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(1)
            assert server.process.poll() is None
            await asyncio.to_thread(postgresql.start)
            assert await asyncio.to_thread(server.process.wait, 15) == 0
    assert [output for _, output in runs_in(postgresql.url)] == [ANSWER] * 2
    assert "Traceback" not in server.output


# 15 s: the server waits 1 s for runs, 5 s for their record and up to 10 s for open pages.
async def test_what_is_lost_with_the_server_is_counted_in_its_log(tmp_path, postgresql, upstream) -> None:
    with serving(tmp_path, DATABASE_URL=postgresql.url, GRACE_SECONDS="1") as server:
        async with pages_of(server, upstream, 2) as (_, pages):
            await pages.run()
            await asyncio.sleep(0.4)
            await asyncio.to_thread(postgresql.stop)
            await pages.read(ANSWERED)
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, 20) == 0
            await asyncio.to_thread(server.wait_for, "2 runs were not recorded")
    assert "Traceback" not in server.output
