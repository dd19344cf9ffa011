"""Several servers: Redis tells the pages of the others at once, and without it polling does."""

import asyncio
import re
import socket
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.services.server import Browser, administrator, free_port, hint, serving, signed_in

REDIS = ("127.0.0.1", 6379)


@pytest.fixture
def redis_url() -> str:
    try:
        socket.create_connection(REDIS, timeout=2).close()
    except OSError as error:
        missing(f"no Redis answers at {REDIS[0]}:{REDIS[1]} ({error.strerror})")
    return f"redis://{REDIS[0]}:{REDIS[1]}/0"


async def release(browser: Browser, text: str) -> None:
    """Publish the text over HTTP, without holding up the sockets of this test."""
    page = (await asyncio.to_thread(browser.get, "/prompts/enhance/")).text
    base = re.search(r'name="base" value="(\d+)"', page)
    assert base, page
    form = {"body": text, "base": base[1], "note": "from the other server"}
    answer = await asyncio.to_thread(browser.post, "/prompts/enhance/publish/", form)
    assert "published=" in answer.headers["HX-Redirect"]


async def test_a_release_in_one_server_reaches_the_pages_of_the_other(tmp_path: Path, redis_url: str) -> None:
    with serving(tmp_path, REDIS_URL=redis_url) as one:
        writer = administrator(one)
        with serving(tmp_path, REDIS_URL=redis_url) as two:
            reader = signed_in(two)
            async with reader.page() as page:
                revision = await hint(page, "revision")
                await release(writer, "Said by the first.")
                # PromptOps promises a second.
                assert await hint(page, "revision", above=revision, seconds=5) == revision + 1
                # By the time that the hint comes, what it tells of can be read.
                assert "Said by the first." in (await asyncio.to_thread(reader.get, "/prompts/enhance/")).text
    assert "Traceback" not in one.output + two.output


async def test_the_hint_travels_by_redis(tmp_path: Path, redis_url: str) -> None:
    """Two databases, so that polling cannot be what brings the number; one secret key, so that they hear each other."""
    shared = {"REDIS_URL": redis_url, "SECRET_KEY": f"a secret key of this one test: {tmp_path}"}
    with serving(tmp_path / "one", **shared) as one, serving(tmp_path / "two", **shared) as two:
        writer, reader = administrator(one), administrator(two)
        async with reader.page() as page:
            revision = await hint(page, "revision")
            await release(writer, "Once.")
            await release(writer, "Twice.")
            assert await hint(page, "revision", above=revision + 1) == revision + 2


async def test_without_redis_releases_succeed_and_pages_still_follow(tmp_path: Path) -> None:
    """REDIS_URL names a port that nobody listens on, as while Redis restarts."""
    away = f"redis://127.0.0.1:{free_port()}/0"
    with serving(tmp_path, REDIS_URL=away) as one:
        writer = administrator(one)
        with serving(tmp_path, REDIS_URL=away) as two:
            here, there = writer, signed_in(two)
            async with here.page() as own, there.page() as other:
                revision = await hint(own, "revision")
                assert await hint(other, "revision") == revision
                await release(writer, "Without Redis.")
                assert await hint(own, "revision", above=revision) == revision + 1
                assert await hint(other, "revision", above=revision, seconds=10) == revision + 1
    # Said once in a while, in one line, not with every hint.
    assert len(two.output.splitlines()) < 15
    assert "Traceback" not in two.output
