"""Many at once: requests, and open pages after a release. Nobody is refused, and connections stay few."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from psycopg import sql

from tests.services.postgresql import SERVER, connect
from tests.services.server import Browser, administrator, serving

THREADS = 6
BESIDE = 9
"""Connections of a server beside those of its workers, as docs/configuration.md says."""


@pytest.fixture
def database() -> Iterator[str]:
    """The name of an empty database on the PostgreSQL server, gone afterwards."""
    name = f"promptops_{uuid.uuid4().hex[:12]}"
    with connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield name
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def connections_of(database: str) -> int:
    """How many connections the database has now."""
    with connect() as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [database]).fetchone()
    assert row
    return int(row[0])


def client_of(browser: Browser) -> aiohttp.ClientSession:
    """A client that is signed in as the browser is, without a limit of connections."""
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(browser.address, connector=connector, cookies=dict(browser.client.cookies))


async def test_250_requests_at_once_are_all_answered_over_few_connections(tmp_path: Path, database: str) -> None:
    with serving(
        tmp_path, makes_tables=True, DATABASE_URL=f"{SERVER}/{database}", DATABASE_THREADS=str(THREADS)
    ) as server:
        browser = administrator(server)
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, await asyncio.to_thread(connections_of, database))
                await asyncio.sleep(0.05)

        async with client_of(browser) as client:

            async def get(number: int) -> int:
                async with client.get("/prompts/" if number % 2 else "/audit/") as answer:
                    await answer.read()
                    return answer.status

            watching = asyncio.create_task(watch())
            began = time.monotonic()
            statuses = Counter(await asyncio.gather(*map(get, range(250))))
            print(f"250 requests at once: {time.monotonic() - began:.1f} s, at most {most} connections")
            watching.cancel()
        assert statuses == {200: 250}
        assert 1 < most <= THREADS + BESIDE
    assert "Traceback" not in server.output
