"""Retries at the same provider: the conditions, the number, and the budget of all runs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from promptops.engine import (
    AttemptFailed,
    AttemptStarted,
    HealthRegistry,
    HedgePolicy,
    LLMEmptyError,
    LLMInterruptedError,
    LLMProviderError,
    LLMQuotaError,
    LLMResponse,
    LLMServerError,
    LLMTimeoutError,
    LLMTransportError,
    LLMTruncatedError,
    OpenAICompatibleProvider,
    PromptEnhancer,
    RunDone,
    complete_chain,
    run_chain,
)
from promptops.engine.breaker import EXTRA_CALLS_SAVED, FAILURES_TO_OPEN
from promptops.engine.policies import RETRY_PAUSE_SECONDS
from tests.engine.helpers import (
    FakeProvider,
    FakeStream,
    ask,
    collect,
    completion,
    hang,
    http_answer,
    limited,
    loopback,
    quickest,
)


class Once(FakeProvider):
    """Raises its errors, one a call, then answers."""

    def __init__(self, name: str, *errors: Exception, **attributes: object) -> None:
        super().__init__(name, **attributes)
        self.errors = list(errors)

    async def complete(self, request):
        self.requests.append(request)
        if self.errors:
            raise self.errors.pop(0)
        return LLMResponse("fine", self.name, "m", 1.0)


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (LLMServerError("500"), RETRY_PAUSE_SECONDS),
        (LLMTransportError("reset"), RETRY_PAUSE_SECONDS),
        (limited(0.4), 0.4),
        (limited(None), 1.0),
    ],
    ids=["500", "reset", "429 with a time", "429 without"],
)
async def test_a_provider_alone_is_asked_once_more(error, waits):
    alone = Once("a", error)
    events = await collect(run_chain(ask(), [alone], timeout_ms=20_000, health=HealthRegistry(), delivery="whole"))
    assert [type(event) for event in events] == [AttemptStarted, AttemptFailed, AttemptStarted, RunDone]
    assert events[1].falling_back is True
    response = events[-1].response
    assert (response.content, response.fallback_used) == ("fine", False)
    assert [attempt.outcome for attempt in response.attempts] == ["failed", "succeeded"]
    assert -100 <= response.attempts[1].queued_ms - waits * 1000 < 600


@pytest.mark.parametrize(
    "error",
    [
        LLMTimeoutError("slow"),
        LLMEmptyError("empty"),
        LLMProviderError("odd"),
        LLMQuotaError("no credit"),
        limited(3600),
        ValueError("boom"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_other_errors_are_not_retried(error):
    async def run() -> None:
        alone = Once("a", error)
        with pytest.raises(LLMProviderError):
            await complete_chain(ask(), [alone], timeout_ms=20_000, health=HealthRegistry())
        assert len(alone.requests) == 1

    assert await quickest(run, good=0.2) < 0.2


async def test_never_more_than_once():
    alone = Once("a", *[LLMServerError("503")] * 9)
    with pytest.raises(LLMServerError) as caught:
        await complete_chain(ask(), [alone], timeout_ms=20_000, health=HealthRegistry())
    assert len(alone.requests) == len(caught.value.attempts) == 2


async def test_a_truncated_answer_and_a_reset_share_the_one_extra_call():
    for errors in (
        [LLMTruncatedError("cut"), LLMServerError("503")],
        [LLMServerError("503"), LLMTruncatedError("cut")],
    ):
        alone = Once("a", *errors)
        with pytest.raises(type(errors[1])):
            await complete_chain(ask(max_tokens=8), [alone], timeout_ms=20_000, health=HealthRegistry())
        assert len(alone.requests) == 2


async def test_no_provider_is_called_twice_while_another_may_be_called():
    first, second = Once("a", LLMServerError("503")), FakeProvider("b")
    response = await complete_chain(ask(), [first, second], timeout_ms=20_000, health=HealthRegistry())
    assert (response.provider, len(first.requests)) == ("b", 1)


async def test_the_last_one_left_is_asked_once_more():
    """The other provider has failed too, or may not be called before the deadline."""
    first, second = FakeProvider("a", LLMEmptyError("empty")), Once("b", LLMServerError("503"))
    response = await complete_chain(ask(), [first, second], timeout_ms=20_000, health=HealthRegistry())
    assert [attempt.provider for attempt in response.attempts] == ["a", "b", "b"]

    health = HealthRegistry()
    health.failed(health.admit("b"), limited(60.0), second)
    first = Once("a", LLMServerError("503"))
    response = await complete_chain(ask(), [first, second], timeout_ms=20_000, health=health)
    assert [attempt.provider for attempt in response.attempts] == ["a", "a"]


async def test_without_time_left_the_run_ends_at_once():
    async def run() -> None:
        alone = Once("a", LLMServerError("503"))
        with pytest.raises(LLMServerError):
            await complete_chain(ask(), [alone], timeout_ms=round(RETRY_PAUSE_SECONDS * 900), health=HealthRegistry())
        assert len(alone.requests) == 1

    assert await quickest(run, good=0.1) < 0.1


async def test_without_a_shared_health_no_provider_is_called_twice():
    """Without a shared budget nothing would limit the calls of all runs."""
    alone = Once("a", LLMServerError("503"))
    with pytest.raises(LLMServerError):
        await complete_chain(ask(), [alone], timeout_ms=20_000)
    assert len(alone.requests) == 1


async def test_after_a_hedge_no_provider_is_called_twice():
    async def fail_soon() -> str:
        await asyncio.sleep(0.02)
        raise LLMServerError("503")

    first, second = FakeProvider("a", fail_soon), FakeProvider("b", fail_soon)
    with pytest.raises(LLMServerError) as caught:
        await complete_chain(
            ask(), [first, second], timeout_ms=20_000, health=HealthRegistry(), hedge=HedgePolicy(0, budget=1.0)
        )
    assert [(attempt.provider, attempt.hedge) for attempt in caught.value.attempts] == [("a", False), ("b", True)]


async def test_an_answer_that_was_interrupted_is_not_retried():
    broken = FakeStream("a", "half ", LLMTransportError("reset"))
    with pytest.raises(LLMInterruptedError):
        await collect(run_chain(ask(), [broken], timeout_ms=20_000, health=HealthRegistry()))
    assert len(broken.requests) == 1


async def test_a_retry_waits_for_room():
    health = HealthRegistry()
    alone = Once("a", LLMServerError("503"), max_concurrent=1)
    run = asyncio.ensure_future(complete_chain(ask(), [alone], timeout_ms=20_000, health=health))
    await asyncio.sleep(0.02)
    other = health.admit("a", 1)
    await asyncio.sleep(RETRY_PAUSE_SECONDS + 0.1)
    assert len(alone.requests) == 1
    health.canceled(other)
    assert (await asyncio.wait_for(run, 10)).content == "fine"


# The budget


async def test_an_open_breaker_is_not_retried():
    health = HealthRegistry()
    alone = FakeProvider("a", LLMServerError("503"))
    for _ in range(FAILURES_TO_OPEN + 3):
        with pytest.raises(LLMServerError):
            await complete_chain(ask(), [alone], timeout_ms=20_000, health=health)
    # Two calls a run until the breaker is open, which the first call of the third run does; one a run from then on.
    assert len(alone.requests) == 2 + 2 + FAILURES_TO_OPEN + 3 - 2


async def test_a_breaker_that_opens_during_the_pause_is_not_retried():
    alone, health = FakeProvider("a", LLMServerError("503")), HealthRegistry()
    run = asyncio.ensure_future(complete_chain(ask(), [alone], timeout_ms=20_000, health=health))
    await asyncio.sleep(RETRY_PAUSE_SECONDS / 3)
    for permit in [health.admit("a") for _ in range(FAILURES_TO_OPEN)]:
        health.failed(permit, LLMServerError("503"), alone)
    with pytest.raises(LLMServerError) as caught:
        await run
    assert len(alone.requests) == len(caught.value.attempts) == 1


def flaky(answers: Callable[[int], bool]) -> FakeProvider:
    """Fails the calls, counted from 0, for which `answers` is false."""

    class Flaky(FakeProvider):
        async def complete(self, request):
            self.requests.append(request)
            if not answers(len(self.requests) - 1):
                raise LLMServerError("503")
            return LLMResponse("fine", self.name, "m", 1.0)

    return Flaky("a")


async def test_the_budget_bounds_the_retries_of_all_runs(monkeypatch):
    monkeypatch.setattr("promptops.engine.runs.RETRY_PAUSE_SECONDS", 0.0)
    health, alone = HealthRegistry(), flaky(lambda call: call % 5 != 0)
    served = 0
    for _ in range(200):
        try:
            await complete_chain(ask(), [alone], timeout_ms=20_000, health=health)
            served += 1
        except LLMServerError:
            pass
    retries = len(alone.requests) - 200
    assert EXTRA_CALLS_SAVED <= retries <= EXTRA_CALLS_SAVED + 200 * 0.1
    assert served == 200 - math.ceil(len(alone.requests) / 5) + retries  # each retry served a run that had failed


@pytest.mark.parametrize("providers", [1, 2, 3])
async def test_when_every_provider_is_down_calls_are_bounded(providers):
    down = [FakeProvider(f"p{n}", LLMServerError("503")) for n in range(providers)]
    health = HealthRegistry()
    runs = [complete_chain(ask(), down, timeout_ms=20_000, health=health) for _ in range(100)]
    errors = await asyncio.gather(*runs, return_exceptions=True)
    assert {type(error) for error in errors} == {LLMServerError}
    assert sum(len(provider.requests) for provider in down) <= 100 * providers * 1.2


async def test_a_single_reset_over_a_socket():
    async def respond(writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 1:
            writer.transport.abort()
        else:
            writer.write(http_answer(completion()))

    async with loopback(respond) as server:
        enhancer = PromptEnhancer(providers=[OpenAICompatibleProvider(server.url)], model="m")
        response = await enhancer.enhance("x")
        assert [attempt.error_kind for attempt in response.attempts] == ["transport", None]


async def test_a_hang_is_not_retried():
    alone = FakeProvider("a", hang(), timeout_ms=50)
    with pytest.raises(LLMTimeoutError) as caught:
        await complete_chain(ask(), [alone], timeout_ms=20_000, health=HealthRegistry())
    assert len(caught.value.attempts) == 1
