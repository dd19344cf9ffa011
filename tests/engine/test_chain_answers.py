"""Answers in the chain: read in the request's shape, kept as written, refused, empty."""

from __future__ import annotations

import pytest

from promptops.engine import (
    HealthRegistry,
    LLMEmptyError,
    LLMRefusedError,
    LLMResponse,
    LLMServerError,
    Prices,
    PromptEnhancer,
    PromptOperation,
    Usage,
    attempts,
    build_request,
    complete_chain,
    run_chain,
)
from promptops.engine.answers import Reading
from promptops.engine.breaker import FAILURES_TO_OPEN
from tests.engine.helpers import FakeProvider, FakeStream, ask, collect, text_of

READINGS = {
    "Here it is: a red fox": Reading("a red fox"),
    "I'm sorry, but I can't help with that.": Reading("I'm sorry, but I can't help with that.", refusal=True),
    "Here it is:": Reading(""),
    "long": Reading("no " * 400, refusal=True),
}


@pytest.fixture(autouse=True)
def shapes(monkeypatch) -> list[str]:
    """Return the shapes of the answers that were read. A table replaces the readings themselves."""
    read: list[str] = []

    def reading(written: str, shape: str) -> Reading:
        read.append(shape)
        return READINGS.get(written, Reading(written))

    monkeypatch.setattr(attempts, "read_answer", reading)
    return read


PREFACED, REFUSAL = list(READINGS)[:2]


async def test_an_answer_is_read_and_kept_as_written():
    response = await complete_chain(ask(answer="text"), [FakeProvider("a", PREFACED)], timeout_ms=1000)
    assert (response.content, response.raw) == ("a red fox", PREFACED)


async def test_what_the_provider_says_was_written_is_read(shapes):
    answer = LLMResponse("its own reading", "a", "m", 1.0, raw=PREFACED)
    response = await complete_chain(ask(answer="lines"), [FakeProvider("a", answer)], timeout_ms=1000)
    assert (response.content, response.raw, shapes) == ("a red fox", PREFACED, ["lines"])


@pytest.mark.parametrize("fields", [{}, {"answer": "text", "json_mode": True}], ids=["no shape", "JSON"])
async def test_an_answer_without_a_shape_is_left_as_it_came(fields, shapes):
    response = await complete_chain(ask(**fields), [FakeProvider("a", PREFACED)], timeout_ms=1000)
    assert (response.content, response.raw, shapes) == (PREFACED, PREFACED, [])


async def test_the_streamed_pieces_go_out_as_they_come_and_the_response_is_read():
    events = await collect(
        run_chain(ask(answer="text"), [FakeStream("a", "Here it is: ", "a red fox")], timeout_ms=1000)
    )
    assert (text_of(events), events[-1].response.content) == (PREFACED, "a red fox")


async def test_the_answer_that_comes_in_one_piece_is_read_before_it_is_handed_on():
    events = await collect(run_chain(ask(answer="text"), [FakeProvider("a", PREFACED)], timeout_ms=1000))
    assert text_of(events) == "a red fox"


async def test_nothing_left_after_reading_is_empty_and_its_usage_counts():
    answer = LLMResponse("Here it is:", "a", "m", 1.0, usage=Usage(7, 3))
    with pytest.raises(LLMEmptyError) as caught:
        await complete_chain(ask(answer="text"), [FakeProvider("a", answer)], timeout_ms=1000)
    assert caught.value.attempts[0].usage == Usage(7, 3)


# Refusals


async def test_a_refusal_is_no_success_and_keeps_its_words():
    second = FakeProvider("b")
    answer = LLMResponse(REFUSAL, "a", "m", 1.0, usage=Usage(7, 3))
    with pytest.raises(LLMRefusedError, match=f"a refused: {REFUSAL[:-1]}") as caught:
        await complete_chain(ask(answer="text"), [FakeProvider("a", answer), second], timeout_ms=1000)
    assert (caught.value.retryable, second.requests) == (False, [])
    attempt = caught.value.attempts[0]
    assert (attempt.outcome, attempt.error_kind, attempt.usage) == ("failed", "refused", Usage(7, 3))


async def test_a_refusal_that_was_not_counted_costs_an_estimate():
    provider = FakeProvider("a", REFUSAL, prices=Prices(1, None, 1))
    with pytest.raises(LLMRefusedError) as caught:
        await complete_chain(ask(answer="text"), [provider], timeout_ms=1000)
    attempt = caught.value.attempts[0]
    assert (attempt.usage, attempt.usage_estimated) == (Usage(2 + 2, 10), True)  # 8, 5 and 38 bytes, 4 to a token


async def test_a_long_refusal_is_shortened():
    with pytest.raises(LLMRefusedError) as caught:
        await complete_chain(ask(answer="text"), [FakeProvider("a", "long")], timeout_ms=1000)
    assert 300 < len(str(caught.value)) < 330
    assert str(caught.value).endswith("…")


@pytest.mark.parametrize("delivery", ["stream", "whole"])
async def test_the_next_provider_is_asked_where_the_operator_chose_it(delivery):
    first = FakeProvider("a", REFUSAL, fall_back_on=frozenset({"refused"}))
    events = await collect(
        run_chain(ask(answer="text"), [first, FakeProvider("b", "fine")], timeout_ms=1000, delivery=delivery)
    )
    response = events[-1].response
    assert (response.content, response.fallback_used) == ("fine", True)
    assert [attempt.error_kind for attempt in response.attempts] == ["refused", None]


async def test_a_refusal_that_was_streamed_is_followed_by_no_other_answer():
    first, second = FakeStream("a", REFUSAL, fall_back_on=frozenset({"refused"})), FakeProvider("b")
    with pytest.raises(LLMRefusedError) as caught:
        await collect(run_chain(ask(answer="text"), [first, second], timeout_ms=1000))
    assert (second.requests, [attempt.error_kind for attempt in caught.value.attempts]) == ([], ["refused"])


async def test_a_refusal_is_a_success_for_the_breaker():
    health, provider = HealthRegistry(), FakeProvider("a", fall_back_on=frozenset({"refused"}))
    for answer in [LLMServerError("down")] * (FAILURES_TO_OPEN - 1) + [REFUSAL] + [LLMServerError("down")] * 2:
        provider.answer = answer
        await complete_chain(ask(answer="text"), [provider, FakeProvider("b")], timeout_ms=1000, health=health)
        assert health.view("a").state == "closed"
    provider.answer = REFUSAL
    for _ in range(FAILURES_TO_OPEN + 2):
        await complete_chain(ask(answer="text"), [provider, FakeProvider("b")], timeout_ms=1000, health=health)
    assert health.view("a").state == "closed"


# Shapes


@pytest.mark.parametrize(
    ("operation", "shape"),
    [(PromptOperation.ENHANCE, "text"), (PromptOperation.AUTO_EXTEND, "text"), (PromptOperation.REWRITE, "lines")],
)
def test_the_shape_of_an_operation(operation, shape):
    request = build_request(operation, "x", system_prompt="S", model="m", temperature=None, max_tokens=None)
    assert request.answer == shape


async def test_an_enhancer_reads_its_answers(shapes):
    enhancer = PromptEnhancer(providers=[FakeProvider("a", PREFACED)], model="m")
    for call in (enhancer.enhance("x"), enhancer.auto_extend(["x"]), enhancer.rewrite("x")):
        response = await call
        assert (response.content, response.raw) == ("a red fox", PREFACED)
    assert shapes == ["text", "text", "lines"]
