"""Contracts in the chain: fallback and repair after a breach, its record, and nothing handed on before the check."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from promptops.engine import (
    AttemptFailed,
    HealthRegistry,
    HedgePolicy,
    JsonContract,
    LinesContract,
    LLMAuthError,
    LLMContractError,
    LLMEmptyError,
    LLMRefusedError,
    LLMResponse,
    LLMServerError,
    LLMTimeoutError,
    OpenAICompatibleProvider,
    RunDone,
    TextChunk,
    TextContract,
    build_request,
    complete_chain,
    contract_outcome,
    run_chain,
)
from promptops.engine.contracts import checking
from promptops.engine.contracts.repairs import MAX_ANSWER_CHARACTERS
from promptops.engine.contracts.schemas import CompiledSchema
from tests.engine.contracts.shapes import GOOD_SEGMENTS, SEGMENTS
from tests.engine.helpers import FakeProvider, FakeStream, ask, collect, completion, hang, http_answer, loopback

CONTRACT = JsonContract.of(SEGMENTS)
WRONG = '{"title": "Fox", "segment_prompts": ["A fox runs."]}'
PROBLEM = "segment_prompts has 1 item, 3 expected"


def request(**fields: Any):
    return ask(**{"contract": CONTRACT, "max_tokens": 100, **fields})


class Scripted(FakeProvider):
    """Answers with one text, response or exception after the other."""

    def __init__(self, name: str, *answers: Any, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self._answers = list(answers)

    async def complete(self, request):
        self.answer = self._answers.pop(0)
        return await super().complete(request)


def shape(attempts) -> list[tuple[str, str, str | None, bool]]:
    return [(each.provider, each.outcome, each.error_kind, each.repair) for each in attempts]


async def test_an_answer_that_keeps_the_contract_has_its_data():
    written = f"Here:\n```json\n{GOOD_SEGMENTS}\n```"
    response = await complete_chain(request(), [FakeProvider("a", written)], timeout_ms=1000)
    assert response.data == json.loads(GOOD_SEGMENTS)
    assert (response.content, response.raw) == (GOOD_SEGMENTS, written)
    assert contract_outcome(response.attempts) == "at_once"


async def test_other_answers_have_no_data():
    for fields in ({}, {"contract": LinesContract(1)}, {"contract": TextContract()}, {"answer": "text"}):
        assert (await complete_chain(ask(**fields), [FakeProvider("a", "A fox")], timeout_ms=1000)).data is None


async def test_after_a_breach_the_next_provider_is_called():
    a, b = FakeProvider("a", WRONG), FakeProvider("b", GOOD_SEGMENTS)
    response = await complete_chain(request(), [a, b], timeout_ms=1000)
    assert (response.provider, response.fallback_used) == ("b", True)
    assert shape(response.attempts) == [("a", "failed", "contract", False), ("b", "succeeded", None, False)]
    assert response.attempts[0].message == f"a broke the contract: {PROBLEM}"
    assert b.requests[0].messages == a.requests[0].messages
    assert contract_outcome(response.attempts) == "fell_back"


async def test_with_nobody_left_the_provider_repairs_its_answer():
    a = Scripted("a", WRONG, GOOD_SEGMENTS)
    response = await complete_chain(request(), [a], timeout_ms=1000)
    assert shape(response.attempts) == [("a", "failed", "contract", False), ("a", "succeeded", None, True)]
    assert not response.fallback_used
    original, repair = a.requests
    assert repair.messages[:-2] == original.messages
    assert [message.role for message in repair.messages[-2:]] == ["assistant", "user"]
    assert repair.messages[-2].content == WRONG
    assert f"This answer cannot be used: {PROBLEM}." in repair.messages[-1].content
    assert (repair.max_tokens, repair.contract) == (original.max_tokens, CONTRACT)
    assert contract_outcome(response.attempts) == "repaired"


async def test_all_problems_are_sent_back():
    a = Scripted("a", '{"segment_prompts": [], "mood": 1}', GOOD_SEGMENTS)
    await complete_chain(request(), [a], timeout_ms=1000)
    asked = a.requests[1].messages[-1].content
    assert "- the answer has no title\n" in asked
    assert "- the answer has an unknown key: mood\n" in asked
    assert "- segment_prompts has 0 items, 3 expected\n" in asked


async def test_there_is_one_repair():
    a = Scripted("a", WRONG, WRONG)
    with pytest.raises(LLMContractError, match=PROBLEM) as caught:
        await complete_chain(request(), [a], timeout_ms=1000, health=HealthRegistry())
    assert shape(caught.value.attempts) == [("a", "failed", "contract", False), ("a", "failed", "contract", True)]
    assert contract_outcome(caught.value.attempts) == "breached"


async def test_the_provider_that_answered_wrongly_repairs_after_others_failed():
    a, b = Scripted("a", WRONG, GOOD_SEGMENTS), FakeProvider("b", LLMServerError("b is down"))
    response = await complete_chain(request(), [a, b], timeout_ms=1000, health=HealthRegistry())
    assert [(each.provider, each.repair) for each in response.attempts] == [("a", False), ("b", False), ("a", True)]


async def test_no_repair_follows_an_error_that_ends_the_run():
    a, b = Scripted("a", WRONG, GOOD_SEGMENTS), FakeProvider("b", LLMAuthError("wrong key"))
    with pytest.raises(LLMAuthError) as caught:
        await complete_chain(request(), [a, b], timeout_ms=1000, health=HealthRegistry())
    assert len(caught.value.attempts) == 2
    assert contract_outcome(caught.value.attempts) == "breached"


async def test_no_retry_follows_a_repair():
    a = Scripted("a", WRONG, LLMServerError("down"), GOOD_SEGMENTS)
    with pytest.raises(LLMServerError):
        await complete_chain(request(), [a], timeout_ms=2000, health=HealthRegistry())
    assert len(a.requests) == 2


async def test_a_repair_may_follow_a_retry():
    a = Scripted("a", LLMServerError("down"), WRONG, GOOD_SEGMENTS)
    response = await complete_chain(request(), [a], timeout_ms=3000, health=HealthRegistry())
    assert [each.repair for each in response.attempts] == [False, False, True]


async def test_a_repair_may_follow_a_hedge():
    async def slowly_wrong():
        await asyncio.sleep(0.05)
        return WRONG

    a, b = FakeProvider("a", slowly_wrong), Scripted("b", WRONG, GOOD_SEGMENTS)
    with pytest.raises(LLMContractError) as caught:
        await complete_chain(
            request(), [a, b], timeout_ms=1000, health=HealthRegistry(), hedge=HedgePolicy(delay_ms=0, budget=1)
        )
    assert [(each.provider, each.hedge, each.repair) for each in caught.value.attempts] == [
        ("a", False, False),
        ("b", True, False),
        ("a", False, True),
    ]
    assert len(b.requests) == 1


async def test_a_repair_ends_with_the_deadline():
    a = Scripted("a", WRONG, hang())
    with pytest.raises(LLMTimeoutError) as caught:
        await complete_chain(request(), [a], timeout_ms=200)
    assert shape(caught.value.attempts)[1] == ("a", "failed", "timeout", True)
    assert contract_outcome(caught.value.attempts) == "breached"


async def test_an_answer_that_was_cut_off_is_repaired_with_a_larger_limit():
    cut = LLMResponse(WRONG[:30], "a", "m", 1.0, truncated=True)
    a = Scripted("a", cut, GOOD_SEGMENTS)
    response = await complete_chain(request(), [a], timeout_ms=1000)
    assert "(cut off at the token limit)" in response.attempts[0].message
    assert a.requests[1].max_tokens == 400


async def test_a_long_wrong_answer_is_sent_back_in_part():
    a = Scripted("a", "snow " * 10_000, GOOD_SEGMENTS)
    await complete_chain(request(), [a], timeout_ms=5000)
    assert len(a.requests[1].messages[-2].content) == MAX_ANSWER_CHARACTERS + 1


async def test_a_breach_charges_neither_breaker_nor_cooldown():
    health = HealthRegistry()
    for _ in range(20):
        with pytest.raises(LLMContractError):
            await complete_chain(request(), [FakeProvider("a", WRONG)], timeout_ms=1000, health=health)
    view = health.view("a")
    assert (view.state, view.cooldown_left_ms, view.misconfigured, view.in_flight) == ("closed", 0, False, 0)


async def test_a_refusal_and_an_empty_answer_are_what_they_are():
    with pytest.raises(LLMRefusedError):
        await complete_chain(request(), [FakeProvider("a", "I'm sorry, but I can't help with that.")], timeout_ms=1000)
    with pytest.raises(LLMEmptyError):
        await complete_chain(request(), [FakeProvider("a", "<think>hm</think>")], timeout_ms=1000)


@pytest.mark.parametrize("delivery", ["stream", "whole"])
async def test_json_is_handed_on_in_one_piece_after_the_check(delivery):
    a, b = FakeStream("a", WRONG[:10], WRONG[10:]), FakeStream("b", "Here: ", GOOD_SEGMENTS)
    b.answer = f"Here: {GOOD_SEGMENTS}"
    a.answer = WRONG
    events = await collect(run_chain(request(), [a, b], timeout_ms=1000, delivery=delivery))
    pieces = [event.text for event in events if isinstance(event, TextChunk)]
    assert pieces == ([GOOD_SEGMENTS] if delivery == "stream" else [])
    failed = next(event for event in events if isinstance(event, AttemptFailed))
    assert (failed.attempt.error_kind, failed.falling_back) == ("contract", True)
    assert isinstance(events[-1], RunDone)


@pytest.mark.parametrize(
    ("contract", "pieces"),
    [
        (None, ["A ", "fox"]),
        (TextContract(), ["A ", "fox"]),
        (TextContract(max_words=5), ["not streamed"]),
        (LinesContract(1), ["not streamed"]),
    ],
)
async def test_only_a_text_without_rules_streams_as_it_arrives(contract, pieces):
    events = await collect(run_chain(ask(contract=contract), [FakeStream("a", "A ", "fox")], timeout_ms=1000))
    assert [event.text for event in events if isinstance(event, TextChunk)] == pieces


async def test_a_provider_with_a_limit_on_silence_is_streamed_inside():
    a = FakeStream("a", GOOD_SEGMENTS[:20], GOOD_SEGMENTS[20:], stall_ms=500)
    response = await complete_chain(request(), [a], timeout_ms=1000)
    assert response.data["title"] == "Fox"
    assert a.closed.is_set()


async def test_a_long_answer_is_checked_in_a_thread(monkeypatch):
    threads: list[str] = []

    class Watching(TextContract):
        def read(self, written):
            threads.append(threading.current_thread().name)
            return super().read(written)

    contract = Watching(max_words=90_000 // 9)
    for length in (checking.CHECKED_AT_ONCE, checking.CHECKED_AT_ONCE + 1):
        await complete_chain(ask(contract=contract), [FakeProvider("a", "x" * length)], timeout_ms=5000)
    assert threads[0] == threading.main_thread().name != threads[1]


async def test_build_request_carries_the_contract():
    def built(contract, **fields):
        return build_request(
            "rewrite",
            "a fox",
            system_prompt="x",
            model="m",
            temperature=None,
            max_tokens=5,
            contract=contract,
            **fields,
        ).contract

    assert built(CONTRACT) is CONTRACT
    assert built(LinesContract(3)) == LinesContract(3)
    assert built(LinesContract(3), count=5) == LinesContract(5)
    assert built(LinesContract(3), count=0) == LinesContract(1)


async def test_wrong_json_of_a_real_server_is_repaired_and_another_falls_back():
    """One server always writes wrong JSON; the other does so until it is told what is wrong."""

    async def stubborn(writer):
        writer.write(http_answer(completion(f"Sure! {WRONG}")))

    async with loopback(stubborn) as first:

        async def teachable(writer):
            messages = second.requests[-1].body["messages"]
            writer.write(http_answer(completion(GOOD_SEGMENTS if "3 expected" in messages[-1]["content"] else WRONG)))

        async with loopback(teachable) as second:
            providers = [OpenAICompatibleProvider(server.url, name) for server, name in ((first, "a"), (second, "b"))]
            response = await complete_chain(request(), providers, timeout_ms=5000, health=HealthRegistry())
            sent = second.requests[-1].body["messages"]
    assert shape(response.attempts) == [
        ("a", "failed", "contract", False),
        ("b", "failed", "contract", False),
        ("b", "succeeded", None, True),
    ]
    assert response.data == json.loads(GOOD_SEGMENTS)
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]


async def test_invalid_json_that_groq_refuses_itself_is_a_breach():
    message = "Failed to generate JSON. Please adjust your prompt."
    refused = {"error": {"message": message, "type": "invalid_request_error", "code": "json_validate_failed"}}

    async def respond(writer):
        repaired = len(server.requests) == 2
        writer.write(http_answer(completion(GOOD_SEGMENTS)) if repaired else http_answer(refused, 400))

    async with loopback(respond) as server:
        provider = OpenAICompatibleProvider(server.url, "a")
        response = await complete_chain(request(), [provider], timeout_ms=5000)
        asked = server.requests[1].body["messages"][-1]["content"]
    assert shape(response.attempts) == [("a", "failed", "contract", False), ("a", "succeeded", None, True)]
    assert asked.startswith("This answer cannot be used: the JSON is invalid.")


@pytest.mark.parametrize(
    ("schema", "written", "is_at_once"),
    [
        (SEGMENTS, GOOD_SEGMENTS, True),
        ({"items": {"type": "integer"}}, json.dumps([1] * 240), True),
        ({"items": {"type": "integer"}}, json.dumps([1] * 260), False),
        ({"items": {"allOf": [{"minimum": 0}] * 10}}, json.dumps([1] * 240), False),
    ],
    ids=["usual", "some values", "many values", "much work"],
)
async def test_a_check_that_takes_long_is_made_in_a_thread(schema, written, is_at_once, monkeypatch):
    checked_in: list[threading.Thread] = []
    check = CompiledSchema.problems

    def watched(self, data):
        result = check(self, data)
        checked_in.append(threading.current_thread())
        return result

    monkeypatch.setattr(CompiledSchema, "problems", watched)
    contract = JsonContract.of(schema)
    response = await complete_chain(ask(contract=contract), [FakeProvider("a", written)], timeout_ms=5000)
    assert response.data == json.loads(written)
    assert [thread is threading.main_thread() for thread in checked_in] == [is_at_once]
