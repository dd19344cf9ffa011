"""Recording runs while SQLite is locked, read-only or full. PostgreSQL is in tests/services/test_outages.py."""

import asyncio
import sqlite3
import threading
from contextlib import contextmanager

import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError, connection
from django.db.backends.signals import connection_created

from promptops.engine.types import PromptOperation
from promptops.live import snapshots as live
from promptops.prompts.actions.releases import Content
from promptops.runs.actions import execution, recording, records
from promptops.runs.actions.execution import execute
from promptops.runs.actions.recording import Recorder
from promptops.runs.enums import RunSource
from promptops.runs.models import Run
from promptops.runs.plans import RunPlan, RunRecorded

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def recorder(monkeypatch):
    """Replace the recorder by one that retries soon, and for which pages wait briefly."""
    made = Recorder()
    monkeypatch.setattr(execution, "recorder", made)
    monkeypatch.setattr(execution, "PAGE_WAITS_SECONDS", 0.3)
    monkeypatch.setattr(recording, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(recording, "LOCK_WAIT_MS", 100)
    yield made
    made.give_up()


@contextmanager
def locked():
    """Hold a write transaction open on another connection."""
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def each_connection(pragma: str):
    """Return a context in which each new connection has this setting."""

    @contextmanager
    def outage():
        def limit(connection, **_) -> None:
            connection.connection.execute(pragma)

        connection_created.connect(limit)
        try:
            yield
        finally:
            connection_created.disconnect(limit)

    return outage


read_only = each_connection("PRAGMA query_only = ON")


@contextmanager
def full():
    """Leave the file no free page, and forbid it to grow."""
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("VACUUM")
    other.close()
    with each_connection("PRAGMA max_page_count = 1")():
        yield


def plan(number: int) -> RunPlan:
    """Return a run that fails at once without a provider. Its long text needs pages of the file."""
    text = f"input {number} ".ljust(15_000, "x")
    content = Content("Polish it. " + "y" * 40_000)
    return RunPlan(PromptOperation.ENHANCE, text, content, (), live.current(), RunSource.PREVIEW)


async def run(number: int) -> RunRecorded:
    made = await database_sync_to_async(plan)(number)
    events = [event async for event in execute(made)]
    assert isinstance(events[-1], RunRecorded)
    return events[-1]


def recorded() -> list[str]:
    return [text.split(" x")[0] for text in Run.objects.order_by("id").values_list("input", flat=True)]


@pytest.mark.skipif("connection.vendor != 'sqlite'")
@pytest.mark.parametrize("outage", [locked, read_only, full], ids=["locked", "read-only", "full"])
async def test_runs_wait_and_are_recorded_in_order_when_the_database_answers(outage, recorder, caplog):
    assert (await run(0)).run_id
    with outage():
        ended = [await run(number) for number in (1, 2, 3)]
        assert [each.run_id for each in ended] == [0, 0, 0]
        assert recorder.status.waiting == 3
        assert await database_sync_to_async(recorded)() == ["input 0"]
    ids = await asyncio.wait_for(asyncio.gather(*(each.recording for each in ended)), 10)
    assert ids == sorted(ids)
    assert await database_sync_to_async(recorded)() == [f"input {number}" for number in range(4)]
    assert (recorder.status.waiting, recorder.status.dropped) == (0, 0)
    assert caplog.text.count("A run waits to be recorded.") == 1


async def test_a_commit_whose_answer_was_lost_records_no_second_run(monkeypatch):
    original, failures = records.record_runs, []

    def committed_but_cut(ended):
        ids = original(ended)
        if not failures:
            failures.append(ids)
            raise OperationalError("server closed the connection unexpectedly")
        return ids

    monkeypatch.setattr(recording, "record_runs", committed_but_cut)
    ended = await run(1)
    assert [ended.run_id] == failures[0]
    assert await database_sync_to_async(recorded)() == ["input 1"]


@pytest.mark.skipif("connection.vendor != 'sqlite'")
@pytest.mark.parametrize("bound", ["MAX_WAITING", "MAX_WAITING_BYTES"])
async def test_runs_over_the_limit_are_counted_and_logged(bound, recorder, monkeypatch, caplog):
    monkeypatch.setattr(recording, bound, {"MAX_WAITING": 2, "MAX_WAITING_BYTES": 120_000}[bound])
    with locked():
        ended = [await run(number) for number in range(4)]
        assert (recorder.status.waiting, recorder.status.dropped) == (2, 2)
        assert caplog.text.count("A run was not recorded: 2 runs wait for the database already") == 2
    await asyncio.wait_for(asyncio.gather(*(each.recording for each in ended), return_exceptions=True), 10)
    assert await database_sync_to_async(recorded)() == ["input 0", "input 1"]
    assert recorder.status.dropped == 2


async def test_a_bug_is_not_retried(monkeypatch):
    def broken(*arguments):
        raise ValueError("a bug")

    monkeypatch.setattr(recording, "record_runs", broken)
    with pytest.raises(ValueError, match="a bug"):
        await run(1)
    assert threading.active_count() < 50
