"""Whole answers: streamed inside if a provider limits its silence, and never handed on in pieces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from promptops.engine import (
    AttemptFailed,
    AttemptStarted,
    CerebrasProvider,
    HealthRegistry,
    HedgePolicy,
    LLMInterruptedError,
    LLMMalformedError,
    LLMRequest,
    LLMResponse,
    LLMTimeoutError,
    OpenAICompatibleProvider,
    PromptEnhancer,
    RunDone,
    StreamEvent,
    TextChunk,
    Thinking,
    complete_chain,
    run_chain,
)
from tests.engine.helpers import (
    STREAM_END,
    STREAM_HEAD,
    FakeProvider,
    FakeStream,
    answer_with,
    ask,
    collect,
    completion,
    delta,
    event,
    hang,
    http_answer,
    loopback,
    part,
    text_of,
)

LIMITED = {"first_text_ms": 5000}


class Scripted(FakeStream):
    """Streams its events. Numbers are pauses in seconds."""

    async def stream(self, request: LLMRequest) -> AsyncIterator[StreamEvent]:
        self.requests.append(request)
        for step in self.steps:
            if isinstance(step, int | float):
                await asyncio.sleep(step)
            else:
                yield step
        yield LLMResponse("late but whole", self.name, "m", 1.0)


@pytest.mark.parametrize(
    ("attributes", "content"),
    [({}, "not streamed"), ({"first_text_ms": 900}, "streamed"), ({"stall_ms": 900}, "streamed")],
)
async def test_an_answer_is_streamed_inside_where_its_silence_is_limited(attributes, content):
    events = await collect(
        run_chain(ask(), [FakeStream("a", "stre", "amed", **attributes)], timeout_ms=1000, delivery="whole")
    )
    assert [type(happened) for happened in events] == [AttemptStarted, RunDone]
    assert events[-1].response.content == content


async def test_a_provider_that_cannot_stream_is_asked_whole_whatever_its_limits():
    response = await complete_chain(ask(), [FakeProvider("a", first_text_ms=1, stall_ms=1)], timeout_ms=1000)
    assert response.content == "fine"


async def test_an_answer_that_its_server_cannot_stream_is_not_limited():
    """Cerebras streams no JSON, so the time of its whole answer is not a silence."""
    slow = answer_with(http_answer(completion('{"a": 1}')))

    async def respond(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await slow(writer)

    async with loopback(respond) as server:
        provider = CerebrasProvider("key", server.url, first_text_ms=20)
        assert (await complete_chain(ask(json_mode=True), [provider], timeout_ms=2000)).content == '{"a": 1}'


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ((LLMMalformedError("turned malformed"),), "malformed"),
        ((ValueError("boom"),), "unexpected"),
        ((), "transport"),
        ((hang(),), "timeout"),
    ],
    ids=["malformed", "raised", "cut", "stalled"],
)
async def test_a_stream_that_breaks_after_its_first_text_is_an_ordinary_failure(steps, kind):
    first = FakeStream("a", "half ", *steps, finish=False, **LIMITED, stall_ms=50)
    events = await collect(run_chain(ask(), [first, FakeStream("b", "whole")], timeout_ms=2000, delivery="whole"))
    assert [type(happened) for happened in events] == [AttemptStarted, AttemptFailed, AttemptStarted, RunDone]
    response = events[-1].response
    assert (response.content, response.fallback_used, text_of(events)) == ("not streamed", True, "")
    assert [attempt.error_kind for attempt in response.attempts] == [kind, None]
    assert response.attempts[0].first_text_ms is not None


async def test_over_a_socket_a_broken_stream_falls_back():
    half = STREAM_HEAD + part(delta("a half"))
    whole = STREAM_HEAD + part(delta("a red fox", "stop")) + part(event("[DONE]")) + STREAM_END
    async with loopback(answer_with(half, then=hang())) as bad, loopback(answer_with(whole)) as good:
        providers = [
            OpenAICompatibleProvider(server.url, name, stall_ms=300) for server, name in ((bad, "bad"), (good, "good"))
        ]
        started = time.monotonic()
        response = await complete_chain(ask(), providers, timeout_ms=10_000)
        assert (response.content, response.provider, response.attempts[0].error_kind) == (
            "a red fox",
            "good",
            "timeout",
        )
        assert time.monotonic() - started < 4  # less than the share of the first provider
        assert bad.requests[0].body["stream"] is True
        await bad.wait_closed()


# Silence


@pytest.mark.parametrize("delivery", ["stream", "whole"])
@pytest.mark.parametrize("silence", [(), (TextChunk(""), 0.03) * 30], ids=["nothing", "empty deltas"])
async def test_a_first_text_that_does_not_come_falls_back(silence, delivery):
    first = Scripted("a", *silence, 30, first_text_ms=60)
    started = time.monotonic()
    events = await collect(run_chain(ask(), [first, FakeProvider("b")], timeout_ms=20_000, delivery=delivery))
    assert time.monotonic() - started < 5  # less than the share of the first provider
    attempts = events[-1].response.attempts
    assert [attempt.error_kind for attempt in attempts] == ["timeout", None]
    assert attempts[0].message == "a did not begin its answer within 0.06 s"


@pytest.mark.parametrize("sign", [Thinking(), TextChunk("word ")], ids=["reasoning", "text"])
async def test_reasoning_and_text_are_signs_of_life(sign):
    alive = Scripted("a", *(sign, 0.04) * 16, first_text_ms=400, stall_ms=400)
    response = await complete_chain(ask(), [alive], timeout_ms=20_000)
    assert response.content == "late but whole"


async def test_after_the_first_sign_only_the_pauses_are_limited():
    thinker = Scripted("a", Thinking(), 0.3, first_text_ms=100)
    assert (await complete_chain(ask(), [thinker], timeout_ms=20_000)).content == "late but whole"


@pytest.mark.parametrize("sign", [Thinking(), TextChunk("word ")], ids=["reasoning", "text"])
async def test_a_stall_falls_back_where_nothing_was_handed_on(sign):
    stalled = Scripted("a", sign, *(TextChunk(""), 0.02) * 20, 30, stall_ms=60)
    started = time.monotonic()
    response = await complete_chain(ask(), [stalled, FakeProvider("b")], timeout_ms=20_000)
    assert (response.provider, time.monotonic() - started < 5) == ("b", True)
    assert response.attempts[0].message == "a paused in its answer for more than 0.06 s"


async def test_a_stall_of_a_streamed_answer_interrupts_it():
    with pytest.raises(LLMInterruptedError, match=r"paused in its answer for more than 0\.06 s") as caught:
        await collect(
            run_chain(ask(), [Scripted("a", TextChunk("half "), 30, stall_ms=60), FakeProvider("b")], timeout_ms=20_000)
        )
    assert isinstance(caught.value.__cause__, LLMTimeoutError)


async def test_a_stall_before_the_first_text_of_a_streamed_answer_falls_back():
    thinker = Scripted("a", Thinking(), 30, stall_ms=60)
    events = await collect(run_chain(ask(), [thinker, FakeProvider("b")], timeout_ms=20_000))
    assert events[-1].response.provider == "b"


async def test_a_silence_counts_for_the_breaker():
    health = HealthRegistry()
    for _ in range(5):
        await complete_chain(
            ask(), [Scripted("a", 30, first_text_ms=5), FakeProvider("b")], timeout_ms=20_000, health=health
        )
    assert health.view("a").state == "open"


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ([delta(reasoning="hm ")] * 7 + [delta("a fox", "stop")], None),
        ([delta("<think>hm")] * 7 + [delta("</think>a fox", "stop")], None),
        ([b": PROCESSING\n\n"] * 7 + [delta("a fox", "stop")], "timeout"),
        ([delta("")] * 7 + [delta("a fox", "stop")], "timeout"),
        ([delta("\n")] * 7 + [delta("a fox", "stop")], "timeout"),
        ([delta(role="assistant")] * 7 + [delta("a fox", "stop")], "timeout"),
    ],
    ids=["reasoning field", "thinking in the text", "comments", "empty deltas", "white space", "roles"],
)
async def test_what_counts_as_life_on_the_wire(pieces, kind):
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for piece in pieces:
            writer.write(part(piece))
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.write(STREAM_END)

    async with loopback(respond) as server:
        provider = OpenAICompatibleProvider(server.url, "a", first_text_ms=400, stall_ms=400)
        response = await complete_chain(ask(), [provider, FakeProvider("b")], timeout_ms=5000)
        assert response.attempts[0].error_kind == kind
        assert response.content == ("fine" if kind else "a fox")


# Hedges


async def test_a_hedge_beside_a_whole_answer_is_won_by_the_first_whole_one():
    slow = Scripted("slow", 0.05, TextChunk("word "), 30, **LIMITED)
    quick = FakeProvider("quick")
    hedge = HedgePolicy(0, budget=1.0)
    response = await complete_chain(ask(), [slow, quick], timeout_ms=2000, health=HealthRegistry(), hedge=hedge)
    assert (response.provider, [attempt.outcome for attempt in response.attempts]) == (
        "quick",
        ["canceled", "succeeded"],
    )


async def test_an_answer_that_has_begun_needs_no_hedge():
    begun, second = Scripted("a", TextChunk("word "), 0.1, **LIMITED), FakeProvider("b")
    hedge = HedgePolicy(30, budget=1.0)
    response = await complete_chain(ask(), [begun, second], timeout_ms=2000, health=HealthRegistry(), hedge=hedge)
    assert (response.provider, second.requests) == ("a", [])


async def test_an_enhancer_hands_its_answers_over_whole():
    enhancer = PromptEnhancer(
        providers=[FakeStream("a", "half ", finish=False, **LIMITED), FakeProvider("b")], model="m"
    )
    assert (await enhancer.enhance("x")).provider == "b"
