"""Recording many runs at once: each exactly once and in order, whatever fails between. On SQLite and PostgreSQL."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.db import DatabaseError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from promptops.engine.judged_runs import Outcome
from promptops.engine.judging import SafetyChecked
from promptops.engine.safety.guard import SafetyVerdict, VerdictDecision
from promptops.engine.types import Attempt, PromptOperation
from promptops.live import snapshots as live
from promptops.platform.draining import gate
from promptops.prompts.content import Content
from promptops.runs.actions import execution, recording, records
from promptops.runs.actions.execution import execute
from promptops.runs.actions.recording import MAX_BATCH, NotRecorded, Recorder
from promptops.runs.enums import RunSource, RunStatus, SafetySide
from promptops.runs.models import Run
from promptops.runs.plans import RunPlan, RunRecorded

pytestmark = pytest.mark.django_db(transaction=True)

LOST = OperationalError("server closed the connection unexpectedly")


class Writer:
    """Stands before `record_runs`: the first batch waits for `go`; each batch may fail before or after its commit."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.sizes: list[int] = []
        self.before: Callable[[int], Exception | None] = lambda size: None
        self.after: Callable[[int], Exception | None] = lambda size: None

    def __call__(self, ended: list[Any]) -> list[int]:
        self.sizes.append(len(ended))
        assert self.go.wait(10)
        if error := self.before(len(ended)):
            raise error
        ids = records.record_runs(ended)
        if error := self.after(len(ended)):
            raise error
        return ids


def once(size: int, error: Exception) -> Callable[[int], Exception | None]:
    """Return a fault of the first batch of this size."""
    left = [error]
    return lambda got: left.pop() if got == size and left else None


@pytest.fixture
def writer(monkeypatch):
    made = Writer()
    monkeypatch.setattr(recording, "record_runs", made)
    yield made
    made.go.set()


@pytest.fixture(autouse=True)
def recorder(monkeypatch):
    made = Recorder()
    monkeypatch.setattr(execution, "recorder", made)
    monkeypatch.setattr(execution, "PAGE_WAITS_SECONDS", 0.01)
    monkeypatch.setattr(recording, "RETRY_SECONDS", 0.05)
    yield made
    made.give_up()


def plan(number: int, **more: Any) -> RunPlan:
    """Return a run that fails at once without a provider."""
    content = Content("Polish it.")
    return RunPlan(PromptOperation.ENHANCE, f"input {number}", content, (), live.current(), RunSource.PREVIEW, **more)


def fail(*_: object) -> None:
    raise ValueError("a bug")


async def run(made: RunPlan) -> "asyncio.Future[int]":
    """Execute a run and return its recording."""
    *_, last = [event async for event in execute(made)]
    assert isinstance(last, RunRecorded)
    if last.recording is not None:
        return last.recording
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    done.set_result(last.run_id)
    return done


async def run_together(writer: Writer, plans: list[RunPlan]) -> list[int | BaseException]:
    """Execute one run, and the others while it is written. Return the ids of all, or their errors."""
    recordings = [await run(plans[0])]
    while not writer.sizes:  # noqa: ASYNC110 -- it is set in another thread
        await asyncio.sleep(0.01)
    recordings += await asyncio.gather(*map(run, plans[1:]))
    writer.go.set()
    return await asyncio.wait_for(asyncio.gather(*recordings, return_exceptions=True), 20)


@database_sync_to_async
def make_plans(count: int) -> list[RunPlan]:
    return [plan(number) for number in range(count)]


@database_sync_to_async
def recorded() -> dict[int, str]:
    """Return the input of each run by its id, in the order of the ends."""
    return dict(Run.objects.order_by("at").values_list("pk", "input"))


async def test_runs_that_end_together_are_recorded_together_and_in_order(writer):
    plans = await make_plans(MAX_BATCH + 10)
    ids = await run_together(writer, plans)
    found = await recorded()
    assert [found[each] for each in ids] == [each.input for each in plans]
    assert list(found) == sorted(found) == sorted(ids)
    assert writer.sizes == [1, MAX_BATCH, 9]


