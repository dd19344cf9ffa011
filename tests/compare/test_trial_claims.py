"""Trials whose server died or lost its claim, and clocks that are set."""

import asyncio
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError
from django.utils import timezone

from promptops.compare.actions import trials
from promptops.compare.models import Trial
from promptops.compare.queries.comparisons import progress
from promptops.runs.models import Run
from tests.compare.trial_runs import ANSWER, ended, prepare, running, until
from tests.engine.helpers import answer_with, http_answer, loopback

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]


class Clock:
    """A monotonic clock that a test moves forward."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def shift_time(monkeypatch, by: timedelta) -> None:
    """Set the machine's clock forward or back."""
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + by)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize("by", [timedelta(0), -HOUR, HOUR], ids=["clock right", "set back", "set forward"])
async def test_a_claim_that_nobody_renews_is_freed(publish, monkeypatch, by):
    clock = Clock()
    async with loopback(answer_with(http_answer(ANSWER))) as one, loopback(answer_with(http_answer(ANSWER))) as two:
        comparison = await prepare(publish, one.url, two.url)
        await database_sync_to_async(trials._claim_some)("somebody who died", trials.Counter())
        assert await Trial.objects.filter(claim="somebody who died").acount() == 6
        shift_time(monkeypatch, by)
        async with running(clock=clock):
            await asyncio.sleep(0.2)
            clock.seconds += trials.CLAIM_SECONDS - 0.1
            await asyncio.sleep(0.2)
            assert not one.requests
            clock.seconds += 0.2
            await ended(comparison)
        assert [len(one.requests), len(two.requests)] == [3, 3]


@pytest.mark.parametrize("by", [-HOUR, HOUR], ids=["set back", "set forward"])
async def test_a_renewed_claim_is_not_freed_when_the_clock_is_changed(publish, monkeypatch, by):
    clock = Clock()
    async with loopback(answer_with(http_answer(ANSWER))) as one, loopback(answer_with(http_answer(ANSWER))) as two:
        await prepare(publish, one.url, two.url)
        await database_sync_to_async(trials._claim_some)("somebody alive", trials.Counter())
        shift_time(monkeypatch, by)
        async with running(clock=clock):
            for _ in range(5):
                await asyncio.sleep(0.1)
                clock.seconds += trials.CLAIM_SECONDS - 1
                await database_sync_to_async(trials._renew)("somebody alive")
                await asyncio.sleep(0.1)
        assert not one.requests + two.requests
    assert await Trial.objects.filter(claim="somebody alive", state="running").acount() == 6


async def test_a_database_outage_frees_no_claim(publish, monkeypatch):
    clock, free_dead_claims = Clock(), trials._free_dead_claims
    monkeypatch.setattr(trials, "RENEW_SECONDS", 0.2)

    def unavailable(watch) -> None:
        raise OperationalError("connection refused")

    async with loopback(answer_with(http_answer(ANSWER))) as one, loopback(answer_with(http_answer(ANSWER))) as two:
        await prepare(publish, one.url, two.url)
        await database_sync_to_async(trials._claim_some)("somebody alive", trials.Counter())
        async with running(clock=clock):
            await asyncio.sleep(0.3)
            monkeypatch.setattr(trials, "_free_dead_claims", unavailable)
            await asyncio.sleep(0.5)
            clock.seconds += trials.CLAIM_SECONDS + 1
            monkeypatch.setattr(trials, "_free_dead_claims", free_dead_claims)
            await asyncio.sleep(0.3)
        assert not one.requests + two.requests
    assert await Trial.objects.filter(claim="somebody alive", state="running").acount() == 6


async def test_comparisons_continue_when_the_clock_is_set_back(publish, monkeypatch):
    """Waiting trials seem to start in an hour, which is later than any retry waits."""
    async with loopback(answer_with(http_answer(ANSWER))) as one, loopback(answer_with(http_answer(ANSWER))) as two:
        comparison = await prepare(publish, one.url, two.url)
        shift_time(monkeypatch, -HOUR)
        async with running():
            await ended(comparison)
        assert [len(one.requests), len(two.requests)] == [3, 3]


@pytest.mark.parametrize(("ahead", "due"), [(-1, True), (29, False), (31, True), (3600, True)])
def test_a_trial_is_due_at_its_time_or_if_its_time_is_too_far_ahead(publish, monkeypatch, ahead, due):
    comparison = asyncio.run(prepare(publish, "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1", inputs=1))
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    Trial.objects.update(not_before=now + timedelta(seconds=ahead), tries=1)
    assert progress(comparison).delayed == (0 if due else 2)
    assert len(trials._claim_some("me", trials.Counter())) == (2 if due else 0)


async def test_a_server_that_lost_its_claim_saves_no_answer(publish, caplog):
    async def respond(writer):
        await Trial.objects.filter(state="running").aupdate(claim="somebody else")
        await answer_with(http_answer(ANSWER))(writer)

    async with loopback(respond) as one, loopback(respond) as two:
        await prepare(publish, one.url, two.url, inputs=1)
        async with running():
            await until(lambda: caplog.text.count("lost its claim") == 2)
    assert not await Run.objects.aexists()
    assert [record.levelname for record in caplog.records if record.name.startswith("promptops")] == ["WARNING"] * 2
