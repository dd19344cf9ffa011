"""Curating the prompts of a session's start: order, one deadline, blocked prompts, and the quota."""

import asyncio

import pytest

from tests.api.running import BROKEN, FOX, deny, in_database, providers, recorded
from tests.api.test_door import problem
from tests.engine.helpers import answer_with, completion, hang, http_answer

pytestmark = pytest.mark.django_db(transaction=True)

CURATE = "/api/v1/curate"


async def test_each_prompt_has_its_result_in_order(machine):
    caller = await in_database(machine, "run")
    prompts = [f"fox {number}" for number in range(64)]
    async with providers(FOX) as [upstream]:
        response = await caller.arequest("POST", CURATE, json={"prompts": prompts})
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert [result["prompt"] for result in results] == prompts
    assert {(result["status"], result["answer"]["content"]) for result in results} == {("succeeded", "A red fox.")}
    assert response.json()["first_blocked"] is None
    assert sorted(request.body["messages"][1]["content"] for request in upstream.requests) == sorted(prompts)
    runs = await recorded(64)
    assert {str(run.public_id) for run in runs} == {result["answer"]["run"] for result in results}


async def test_a_blocked_prompt_is_named_and_does_not_stop_the_others(machine):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        await in_database(deny, "evil")
        response = await caller.arequest("POST", CURATE, json={"prompts": ["a fox", "evil 1", "a hen", "evil 2"]})
    body = response.json()
    assert [result["status"] for result in body["results"]] == ["succeeded", "blocked", "succeeded", "blocked"]
    assert body["first_blocked"] == 1
    assert body["results"][1]["answer"] is None
    assert body["results"][1]["problem"]["type"] == "/api/v1/problems#blocked"
    assert len(upstream.requests) == 2


async def test_prompts_run_at_once_under_one_deadline(machine):
    caller = await in_database(machine, "run")
    async with providers(answer_with(then=hang())):
        async with asyncio.timeout(10):
            response = await caller.arequest("POST", CURATE, json={"prompts": ["a fox"] * 20, "deadline_ms": 200})
    results = response.json()["results"]
    assert {result["status"] for result in results} == {"failed"}
    assert {result["problem"]["run"]["attempts"][0]["error_kind"] for result in results} == {"timeout"}


async def test_the_inputs_go_on_where_the_caller_says_so(machine):
    caller = await in_database(machine, "run")
    async with providers(BROKEN):
        response = await caller.arequest("POST", CURATE, json={"prompts": ["a fox", "a hen"], "on_failure": "input"})
    results = response.json()["results"]
    assert [(result["status"], result["answer"]["content"]) for result in results] == [
        ("unchanged", "a fox"),
        ("unchanged", "a hen"),
    ]


@pytest.mark.parametrize(
    ("sent", "name", "field"),
    [
        ({"prompts": []}, "invalid", "prompts"),
        ({"prompts": ["a fox"] * 65}, "invalid", "prompts"),
        ({"prompts": ["a fox", " "]}, "invalid", "prompts.1"),
        ({"prompts": ["a fox"], "template": "nothing"}, "invalid", "template"),
        ({"prompts": ["a fox"], "operation": "nothing"}, "not-found", None),
    ],
)
async def test_prompts_that_cannot_run_are_refused_together(machine, sent, name, field):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        document = problem(await caller.arequest("POST", CURATE, json=sent), name)
    assert not upstream.requests
    if field:
        assert [error["field"] for error in document["errors"]] == [field]


async def test_each_prompt_counts_as_a_request(machine, settings):
    settings.API_REQUESTS_PER_MINUTE = 70
    caller = await in_database(machine, "run")
    async with providers(FOX):
        first = await caller.arequest("POST", CURATE, json={"prompts": ["a fox"] * 64})
        assert first.status_code == 200
        second = await caller.arequest("POST", CURATE, json={"prompts": ["a fox"] * 64})
    problem(second, "rate-limited")
    assert int(second.headers["retry-after"]) >= 1


async def test_a_slow_prompt_holds_no_other_up(machine):
    caller = await in_database(machine, "run")
    waiting = asyncio.Event()
    answered = []

    async def respond(writer):
        if not waiting.is_set():
            waiting.set()
            await asyncio.sleep(0.2)
        answered.append(1)
        writer.write(http_answer(completion("A red fox.")))
        await writer.drain()

    async with providers(respond):
        response = await caller.arequest("POST", CURATE, json={"prompts": ["a fox"] * 4})
    assert [result["status"] for result in response.json()["results"]] == ["succeeded"] * 4
    quickest = min(result["answer"]["latency_ms"] for result in response.json()["results"])
    assert quickest < max(result["answer"]["latency_ms"] for result in response.json()["results"])
