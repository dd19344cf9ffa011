"""A Redis that dies or hangs: the process notices, shows it, and hears hints again afterwards."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import redis
from channels.layers import get_channel_layer
from django.urls import reverse

from promptops.fleet.reports import reports
from promptops.platform import events
from tests.services.redis_server import OwnRedis, own_redis

Hints = asyncio.Queue[tuple[str, int]]


@pytest.fixture
def server(settings, monkeypatch) -> Iterator[OwnRedis]:
    with own_redis() as started:
        settings.REDIS_URL = started.url
        monkeypatch.setattr(events, "PING_SECONDS", 0.2)
        monkeypatch.setattr(events, "RECONNECT_SECONDS", 0.05)
        monkeypatch.setattr(events, "_is_deaf", False)
        monkeypatch.setattr(events, "_silent_until", 0.0)
        events._publisher.cache_clear()
        yield started
        events._publisher.cache_clear()


@asynccontextmanager
async def hearing() -> AsyncIterator[Hints]:
    heard: Hints = asyncio.Queue()

    async def hear(event: str, number: int) -> None:
        await heard.put((event, number))

    task = asyncio.create_task(events.relay(hear))
    try:
        yield heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 -- Redis is outside of this loop
            await asyncio.sleep(0.01)


async def hint_arrives(server: OwnRedis, heard: Hints) -> None:
    """Publish hints of another process until one arrives: the subscription may take a moment."""
    with redis.Redis.from_url(server.url) as other:
        async with asyncio.timeout(20):
            while heard.empty():
                other.publish(events.channel(), json.dumps({"event": "revision", "number": 7, "from": "another"}))
                await asyncio.sleep(0.02)
    assert (await heard.get()) == ("revision", 7)


async def test_a_killed_redis_is_noticed_and_heals(server):
    layer = get_channel_layer()
    page = await layer.new_channel()
    await layer.group_add(events.PAGES, page)
    async with hearing() as heard:
        await hint_arrives(server, heard)
        assert not events.is_redis_lost()
        server.kill()
        await until(events.is_redis_lost)
        assert (await layer.receive(page))["event"] == events.FLEET_CHANGED
        await asyncio.to_thread(server.start)
        await until(lambda: not events.is_redis_lost())
        assert (await layer.receive(page))["event"] == events.FLEET_CHANGED
        while not heard.empty():
            heard.get_nowait()
        await hint_arrives(server, heard)
    await layer.group_discard(events.PAGES, page)


async def test_a_redis_that_answers_nothing_is_noticed(server):
    """As after a cut cable: the connection stays open, and nothing comes."""
    async with hearing() as heard:
        await hint_arrives(server, heard)
        await asyncio.sleep(0.5)  # more than two pings, which Redis answers
        assert not events.is_redis_lost()
        with server.frozen():
            await until(events.is_redis_lost)
        await until(lambda: not events.is_redis_lost())


async def test_a_hint_that_cannot_be_published_counts_until_redis_answers(server):
    server.kill()
    events._tell_other_processes(events.message(events.AUDIT_RECORDED, 1))
    assert events.is_redis_lost()
    await asyncio.to_thread(server.start)
    async with hearing():
        await until(lambda: not events.is_redis_lost())


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["overview", "fleet", "fleet_notices"])
@pytest.mark.parametrize("is_lost", [True, False])
def test_pages_show_a_lost_redis(client_for, viewer, settings, monkeypatch, page, is_lost):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(events, "_is_deaf", is_lost)
    shown = client_for(viewer).get(reverse(page), headers={"HX-Request": "true"}).content.decode()
    assert ('data-loss="redis"' in shown) == is_lost


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["overview", "fleet", "fleet_notices"])
@pytest.mark.parametrize("dropped", [0, 3])
def test_pages_count_lost_acknowledgements(client_for, viewer, monkeypatch, page, dropped):
    monkeypatch.setattr(reports, "dropped", dropped)
    shown = client_for(viewer).get(reverse(page), headers={"HX-Request": "true"}).content.decode()
    assert ('data-loss="acknowledgements"' in shown) == bool(dropped)
