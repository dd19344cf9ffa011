"""Trials through the real runner, against a real loopback provider."""

import asyncio
import json
import os
import random
import sys

import pytest
from channels.db import database_sync_to_async
from django.conf import settings

from promptops.compare.actions import comparisons
from promptops.compare.models import Arm, Comparison, Trial
from promptops.prompts.models import Operation
from promptops.providers.models import Provider
from promptops.runs.models import Attempt, Run
from promptops.safety.actions.filter_settings import SafetyChange, Term, change_safety
from tests.compare.trial_runs import ANSWER, BY, ended, prepare, running, states, until
from tests.engine.helpers import answer_with, http_answer, loopback
from tests.live.test_snapshots import database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]


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