async def test_a_run_alone_does_not_wait_for_others(writer):
    writer.go.set()
    made = await make_plans(1)
    assert await asyncio.wait_for(await run(made[0]), 5) in await recorded()
    assert writer.sizes == [1]


async def test_a_run_that_cannot_be_recorded_loses_no_others(writer):
    plans = await make_plans(6)
    plans[3] = replace(plans[3], recorded=fail)
    ids = await run_together(writer, plans)
    assert isinstance(ids.pop(3), ValueError)
    found = await recorded()
    assert [found[each] for each in ids] == [f"input {number}" for number in (0, 1, 2, 4, 5)]
    assert list(found) == sorted(found)
    assert writer.sizes == [1, 5, *[1] * 5]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_outage_around_the_commit_of_a_batch_records_each_run_once(writer, recorder, moment):
    setattr(writer, moment, once(5, LOST))
    plans = await make_plans(6)
    ids = await run_together(writer, plans)
    found = await recorded()
    assert [found[each] for each in ids] == [each.input for each in plans]
    assert len(found) == 6
    assert (recorder.status.waiting, recorder.status.dropped) == (0, 0)


async def test_an_outage_while_runs_are_recorded_alone_records_each_once(writer):
    """After the bad run made its batch fail, the connection breaks between the commit of a run and its answer."""
    plans = await make_plans(6)
    plans[3] = replace(plans[3], recorded=fail)
    writer.after = lambda size: LOST if len(writer.sizes) == 4 else None
    ids = await run_together(writer, plans)
    assert isinstance(ids.pop(3), ValueError)
    found = await recorded()
    assert [found[each] for each in ids] == [f"input {number}" for number in (0, 1, 2, 4, 5)]
    assert len(found) == 5


async def test_an_error_after_the_commit_records_no_run_again(writer):
    writer.after = once(5, DatabaseError("odd"))
    ids = await run_together(writer, await make_plans(6))
    assert sorted(await recorded()) == sorted(ids)
    assert len(ids) == 6


async def test_runs_whose_pages_have_left_are_recorded_before_the_server_ends(writer):
    running = [asyncio.create_task(run(each)) for each in await make_plans(5)]
    while not writer.sizes:  # noqa: ASYNC110 -- it is set in another thread
        await asyncio.sleep(0.01)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert await gate.emptied(0.05) > 0
    writer.go.set()
    assert await gate.emptied(10) == 0
    assert len(await recorded()) == 5


async def test_a_waiting_batch_is_lost_and_counted_when_the_server_ends_during_an_outage(writer, recorder, caplog):
    writer.before = lambda size: LOST
    plans = await make_plans(4)
    recordings = [await run(each) for each in plans]
    writer.go.set()
    async with asyncio.timeout(10):
        while not recorder.status.waiting:  # noqa: ASYNC110 -- it is set in another thread
            await asyncio.sleep(0.01)
    assert recorder.give_up() == 4
    ends = await asyncio.wait_for(asyncio.gather(*recordings, return_exceptions=True), 10)
    assert [type(end) for end in ends] == [NotRecorded] * 4
    assert (recorder.status.waiting, recorder.status.dropped) == (0, 4)
    assert "4 runs were not recorded" in caplog.text
    assert await recorded() == {}


def ended(number: int) -> tuple[RunPlan, Outcome]:
    """Return a run with two attempts and two verdicts."""
    attempts = [Attempt("p1", "m", "failed", "timeout", "Too late.", 0.0, None, 5.0)] * 2
    checks = [SafetyChecked(side, SafetyVerdict(VerdictDecision.ALLOW), blocked=False) for side in SafetySide]
    return plan(number), Outcome(RunStatus.FAILED, attempts=attempts, checks=checks)


def test_a_batch_takes_as_many_statements_as_one_run():
    counts = []
    for size in (1, 15):
        batch = [ended(number) for number in range(size)]
        with CaptureQueriesContext(connection) as statements:
            ids = records.record_runs(batch)
        counts.append(len(statements))
        assert len(set(ids)) == size
    assert counts[0] == counts[1]
    assert [run.attempts.count() for run in Run.objects.all()] == [2] * 16
    assert [run.safety_checks.count() for run in Run.objects.all()] == [2] * 16
