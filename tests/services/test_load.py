"""Many at once: requests, and open pages after a release. Nobody is refused, and connections stay few."""

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.services.postgresql import connect, own_database
from tests.services.server import Browser, administrator, serving

PARTS = re.compile(r'data-fragment="([\w-]+)"\s+data-version="([\d-]+)"')
LISTENERS = re.compile(
    r'<[^>]*hx-get="([^"]*)"[^>]*hx-trigger="[^"]*live:revision[^>]*>|<[^>]*live:revision[^>]*hx-get="([^"]*)"'
)
THREADS = 6
BESIDE = 13
"""Connections of a server beside those of its workers, as docs/configuration.md says."""


@pytest.fixture
def database_url() -> Iterator[str]:
    """Yield the address of a PostgreSQL database with all its tables and without rows, which is gone afterwards."""
    with own_database(has_tables=True) as url:
        yield url


def connections_of(database: str) -> int:
    """Return the number of connections that the database of this name has now."""
    with connect() as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [database]).fetchone()
    assert row
    return int(row[0])


def client_of(browser: Browser) -> aiohttp.ClientSession:
    """A client that is signed in as the browser is, without a limit of connections."""
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(browser.address, connector=connector, cookies=dict(browser.client.cookies))


@pytest.mark.parametrize("count", [60, pytest.param(250, marks=pytest.mark.proof, id="proof: 250")])
async def test_requests_at_once_are_all_answered_over_few_connections(
    tmp_path: Path, database_url: str, count: int
) -> None:
    with serving(tmp_path, DATABASE_URL=database_url, DATABASE_THREADS=str(THREADS)) as server:
        browser = administrator(server)
        async with client_of(browser) as client:

            async def get(number: int) -> int:
                async with client.get("/prompts/" if number % 2 else "/audit/") as answer:
                    await answer.read()
                    return answer.status

            most = [0]
            watching = asyncio.create_task(watch_connections(database_url, most))
            began = time.monotonic()
            statuses = Counter(await asyncio.gather(*map(get, range(count))))
            print(f"{count} requests at once: {time.monotonic() - began:.1f} s, at most {most[0]} connections")
            watching.cancel()
        assert statuses == {200: count}
        assert 1 < most[0] <= THREADS + BESIDE
    assert "Traceback" not in server.output


class OpenPage:
    """An open page as static/js makes it: a socket, parts that come over it, and fetching after a hint."""

    def __init__(self, client: aiohttp.ClientSession, address: str, html: str) -> None:
        self.client, self.address = client, address
        self.parts = {name: [int(n) for n in numbers.split("-")] for name, numbers in PARTS.findall(html)}
        self.fetches = [found[1] or found[2] for found in LISTENERS.finditer(html)]
        self.revision = min(numbers[0] for numbers in self.parts.values())
        self.fetched_at: dict[str, int] = {}
        self.errors: Counter[int] = Counter()

    async def open(self, opening: asyncio.Semaphore) -> None:
        """Open the socket, a few pages at a time."""
        async with opening:
            headers = {"Origin": self.address}
            self.socket = await self.client.ws_connect("/ws/", headers=headers, max_msg_size=0)
            shown = {name: "-".join(map(str, numbers)) for name, numbers in self.parts.items()}
            await self.socket.send_str(json.dumps({"action": "here", "shown": shown}))
            await self.socket.receive_str(timeout=30)

    async def live(self, until: int, opening: asyncio.Semaphore, opened: asyncio.Semaphore) -> float:
        """Return the moment at which everything on the page shows the revision `until`.

        The socket is read all the time: who does not answer the server's pings is taken for gone.
        """
        await self.open(opening)
        opened.release()
        async with self.socket as socket:
            while not self._is_current(until):
                message = await socket.receive_str(timeout=60)
                if not message.startswith("{"):
                    continue
                hint = json.loads(message)
                if hint["event"] == "fragment":
                    for name, numbers in PARTS.findall(hint["html"]):
                        self.parts[name] = [int(n) for n in numbers.split("-")]
                elif hint["event"] == "revision" and hint["number"] == until:
                    await asyncio.gather(*(self._fetch(url, hint) for url in self.fetches))
            return time.monotonic()

    def _is_current(self, revision: int) -> bool:
        parts = all(numbers[0] >= revision for numbers in self.parts.values())
        return parts and all(self.fetched_at.get(url, 0) >= revision for url in self.fetches)

    async def _fetch(self, url: str, hint: dict[str, Any]) -> None:
        await asyncio.sleep(random.random() * hint.get("spread", 0) / 1000)
        async with self.client.get(url, headers={"HX-Request": "true"}) as answer:
            await answer.read()
            self.errors[answer.status] += 1
        self.fetched_at[url] = hint["number"]


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.proof, id="proof: 500")])
async def test_open_pages_are_all_current_soon_after_a_release(tmp_path: Path, database_url: str, count: int) -> None:
    """Nine of ten show the overview; the others fetch by themselves, as most pages do."""
    # One person at one address has all these pages open.
    limits = {"SOCKETS_PER_PERSON": str(count + 1), "CONNECTIONS_PER_ADDRESS": str(3 * count)}
    with serving(tmp_path, DATABASE_URL=database_url, **limits) as server:
        browser = administrator(server)
        html = {path: html_of(browser, path) for path in ("/", "/prompts/", "/providers/", "/safety/", "/variables/")}
        others = [path for path in html if path != "/"]
        paths = [others[number // 10 % len(others)] if number % 10 == 9 else "/" for number in range(count)]
        async with client_of(browser) as client:
            pages = [OpenPage(client, browser.address, html[path]) for path in paths]
            assert {len(page.fetches) for page in pages[:9]} == {0}
            assert all(page.fetches for page in pages[9::10])
            until, opening, opened = pages[0].revision + 1, asyncio.Semaphore(20), asyncio.Semaphore(0)
            tasks = [asyncio.create_task(page.live(until, opening, opened)) for page in pages]
            for _ in pages:
                await asyncio.wait_for(opened.acquire(), 60)
            await asyncio.sleep(1 + count / 100)  # the server has read what they show
            most = [0]
            watching = asyncio.create_task(watch_connections(database_url, most))
            form = {"body": "New.", "base": base_of(browser), "note": "load"}
            answer = await asyncio.to_thread(browser.post, "/prompts/enhance/publish/", form)
            began = time.monotonic()
            assert "published=" in answer.headers["HX-Redirect"]
            seconds = sorted(at - began for at in await asyncio.wait_for(asyncio.gather(*tasks), 60))
            watching.cancel()
        statuses = sum((page.errors for page in pages), Counter())
        print(
            f"{count} pages current after a release: median {seconds[count // 2]:.2f} s, last {seconds[-1]:.2f} s; "
            f"fetched {dict(statuses)}; at most {most[0]} connections"
        )
        assert set(statuses) == {200}
        assert seconds[-1] < 10
        assert 1 < most[0] <= 8 + BESIDE
    assert "Traceback" not in server.output
    assert "ERROR" not in server.output


def html_of(browser: Browser, path: str) -> str:
    return browser.get(path).text


def base_of(browser: Browser) -> str:
    found = re.search(r'name="base" value="(\d+)"', html_of(browser, "/prompts/enhance/"))
    assert found
    return found[1]


async def watch_connections(database_url: str, most: list[int]) -> None:
    """Keep the highest number of connections in `most[0]`, until canceled."""
    while True:
        most[0] = max(most[0], await asyncio.to_thread(connections_of, database_url.rpartition("/")[2]))
        await asyncio.sleep(0.05)
