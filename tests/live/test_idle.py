"""An idle server: how many statements it sends, and how soon it notices work."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.db.backends.signals import connection_created

from promptops.asgi import application
from promptops.compare.actions import comparisons, trials
from promptops.compare.models import Trial
from promptops.platform import background
from tests.compare.test_trial_claims import Clock
from tests.compare.trial_runs import ANSWER, BY, ended, prepare, running, until
from tests.engine.helpers import answer_with, http_answer, loopback

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 5.0
MOST_A_SECOND = 3.0
TRIALS = "promptops_trial"
"""The table that only the runner of comparisons reads while a server is idle."""


@pytest.fixture
def statements() -> Iterator[Callable[[], list[str]]]:
    """Return all statements on connections that open from now on, including BEGIN, COMMIT and connection checks."""
    on_sqlite: list[str] = []
    with tempfile.TemporaryFile("w+b") as trace:

        def watch(connection, **kwargs) -> None:
            if connection.vendor == "sqlite":
                connection.connection.set_trace_callback(on_sqlite.append)
            else:
                connection.connection.pgconn.trace(trace.fileno())

        def so_far() -> list[str]:
            trace.seek(0)
            lines = [line.decode().split("\t") for line in trace.read().splitlines()]
            # Each line is one message: time, sender (F: this side), length, name, values.
            sent = [" ".join(values) for _, sender, _, *values in lines if sender == "F"]
            return on_sqlite + [message for message in sent if message.startswith(("Query", "Execute"))]

        connection_created.connect(watch)
        yield so_far
        connection_created.disconnect(watch)


async def start(statements: Callable[[], list[str]]) -> None:
    """Start the tasks of a server, as its first request does, and wait until they are idle."""
    request = {"type": "http", "path": "/livez", "method": "GET", "headers": []}
    communicator = ApplicationCommunicator(application, request)
    await communicator.send_input({"type": "http.request"})
    assert (await communicator.receive_output(60))["status"] == 200
    await until(lambda: any(TRIALS in statement for statement in statements()), seconds=60)
    await asyncio.sleep(1)


async def test_an_idle_server_sends_at_most_three_statements_a_second(publish, statements):
    await database_sync_to_async(publish)("enhance", "Text")
    try:
        await start(statements)
        before = len(statements())
        assert before
        await asyncio.sleep(SECONDS)
        sent = statements()[before:]
    finally:
        await background.stop()
    print(f"{len(sent) / SECONDS:.1f} statements a second")
    assert SECONDS <= len(sent) <= MOST_A_SECOND * SECONDS, sent


async def test_a_comparison_that_another_process_starts_begins_soon(publish, statements):
    async with loopback(answer_with(http_answer(ANSWER))) as one, loopback(answer_with(http_answer(ANSWER))) as two:
        try:
            await start(statements)
            before = len(statements())
            await asyncio.sleep(1)
            assert not any(TRIALS in statement for statement in statements()[before:])  # the runner rests
            comparison = await prepare(publish, one.url, two.url)
            began = time.monotonic()
            await until(lambda: one.requests, seconds=60)
            took = time.monotonic() - began
            await ended(comparison)
        finally:
            await background.stop()
    assert took < trials.IDLE_SECONDS / 2  # it did not wait for a look of the runner that rests


async def test_claims_of_a_paused_comparison_are_watched_until_they_end(publish, monkeypatch):
    """The server that held the claims has died, so nobody renews them."""
    clock = Clock()
    async with loopback(answer_with(http_answer(ANSWER))) as one, loopback(answer_with(http_answer(ANSWER))) as two:
        comparison = await prepare(publish, one.url, two.url)
        await database_sync_to_async(trials._claim_some)("somebody who died", trials.Counter())
        await database_sync_to_async(comparisons.pause)(comparison, by=BY)
        async with running(clock=clock):
            await asyncio.sleep(0.3)
            clock.seconds += trials.CLAIM_SECONDS + 1
            await until(lambda: not Trial.objects.filter(state="running").exists())
        assert not one.requests + two.requests
