"""`/livez` and `/readyz` of real servers, while everything is well and while the database or Redis is not."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from promptops.web.health import FOLLOWER_SECONDS, PROBE_SECONDS, Probe
from tests.services.postgresql import own_postgresql
from tests.services.server import Server, administrator, free_port, serving

WITHIN = 5.0  # seconds in which `/readyz` always answers; less than 2 on a machine that is not busy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the server that several tests share."""
    return tmp_path_factory.mktemp("health")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(folder, REDIS_URL=f"redis://:hush-hush@127.0.0.1:{free_port()}/0") as running:
        yield running


def ready(server: Server) -> tuple[int, dict[str, Any]]:
    """The status and content of `/readyz`, which must come in time."""
    began = time.monotonic()
    response = httpx.get(f"{server.address}/readyz", timeout=10)
    took = time.monotonic() - began
    assert took < WITHIN, took
    return response.status_code, response.json()


def wait_until(server: Server, status: int, seconds: float = 60) -> dict[str, Any]:
    """The content once the status is this one."""
    until = time.monotonic() + seconds
    while True:
        code, content = ready(server)
        if code == status:
            return content
        assert time.monotonic() < until, content
        time.sleep(0.2)


def test_a_healthy_server_says_so_without_a_session_and_follows_releases(tmp_path) -> None:
    with serving(tmp_path, ALLOWED_HOSTS="promptops.example.org") as server:
        live = httpx.get(f"{server.address}/livez")
        assert (live.status_code, live.json()) == (200, {"status": "ok"})
        content = wait_until(server, 200)
        assert content["reasons"] == content["warnings"] == []
        assert content["database"] == {"readable": True, "writable": True}
        assert content["follower"]["alive"]
        assert content["follower"]["last_poll_seconds"] < FOLLOWER_SECONDS
        assert content["snapshot"]["revision"] == content["snapshot"]["live_revision"] >= 1
        assert content["snapshot"]["age_seconds"] >= 0
        assert content["redis"] is None
        assert content["last_error"] is None
        for response in (live, httpx.get(f"{server.address}/readyz")):
            assert "set-cookie" not in response.headers
            assert response.headers["cache-control"] == "no-store"


def test_the_old_address_stays_and_a_release_shows(server) -> None:
    before = wait_until(server, 200)["snapshot"]
    browser = administrator(server)
    sent = {"body": "Say it in blue.", "base": "1", "confirm": "1", "note": "bluer"}
    began = time.monotonic()
    assert "HX-Redirect" in browser.post("/prompts/enhance/publish/", sent).headers
    until = began + 60
    # It asks for the live revision once a second, and takes over a release of its own at once.
    while before["revision"] in {(after := wait_until(server, 200)["snapshot"])["revision"], after["live_revision"]}:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert after["revision"] == after["live_revision"] == before["revision"] + 1
    assert after["age_seconds"] < time.monotonic() - began + 0.1
    old = httpx.get(f"{server.address}/healthz")
    assert (old.status_code, old.json()) == (200, {"status": "ok", "revision": after["revision"]})


def test_a_database_that_is_locked_for_writing_is_not_ready(server, folder) -> None:
    wait_until(server, 200)
    with closing(sqlite3.connect(folder / "promptops.sqlite3", 60, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        content = wait_until(server, 503)
        assert content["database"] == {"readable": True, "writable": False}
        assert content["reasons"] == ["The database cannot be written: OperationalError."]
        other.execute("ROLLBACK")
    wait_until(server, 200)


# 12 s: at least 5 s without a database, then the follower has to notice that it is back.
def test_a_postgresql_that_hangs_or_takes_no_changes_is_not_ready_and_always_answered(tmp_path) -> None:
    """Frozen, it keeps every connection open and answers none: nothing that asks it may be waited for."""
    with (
        own_postgresql() as database,
        closing(psycopg.connect(database.url, autocommit=True)) as other,
        serving(tmp_path, DATABASE_URL=database.url) as server,
    ):
        wait_until(server, 200)
        with database.frozen():
            until = time.monotonic() + FOLLOWER_SECONDS + PROBE_SECONDS + 60
            code, content = ready(server)
            while content["follower"]["alive"] and time.monotonic() < until:
                time.sleep(0.3)
                code, content = ready(server)
                assert httpx.get(f"{server.address}/livez", timeout=WITHIN).status_code == 200
            assert code == 503
            assert content["database"] == {"readable": False, "writable": False}
            assert "The database cannot be read: no answer within 1.5 s." in content["reasons"]
            assert not content["follower"]["alive"]
            assert content["snapshot"]["revision"] >= 1
        wait_until(server, 200)
        other.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        assert wait_until(server, 503)["database"] == {"readable": True, "writable": False}
        other.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
        wait_until(server, 200)


def test_a_redis_that_is_away_is_a_warning(server) -> None:
    """Without Redis other processes hear of changes later; that is no reason to send nobody here any more."""
    content = wait_until(server, 200)
    assert content["redis"] == {"reachable": False}
    assert content["warnings"] == [
        "Redis does not answer: ConnectionError. Other processes hear of changes up to a second later."
    ]
    assert "hush-hush" not in str(content)


async def test_the_database_is_asked_once_a_second_however_often_somebody_asks() -> None:
    asked: list[float] = []

    def check() -> dict[str, Any]:
        asked.append(time.monotonic())
        time.sleep(0.05)
        return {"revision": len(asked)}

    probe = Probe(check)
    answers = await asyncio.gather(*(probe.result() for _ in range(100)))
    assert answers == [{"revision": 1}] * 100
    until = time.monotonic() + 2.2
    while time.monotonic() < until:
        await probe.result()
        await asyncio.sleep(0.01)
    assert len(asked) <= 3
    assert all(later - earlier > 0.9 for earlier, later in pairwise(asked))


@pytest.mark.parametrize("error", [RuntimeError("hush-hush"), psycopg.OperationalError("hush-hush")])
async def test_an_error_is_told_by_its_kind_only(error) -> None:
    def check() -> dict[str, Any]:
        raise error

    assert await Probe(check).result() == {"error": type(error).__name__}
