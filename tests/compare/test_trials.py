"""Trials through the real runner, against a real loopback provider."""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from promptops.compare.actions import comparisons, trials
from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.actions.trials import Runner
from promptops.compare.models import Arm, Comparison, Trial
from promptops.compare.queries.comparisons import progress
from promptops.engine.types import PromptOperation
from promptops.ledger.audit import Actor
from promptops.live import snapshots as live
from promptops.people.models import User
from promptops.prompts.actions.releases import Content
from promptops.prompts.models import Operation
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.providers.models import Provider
from promptops.runs.models import Attempt, Run
from promptops.safety.actions.filter_settings import SafetyChange, Term, change_safety
from tests.engine.helpers import answer_with, http_answer, loopback
from tests.live.test_snapshots import database_url

pytestmark = pytest.mark.django_db(transaction=True)

ANSWER = json.dumps({"choices": [{"message": {"content": "A red fox."}, "finish_reason": "stop"}]})
BY = Actor("Tests")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(trials, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(trials, "IDLE_SECONDS", 0.02)  # nothing wakes the runner in these tests
    # As in a server, a query in the event loop is an error.
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE")


async def prepare(publish, *urls: str, inputs: int = 3, **fields) -> Comparison:
    """Start a comparison of one version on several providers, by a person."""

    def work():
        by = Actor.person(User.objects.create(username="eddie", name="Eddie", role="editor"))
        version = publish("enhance", "Polish it.")
        for number, url in enumerate(urls, start=1):
            create_provider(ProviderFields(f"p{number}", "openai", f"m{number}", url, **fields), by=BY)
        return comparisons.start(
            "Which provider",
            PromptOperation.ENHANCE,
            [f"a fox, number {number}" for number in range(inputs)],
            [
                ArmChoice(version.template, version, Content(**version.content), provider)
                for provider in Provider.objects.all()
            ],
            by=by,
            snapshot=live.load(),
            inputs_from="Foxes",
        )

    return await database_sync_to_async(work)()


@asynccontextmanager
async def running(count: int = 1, clock: Callable[[], float] = time.monotonic):
    tasks = [asyncio.create_task(Runner(clock).run()) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition, seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not await database_sync_to_async(condition)():  # noqa: ASYNC110 -- what the database says, in a test
            await asyncio.sleep(0.02)


async def ended(comparison: Comparison) -> None:
    await until(lambda: Comparison.objects.get(pk=comparison.pk).state == "done")


async def states(comparison: Comparison) -> list[tuple[int, str]]:
    rows = Trial.objects.filter(comparison=comparison).order_by("arm", "input")
    return [row async for row in rows.values_list("arm__position", "state")]


async def test_several_servers_run_every_trial_once(publish):
    async with loopback(answer_with(http_answer(ANSWER))) as one, loopback(answer_with(http_answer(ANSWER))) as two:
        comparison = await prepare(publish, one.url, two.url, inputs=10)
        async with running(3):
            await ended(comparison)
        assert await states(comparison) == [(0, "succeeded")] * 10 + [(1, "succeeded")] * 10
        assert [len(server.requests) for server in (one, two)] == [10, 10]
        assert {request.body["model"] for request in two.requests} == {"m2"}
    assert await Run.objects.acount() == 20
    assert await Run.objects.filter(source="comparison", output="A red fox.", version__number=1).acount() == 20


@pytest.mark.parametrize(
    ("operation", "answer", "expected"),
    [
        ("enhance", "A red fox runs.", (15, 4, 0.5, 0, None)),  # of "fox" and "number 0"; the digit is one letter
        ("auto_extend", "A red fox runs.", (15, 4, None, 0, None)),
        ("rewrite", "1. A red fox\n2. Foxes, number 9", (31, 8, 0.75, 0, 2)),
    ],
)
async def test_an_answer_is_measured_when_its_trial_ends(publish, operation, answer, expected):
    body = json.dumps({"choices": [{"message": {"content": answer}, "finish_reason": "stop"}]})
    async with loopback(answer_with(http_answer(body))) as good, loopback(answer_with(http_answer("{}", 500))) as bad:
        await prepare(publish, good.url, bad.url, inputs=1)
        await Comparison.objects.aupdate(operation=operation, count=2 if operation == "rewrite" else None)
        async with running():
            await ended(await Comparison.objects.aget())
    fields = "characters", "words", "subject_kept", "repetition", "alternatives"
    good, bad = [row async for row in Trial.objects.order_by("arm").values_list(*fields)]
    assert good == expected
    assert bad == (None,) * 5
    run = await Run.objects.aget(status="succeeded")
    assert [row async for row in Trial.objects.order_by("arm").values_list("answer_hash", flat=True)] == [
        run.answer_hash,
        None,
    ]


async def test_an_answer_that_breaks_the_contract_is_repaired_once_or_fails(publish):
    def answers(*texts: str):
        return iter([http_answer({"choices": [{"message": {"content": text}}]}) for text in texts])

    def server(texts):
        async def respond(writer: asyncio.StreamWriter) -> None:
            writer.write(next(texts))
            await writer.drain()

        return respond

    right, wrong = "1. A fox\n2. A hare", "1. A fox"
    await Operation.objects.filter(name="rewrite").aupdate(answer={"kind": "lines", "count": 2})
    async with loopback(server(answers(wrong, right))) as one, loopback(server(answers(wrong, wrong))) as other:
        await prepare(publish, one.url, other.url, inputs=1)
        await Comparison.objects.aupdate(operation="rewrite", count=2)
        async with running():
            await ended(await Comparison.objects.aget())
    trials = Trial.objects.order_by("arm").values_list("state", "run__contract")
    assert [row async for row in trials] == [("succeeded", "repaired"), ("failed", "breached")]
    repairs = Attempt.objects.order_by("run__trial__arm", "position").values_list("repair", flat=True)
    assert [row async for row in repairs] == [False, True, False, True]


async def test_a_failing_arm_affects_only_its_own_cells(publish):
    async with loopback(answer_with(http_answer(ANSWER))) as good, loopback(answer_with(http_answer("{}", 500))) as bad:
        comparison = await prepare(publish, good.url, bad.url)
        async with running():
            await ended(comparison)
        assert len(good.requests) == 3
    assert await states(comparison) == [(0, "succeeded")] * 3 + [(1, "failed")] * 3


async def test_a_trial_is_retried_if_its_provider_had_no_room(publish, monkeypatch):
    answers = [http_answer("{}", 429, "Retry-After: 0")] * 4  # each run calls its only provider twice

    async def respond(writer):
        await answer_with(answers.pop() if answers else http_answer(ANSWER))(writer)

    async with loopback(respond) as one, loopback(answer_with(http_answer(ANSWER))) as two:
        comparison = await prepare(publish, one.url, two.url, inputs=2)
        async with running():
            await ended(comparison)
        assert len(one.requests) == 6
    assert await states(comparison) == [(0, "succeeded")] * 2 + [(1, "succeeded")] * 2
    assert sorted([row.tries async for row in Trial.objects.all()], reverse=True)[:1] != [0]


async def test_a_provider_gets_at_most_half_of_its_calls_from_comparisons(publish):
    open_now, most = 0, 0

    async def respond(writer):
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.05)
        open_now -= 1
        await answer_with(http_answer(ANSWER))(writer)

    async with loopback(respond) as one, loopback(answer_with(http_answer(ANSWER))) as two:
        comparison = await prepare(publish, one.url, two.url, inputs=6, max_concurrent=4)
        async with running():
            await ended(comparison)
    assert most == 2


async def test_paused_and_canceled_comparisons_start_nothing_more(publish):
    release = asyncio.Event()

    async def respond(writer):
        await release.wait()
        await answer_with(http_answer(ANSWER))(writer)

    async with loopback(respond) as one, loopback(respond) as two:
        comparison = await prepare(publish, one.url, two.url, inputs=10)
        async with running():
            await until(lambda: len(one.requests) + len(two.requests) == 8)
            await database_sync_to_async(comparisons.pause)(comparison, by=BY)
            release.set()
            await until(lambda: Trial.objects.filter(state="succeeded").count() == 8)
            await asyncio.sleep(0.2)
            assert len(one.requests) + len(two.requests) == 8
            assert not await Trial.objects.filter(state="running").aexists()
            await database_sync_to_async(comparisons.resume)(comparison, by=BY)
            await ended(comparison)
        assert len(one.requests) + len(two.requests) == 20


async def test_a_server_that_shuts_down_releases_its_trials(publish):
    async def respond(writer):
        await asyncio.sleep(30)

    async with loopback(respond) as one, loopback(respond) as two:
        comparison = await prepare(publish, one.url, two.url)
        async with running():
            await until(lambda: one.requests)
    assert {state for _, state in await states(comparison)} == {"waiting"}
    assert not await Trial.objects.exclude(claim="").aexists()
    assert not await Run.objects.exclude(status="canceled").aexists()


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


@pytest.mark.parametrize("change", [{"base_url": "http://127.0.0.1:9/v1"}, {"kind": "groq"}, None])
async def test_trials_of_a_changed_provider_fail_with_the_reason(publish, change):
    async with loopback(answer_with(http_answer(ANSWER))) as one, loopback(answer_with(http_answer(ANSWER))) as two:
        comparison = await prepare(publish, one.url, two.url, inputs=1)
        second = Provider.objects.filter(name="p2")
        await (second.aupdate(**change) if change else second.adelete())
        async with running():
            await ended(comparison)
        assert not two.requests
    assert await states(comparison) == [(0, "succeeded"), (1, "failed")]
    assert "Start a new comparison" in (await Run.objects.aget(status="failed")).error
    assert (await Arm.objects.aget(position=1)).provider_name == "p2"


async def test_edits_during_a_comparison_change_nothing(publish):
    async with loopback(answer_with(http_answer(ANSWER))) as one, loopback(answer_with(http_answer(ANSWER))) as two:
        comparison = await prepare(publish, one.url, two.url, inputs=1)
        await database_sync_to_async(publish)("enhance", "Something else.")
        await Provider.objects.aupdate(model="another")
        async with running():
            await ended(comparison)
        assert [one.requests[0].body["model"], two.requests[0].body["model"]] == ["m1", "m2"]
        assert "Polish it." in one.requests[0].body["messages"][0]["content"]


@pytest.mark.parametrize("kills", [1, pytest.param(40, marks=pytest.mark.proof, id="proof: 40")])
async def test_after_a_kill_the_next_server_continues_without_loss_or_duplicates(publish, kills):
    moments = random.Random(4)

    async def respond(writer):
        await asyncio.sleep(0.02)
        await answer_with(http_answer(ANSWER))(writer)

    async with loopback(respond) as one, loopback(respond) as two:
        comparison = await prepare(publish, one.url, two.url, inputs=25 * kills)
        for kill in range(kills + 1):
            server = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.services.comparing",
                cwd=settings.BASE_DIR,
                env=os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "promptops.settings"},
                stdout=asyncio.subprocess.PIPE,
            )
            assert await server.stdout.readline() == b"running\n"
            if kill < kills:
                await asyncio.sleep(moments.uniform(0.05, 0.5))
            else:
                await until(lambda: Comparison.objects.get().state == "done", seconds=120)
            server.kill()
            await server.wait()
        calls = len(one.requests) + len(two.requests)
    assert {state for _, state in await states(comparison)} == {"succeeded"}
    # Each trial has one run. Each kill interrupts at most 8 calls, which are made again.
    assert await Run.objects.acount() == 50 * kills
    assert await Trial.objects.filter(run__isnull=False).acount() == 50 * kills
    assert 50 * kills <= calls <= 50 * kills + 8 * kills
    print(f"{kills} kills, {50 * kills} trials, {calls - 50 * kills} calls made again")


async def test_a_blocked_trial_fails_with_the_reason_and_no_provider_is_called(publish):
    def enforce():
        terms = (Term("deny", "number 1", "other"),)
        change_safety(SafetyChange(mode="enforce", terms=terms), by=BY, expected=0)

    async with loopback(answer_with(http_answer(ANSWER))) as upstream:
        comparison = await prepare(publish, upstream.url, upstream.url)
        await database_sync_to_async(enforce)()
        async with running():
            await ended(comparison)
        assert len(upstream.requests) == 4
    assert sorted(await states(comparison)) == [
        (arm, state) for arm in (0, 1) for state in ("failed", "succeeded", "succeeded")
    ]
    runs = [run async for run in Run.objects.filter(trial__state="failed")]
    assert [(run.status, run.input_masked) for run in runs] == [("blocked", True)] * 2
    assert runs[0].error == 'The safety filter blocked the input: it contains the denied term "number 1" (other).'
