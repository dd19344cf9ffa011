"""Hints to pages after a commit."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from channels.layers import get_channel_layer
from django.db import connection

from promptops.platform import events

pytestmark = pytest.mark.django_db(transaction=True)


def commit(number: int) -> None:
    try:
        events.broadcast_on_commit(events.AUDIT_RECORDED, number)
    finally:
        connection.close()


async def test_a_commit_does_not_wait_for_the_loop_of_the_pages():
    layer = get_channel_layer()
    page = await layer.new_channel()
    await layer.group_add(events.PAGES, page)
    events.pages_are_in(asyncio.get_running_loop())
    with ThreadPoolExecutor(max_workers=1) as pool:
        for number in (7, 8):
            pool.submit(commit, number).result(timeout=5)  # blocks this loop
    assert [(await layer.receive(page))["number"] for _ in range(2)] == [7, 8]
    await layer.group_discard(events.PAGES, page)


def test_a_closed_loop_does_not_prevent_a_commit():
    loop = asyncio.new_event_loop()
    events.pages_are_in(loop)
    commit(7)  # the loop does not run
    loop.close()
    commit(8)


async def test_hints_of_runs_are_spaced_and_forget_numbers_from_before_a_restore(monkeypatch):
    monkeypatch.setattr(events, "SECONDS_BETWEEN_RUNS", 0.2)
    layer = get_channel_layer()
    page = await layer.new_channel()
    await layer.group_add(events.PAGES, page)
    for number in (100, 110, 105):
        await events.tell_pages(events.RUN_RECORDED, number)
    assert [(await layer.receive(page))["number"] for _ in range(2)] == [100, 110]
    await events.tell_pages(events.RUN_RECORDED, 120)
    events.begin_again()  # the database is an older copy now
    await events.tell_pages(events.RUN_RECORDED, 50)
    async with asyncio.timeout(5):
        assert (await layer.receive(page))["number"] == 50
    assert events.newest_sent()[events.RUN_RECORDED] == 50
    await layer.group_discard(events.PAGES, page)
