"""The chain: order, fallback, one deadline, streaming, cancellation."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import aclosing

import pytest

from promptops.engine import (
    Attempt,
    AttemptFailed,
    AttemptStarted,
    LLMEmptyError,
    LLMInterruptedError,
    LLMProviderError,
    LLMResponse,
    LLMTimeoutError,
    LLMUnexpectedError,
    RunDone,
    TextChunk,
    Usage,
    complete_chain,
    run_chain,
)
from tests.engine.helpers import FakeProvider, FakeStream, ask, collect, hang, least, quickest, refuse, text_of


async def test_events_of_a_run_that_falls_back():
    first, second = FakeProvider("first", refuse("busy")), FakeProvider("second", "answer")
    events = await collect(run_chain(ask(), [first, second], timeout_ms=1000))
    assert [type(event) for event in events] == [AttemptStarted, AttemptFailed, AttemptStarted, TextChunk, RunDone]
    started, failed, started_again, chunk, done = events
    assert started == AttemptStarted(0, "first", "default-model")
    assert started_again == AttemptStarted(1, "second", "default-model")
    assert (failed.index, failed.falling_back, failed.attempt.outcome) == (0, True, "failed")
    assert (failed.attempt.error_kind, failed.attempt.message) == ("provider", "busy")
    assert chunk.text == done.response.content == "answer"
    assert [attempt.outcome for attempt in done.response.attempts] == ["failed", "succeeded"]


async def test_fallback_keeps_every_other_field():
    answer = LLMResponse(
        "text", "their-name", "their-model", 12.5, finish_reason="stop", reasoning="hm", usage=Usage(1, 2, 3, 4)
    )
    response = await complete_chain(ask(), [FakeProvider("a", refuse()), FakeProvider("b", answer)], timeout_ms=1000)
    assert response.fallback_used is True
    assert response == LLMResponse(
        "text", "their-name", "their-model", 12.5, True, finish_reason="stop", reasoning="hm", usage=Usage(1, 2, 3, 4)
    )
    assert response.attempts[1].usage == Usage(1, 2, 3, 4)


async def test_the_first_provider_is_no_fallback():
    response = await complete_chain(ask(), [FakeProvider("a"), FakeProvider("b")], timeout_ms=1000)
    assert (response.provider, response.fallback_used) == ("a", False)


async def test_all_failed_raises_the_last_error_with_every_attempt():
    last = refuse("third")
    providers = [FakeProvider("a", refuse("one")), FakeProvider("b", refuse("two")), FakeProvider("c", last)]
    with pytest.raises(LLMProviderError) as caught:
        await complete_chain(ask(), providers, timeout_ms=1000)
    assert caught.value is last
    assert [(attempt.provider, attempt.message) for attempt in last.attempts] == [
        ("a", "one"),
        ("b", "two"),
        ("c", "third"),
    ]


async def test_a_final_error_stops_the_run():
    second = FakeProvider("b")
    events: list = []
    with pytest.raises(LLMProviderError, match="wrong key") as caught:
        await collect(
            run_chain(ask(), [FakeProvider("a", refuse("wrong key", retryable=False)), second], timeout_ms=1000), events
        )
    assert second.requests == []
    assert len(caught.value.attempts) == 1
    assert events[-1].falling_back is False


@pytest.mark.parametrize("raised", [ValueError("boom"), KeyError("x"), asyncio.CancelledError(), TimeoutError()])
async def test_another_exception_counts_as_retryable_and_keeps_its_cause(raised):
    with pytest.raises(LLMUnexpectedError) as caught:
        await complete_chain(ask(), [FakeProvider("a", raised)], timeout_ms=1000)
    assert caught.value.retryable is True
    assert caught.value.__cause__ is raised
    assert type(raised).__name__ in str(caught.value)
    response = await complete_chain(ask(), [FakeProvider("a", raised), FakeProvider("b")], timeout_ms=1000)
    assert response.provider == "b"


async def test_an_unexpected_error_shows_no_key():
    provider = FakeProvider("a", ValueError("Bearer sk-secret refused"), api_key="sk-secret")
    with pytest.raises(LLMUnexpectedError) as caught:
        await complete_chain(ask(), [provider], timeout_ms=1000)
    assert "sk-secret" not in str(caught.value) + caught.value.attempts[0].message


@pytest.mark.parametrize("blank", ["", "  \n\t"])
async def test_blank_text_is_no_success(blank):
    with pytest.raises(LLMEmptyError) as caught:
        await complete_chain(ask(), [FakeProvider("a", blank)], timeout_ms=1000)
    assert caught.value.retryable is True
    assert (await complete_chain(ask(), [FakeProvider("a", blank), FakeProvider("b")], timeout_ms=1000)).provider == "b"


async def test_something_that_is_no_response_moves_on():
    response = await complete_chain(ask(), [FakeProvider("a", {"content": "x"}), FakeProvider("b")], timeout_ms=1000)
    assert response.attempts[0].error_kind == "malformed"


async def test_a_providers_model_wins_over_the_requests():
    own, none = FakeProvider("a", refuse(), model="own-model"), FakeProvider("b")
    events = await collect(run_chain(ask(model="asked"), [own, none], timeout_ms=1000))
    assert [event.model for event in events if isinstance(event, AttemptStarted)] == ["own-model", "asked"]


async def test_no_providers():
    with pytest.raises(ValueError, match="at least one provider"):
        await complete_chain(ask(), [], timeout_ms=1000)


# Time


@pytest.mark.parametrize(
    ("timeouts", "shares"),
    [
        ([None, None], [150, 150]),  # equal shares of the time that is left
        ([None, None, None], [100, 100, 100]),
        ([60, None], [60, 240]),  # the provider's own limit; the rest goes to the others
        ([5000, None], [150, 150]),  # its own limit never makes a share larger
    ],
)
async def test_each_attempt_gets_its_share(timeouts, shares):
    """No attempt ends before its limit. In the best of several runs, none is more than 60 ms from its share."""

    async def deviation_ms() -> float:
        providers = [FakeProvider(f"p{n}", hang(), timeout_ms=limit) for n, limit in enumerate(timeouts)]
        started = time.monotonic()
        with pytest.raises(LLMTimeoutError) as caught:
            await complete_chain(ask(), providers, timeout_ms=300)
        took_ms = (time.monotonic() - started) * 1000
        attempts = caught.value.attempts
        assert {attempt.error_kind for attempt in attempts} == {"timeout"}
        assert took_ms >= 290
        if len(attempts) < len(shares):  # a busy machine left no time for the last provider
            return math.inf
        limits_ms = [provider.requests[0].timeout_ms for provider in providers]
        for attempt, limit_ms in zip(attempts, limits_ms, strict=True):
            assert attempt.latency_ms >= limit_ms - 5
        pairs = [*zip(limits_ms, shares, strict=True)]
        pairs += [(attempt.latency_ms, share) for attempt, share in zip(attempts, shares, strict=True)]
        return max(abs(measured - share) for measured, share in [*pairs, (took_ms, 300)])

    assert await least(deviation_ms, good=60) <= 60


async def test_the_requests_own_limit_counts_for_each_attempt():
    with pytest.raises(LLMTimeoutError) as caught:
        await complete_chain(ask(timeout_ms=30), [FakeProvider("a", hang())], timeout_ms=1000)
    assert 25 <= caught.value.attempts[0].latency_ms < 900


async def test_time_left_over_goes_to_the_last_one():
    """The second answer takes longer than an equal share, which is 1 s, and is still in time."""

    async def slow_but_good() -> str:
        await asyncio.sleep(1.1)
        return "in time"

    response = await complete_chain(
        ask(), [FakeProvider("a", refuse()), FakeProvider("b", slow_but_good)], timeout_ms=2000
    )
    assert response.content == "in time"


async def test_a_provider_that_ignores_cancellation_cannot_hold_the_run():
    release = asyncio.Event()

    async def stubborn() -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    async def run() -> None:
        with pytest.raises(LLMTimeoutError):
            await complete_chain(ask(), [FakeProvider("a", stubborn)], timeout_ms=50)

    try:
        assert await quickest(run, good=0.1) <= 0.1
    finally:  # or the end of the test would wait for it
        release.set()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("timeout_ms", [0, -5])
async def test_no_time_at_all_is_a_timeout(timeout_ms):
    with pytest.raises(LLMTimeoutError):
        await complete_chain(ask(), [FakeProvider("a", hang()), FakeProvider("b", hang())], timeout_ms=timeout_ms)


async def test_a_slow_reader_does_not_keep_the_call_open_past_the_deadline():
    provider = FakeStream("a", "first ", hang())
    async with aclosing(run_chain(ask(), [provider], timeout_ms=60)) as events:
        async for event in events:
            if isinstance(event, TextChunk):
                break
        await asyncio.wait_for(provider.closed.wait(), 5)  # it would hang for 30 s


async def test_attempt_times_are_offsets_within_the_run():
    async def pause() -> None:
        await asyncio.sleep(0.05)

    async def fail() -> str:
        await pause()
        raise refuse()

    async def deviation_ms() -> float:
        events = await collect(
            run_chain(ask(), [FakeProvider("a", fail), FakeStream("b", pause, "hello", pause)], timeout_ms=5000)
        )
        first, second = events[-1].response.attempts
        assert first.first_text_ms is None
        measured = (first.started_ms, second.started_ms, second.first_text_ms, second.latency_ms)
        return max(abs(time_ms - expected) for time_ms, expected in zip(measured, (0, 50, 100, 100), strict=True))

    assert await least(deviation_ms, good=30) <= 60


# Streaming


async def test_text_streams_in_order():
    events = await collect(run_chain(ask(), [FakeStream("a", "one ", "", "two")], timeout_ms=1000))
    assert [event.text for event in events if isinstance(event, TextChunk)] == ["one ", "two"]
    assert events[-1].response.content == "one two"


@pytest.mark.parametrize("trouble", [refuse("broke"), ValueError("boom")])
async def test_before_the_first_text_a_stream_falls_back(trouble):
    events = await collect(run_chain(ask(), [FakeStream("a", trouble), FakeStream("b", "whole")], timeout_ms=1000))
    assert text_of(events) == "whole"
    assert events[-1].response.fallback_used is True


@pytest.mark.parametrize(
    ("provider", "timeout_ms", "says"),
    [
        (lambda: FakeStream("a", "half ", refuse("broke")), 1000, "broke"),
        (lambda: FakeStream("a", "half ", refuse("final", retryable=False)), 1000, "final"),
        (lambda: FakeStream("a", "half ", finish=False), 1000, "before the end"),
        (lambda: FakeStream("a", "half ", hang()), 80, "within 0.04 s"),
    ],
    ids=["error", "final error", "cut", "stalled"],
)
async def test_after_the_first_text_nothing_is_spliced(provider, timeout_ms, says):
    second, events = FakeStream("b", "other answer"), []
    with pytest.raises(LLMInterruptedError, match=says) as caught:
        await collect(run_chain(ask(), [provider(), second], timeout_ms=timeout_ms), events)
    assert text_of(events) == "half "
    assert second.requests == []
    assert (caught.value.kind, caught.value.retryable) == ("interrupted", False)
    assert caught.value.attempts[0].error_kind == "interrupted"
    assert isinstance(caught.value.__cause__, LLMProviderError)


async def test_a_stream_that_ends_without_a_response_is_no_success():
    events = await collect(run_chain(ask(), [FakeStream("a", finish=False), FakeProvider("b")], timeout_ms=1000))
    assert events[-1].response.attempts[0].error_kind == "transport"


async def test_complete_chain_does_not_stream():
    assert (await complete_chain(ask(), [FakeStream("a", "streamed")], timeout_ms=1000)).content == "not streamed"


# Cancellation


async def test_cancelling_stops_the_call_and_leaves_an_attempt():
    provider, attempts = FakeStream("a", "half", hang()), []
    reading = asyncio.ensure_future(collect(run_chain(ask(), [provider], timeout_ms=5000, attempts=attempts)))
    await asyncio.sleep(0.02)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert provider.closed.is_set()
    assert [(attempt.outcome, attempt.error_kind, attempt.message) for attempt in attempts] == [
        ("canceled", None, None)
    ]


async def test_leaving_early_stops_the_call_and_leaves_an_attempt():
    provider, attempts = FakeStream("a", "half", hang()), [Attempt("old", "m", "failed", None, None, 0, None, 0)]
    async with aclosing(run_chain(ask(), [provider], timeout_ms=5000, attempts=attempts)) as events:
        async for event in events:
            if isinstance(event, TextChunk):
                break
    assert provider.closed.is_set()
    assert [attempt.outcome for attempt in attempts] == ["failed", "canceled"]


async def test_no_task_is_left_behind():
    before = asyncio.all_tasks()
    await complete_chain(ask(), [FakeProvider("a", refuse()), FakeProvider("b")], timeout_ms=1000)
    with pytest.raises(LLMTimeoutError):
        await complete_chain(ask(), [FakeProvider("a", hang())], timeout_ms=20)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_runs_do_not_share_attempts():
    providers = [FakeProvider("a", refuse()), FakeProvider("b")]
    responses = await asyncio.gather(*(complete_chain(ask(), providers, timeout_ms=1000) for _ in range(20)))
    assert {len(response.attempts) for response in responses} == {2}
