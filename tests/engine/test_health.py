"""Health: breaker, limits and misconfigured providers. The clock is injected."""

from __future__ import annotations

import asyncio
import time
from collections import deque

import pytest

from promptops.engine import (
    HealthRegistry,
    HealthView,
    LLMAuthError,
    LLMBadRequestError,
    LLMBusyError,
    LLMMissingKeyError,
    LLMNotFoundError,
    LLMRefusedError,
    LLMResponse,
    LLMServerError,
    LLMTimeoutError,
    complete_chain,
)
from promptops.engine.breaker import RATE_WINDOW
from promptops.engine.health import FAILURES_TO_OPEN, OPEN_SECONDS
from tests.engine.helpers import FakeProvider, ask, fail, hang, limited, quickest


async def test_an_open_breaker_is_passed_over_probed_once_and_closed(health, clock):
    down, spare = FakeProvider("a", LLMServerError("a is down")), FakeProvider("b")
    for _ in range(FAILURES_TO_OPEN + 3):
        assert (await complete_chain(ask(), [down, spare], timeout_ms=1000, health=health)).provider == "b"
    assert len(down.requests) == FAILURES_TO_OPEN
    assert health.view("a") == HealthView("open", "a is down", clock.now + 1e9)

    clock.now += OPEN_SECONDS
    release = asyncio.Event()

    async def slowly() -> str:
        await release.wait()
        return "back"

    down.answer = slowly
    runs = [
        asyncio.ensure_future(complete_chain(ask(), [down, spare], timeout_ms=5000, health=health)) for _ in range(20)
    ]
    await asyncio.sleep(0.02)
    assert health.view("a").state == "half_open"
    release.set()
    responses = await asyncio.gather(*runs)
    assert sorted(response.provider for response in responses) == ["a"] + ["b"] * 19
    assert len(down.requests) == FAILURES_TO_OPEN + 1
    assert health.view("a").state == "closed"
    passed_over = next(response for response in responses if response.provider == "b")
    assert passed_over.fallback_used is True
    assert [attempt.provider for attempt in passed_over.attempts] == ["b"]


async def test_a_canceled_probe_neither_opens_nor_blocks(health, clock):
    down = FakeProvider("a", LLMServerError("a is down"))
    await fail(health, down)
    clock.now += OPEN_SECONDS
    down.answer = hang()
    run = asyncio.ensure_future(complete_chain(ask(), [down], timeout_ms=5000, health=health))
    await asyncio.sleep(0.01)
    assert health.view("a").state == "half_open"
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (health.view("a").state, health.view("a").in_flight) == ("open", 0)
    down.answer = "back"
    assert (await complete_chain(ask(), [down], timeout_ms=1000, health=health)).content == "back"
    assert health.view("a").state == "closed"


async def test_a_provider_that_fails_every_third_call_is_opened_and_still_is_the_last_resort(health, clock):
    calls, opened_at = 0, 0

    async def every_third() -> str:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise LLMServerError("a is shaky")
        return "fine"

    shaky, spare = FakeProvider("a", every_third), FakeProvider("b")
    while health.view("a").state == "closed":
        await complete_chain(ask(), [shaky, spare], timeout_ms=1000, health=health)
        opened_at = calls
        assert calls <= RATE_WINDOW + 3
    assert opened_at >= RATE_WINDOW
    assert (health.view("a").state, health.view("a").reason) == ("open", "a is shaky")
    assert (await complete_chain(ask(), [shaky, spare], timeout_ms=1000, health=health)).provider == "b"
    assert (await complete_chain(ask(), [shaky], timeout_ms=1000, health=health)).provider == "a"
    assert health.view("a").state == "open"  # an answer beside the failures proves nothing
    clock.now += OPEN_SECONDS
    assert (await complete_chain(ask(), [shaky, spare], timeout_ms=1000, health=health)).provider == "a"
    assert health.view("a").state == "closed"


async def test_when_all_are_open_the_first_is_the_last_resort(health):
    one, two = FakeProvider("a", LLMServerError("one")), FakeProvider("b", LLMServerError("two"))
    await fail(health, one, two)
    assert [health.view(name).state for name in "ab"] == ["open", "open"]
    one.answer = "well again"
    response = await complete_chain(ask(), [one, two], timeout_ms=1000, health=health)
    assert (response.content, health.view("a").state, health.view("b").state) == ("well again", "closed", "open")


async def test_an_error_that_is_not_the_providers_does_not_count(health):
    await fail(health, FakeProvider("a", LLMBadRequestError("what?")), times=FAILURES_TO_OPEN + 2)
    await fail(health, FakeProvider("b", limited(None)), times=1)
    assert [health.view(name).state for name in "ab"] == ["closed", "closed"]


async def test_a_probe_that_is_refused_closes_the_breaker(health, clock):
    provider = FakeProvider("a", LLMServerError("down"))
    await fail(health, provider)
    clock.now += OPEN_SECONDS
    provider.answer = LLMBadRequestError("what?")
    await fail(health, provider, times=1)
    assert health.view("a").state == "closed"


async def test_a_provider_that_ignores_cancellation_is_charged_with_a_timeout(health):
    async def stubborn() -> str:
        end = time.monotonic() + 0.12
        while time.monotonic() < end:
            try:
                await asyncio.sleep(0.12)
            except asyncio.CancelledError:
                continue
        return "late"

    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(LLMTimeoutError):
            await complete_chain(ask(), [FakeProvider("a", stubborn)], timeout_ms=10, health=health)
    assert (health.view("a").state, health.view("a").in_flight) == ("open", 0)
    await asyncio.sleep(0.15)


# Limits


async def test_a_full_provider_is_passed_over(health):
    first, second = FakeProvider("a", hang(0.05), max_concurrent=2), FakeProvider("b")
    responses = await asyncio.gather(
        *(complete_chain(ask(), [first, second], timeout_ms=1000, health=health) for _ in range(5))
    )
    assert sorted(response.provider for response in responses) == ["a", "a", "b", "b", "b"]
    assert (health.view("a").in_flight, health.view("a").limit) == (0, 2)


async def test_when_all_are_full_runs_wait_in_order():
    health, order, most = HealthRegistry(), [], 0

    class Slow(FakeProvider):
        async def complete(self, request):
            nonlocal most
            most = max(most, health.view("a").in_flight)
            await asyncio.sleep(0.01)
            order.append(request.messages[-1].content)
            return LLMResponse("x", "a", "m", 1.0)

    provider = Slow("a", max_concurrent=1)
    runs = [complete_chain(ask(str(n)), [provider], timeout_ms=5000, health=health) for n in range(8)]
    responses = await asyncio.gather(*runs)
    assert (order, most) == ([str(n) for n in range(8)], 1)
    assert responses[-1].attempts[0].queued_ms >= 60


async def test_waiting_ends_with_the_deadline_and_leaves_nothing_behind():
    health = HealthRegistry()
    holding = asyncio.ensure_future(
        complete_chain(ask(), [FakeProvider("a", hang(), max_concurrent=1)], timeout_ms=9000, health=health)
    )
    await asyncio.sleep(0.01)

    async def run() -> None:
        with pytest.raises(LLMBusyError, match="a has 1 of 1 calls in progress"):
            await complete_chain(ask(), [FakeProvider("a", max_concurrent=1)], timeout_ms=80, health=health)

    assert 0.075 <= await quickest(run, good=0.15) <= 0.2
    given_up = asyncio.ensure_future(
        complete_chain(ask(), [FakeProvider("a", max_concurrent=1)], timeout_ms=9000, health=health)
    )
    await asyncio.sleep(0.01)
    holding.cancel()  # makes room, in the moment in which the one that waits for it goes away
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(holding, given_up, return_exceptions=True)
    await asyncio.sleep(0)
    assert (health.view("a").in_flight, len(health._waiters)) == (0, 0)
    assert await complete_chain(ask(), [FakeProvider("a", max_concurrent=1)], timeout_ms=5000, health=health)


async def test_runs_that_wait_move_on_when_the_provider_starts_to_cool_down():
    health = HealthRegistry()

    async def refuse_later() -> str:
        await asyncio.sleep(0.02)
        raise limited(3600.0)

    provider = FakeProvider("a", refuse_later, max_concurrent=1)
    started = time.monotonic()
    done = await asyncio.gather(
        *(complete_chain(ask(), [provider], timeout_ms=5000, health=health) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(error).__name__ for error in done) == ["LLMBusyError"] * 3 + ["LLMRateLimitedError"]
    assert time.monotonic() - started < 4  # less than the deadline


def test_runs_of_several_event_loops_share_it():
    health = HealthRegistry()

    async def runs() -> list[LLMResponse]:
        provider = FakeProvider("a", hang(0.01), max_concurrent=1)
        return await asyncio.gather(
            *(complete_chain(ask(), [provider], timeout_ms=5000, health=health) for _ in range(4))
        )

    async def both() -> list[list[LLMResponse]]:
        return await asyncio.gather(*(asyncio.to_thread(asyncio.run, runs()) for _ in range(2)))

    assert [len(responses) for responses in asyncio.run(both())] == [4, 4]
    assert health.view("a").in_flight == 0


# Misconfigured


async def test_a_misconfigured_provider_is_marked_until_it_answers(health):
    wrong, spare = FakeProvider("a", LLMAuthError("a answered with status 401")), FakeProvider("b")
    await fail(health, wrong, spare, times=FAILURES_TO_OPEN + 1)
    assert health.view("a") == HealthView(misconfigured=True, reason="a answered with status 401")
    assert spare.requests == []  # the contract: a wrong key stops the run, however often
    wrong.answer = "right"
    await complete_chain(ask(), [wrong], timeout_ms=1000, health=health)
    assert health.view("a") == HealthView()


async def test_where_the_operator_chose_to_fall_back_the_breaker_spares_the_provider(health):
    wrong = FakeProvider("a", LLMAuthError("no"), fall_back_on=frozenset({"auth"}))
    for _ in range(FAILURES_TO_OPEN + 2):
        await complete_chain(ask(), [wrong, FakeProvider("b")], timeout_ms=1000, health=health)
    assert len(wrong.requests) == FAILURES_TO_OPEN
    health.forget("a")
    assert health.view("a") == HealthView()


@pytest.mark.parametrize("error", [LLMAuthError("no"), LLMMissingKeyError("no"), LLMNotFoundError("no")])
async def test_what_makes_a_provider_misconfigured_is_shown(health, error):
    await fail(health, FakeProvider("a", error), times=1)
    assert (health.view("a").trouble, health.view("a").out_of_credit) == (error.kind, False)
    health.forget("a")
    assert health.view("a").trouble is None


async def test_a_wrong_key_ends_the_run_only_if_no_provider_is_left(health):
    chosen = {"fall_back_on": frozenset({"auth"})}
    wrong, spare = FakeProvider("a", LLMAuthError("wrong key"), **chosen), FakeProvider("b")
    assert (await complete_chain(ask(), [wrong, spare], timeout_ms=1000, health=health)).provider == "b"
    assert health.view("a").trouble == "auth"
    with pytest.raises(LLMAuthError):  # as the last one
        await complete_chain(ask(), [FakeProvider("c", LLMServerError("down")), wrong], timeout_ms=1000, health=health)
    health.failed(health.admit("b"), limited(60.0), spare)
    with pytest.raises(LLMAuthError) as caught:  # beside one that must not be asked
        await complete_chain(ask(), [wrong, spare], timeout_ms=1000, health=health)
    assert [attempt.provider for attempt in caught.value.attempts] == ["a"]


@pytest.mark.parametrize("late", [LLMAuthError("old key"), LLMServerError("old address"), limited(60.0)])
async def test_the_result_of_a_call_from_before_an_edit_does_not_count(late, health, clock):
    provider = FakeProvider("a", LLMServerError("down"))
    await fail(health, provider)
    clock.now += OPEN_SECONDS
    probe = health.admit("a")
    health.forget("a")
    calls = [health.admit("a", 9) for _ in range(2)]
    health.failed(probe, late, provider)
    assert health.view("a") == HealthView(in_flight=2, limit=9)
    health.failed(calls[0], LLMAuthError("new key"), provider)
    calls.append(health.admit("a", 9))
    health.forget("a")
    health.succeeded(calls[1], latency_ms=1.0, streamed=False)
    health.canceled(calls[2])
    assert health.view("a") == HealthView(limit=9)
    assert health._providers["a"].latencies[False] == deque()


async def test_a_copy_has_breakers_and_cooldowns_and_changes_nothing(health, clock):
    await fail(health, FakeProvider("a", limited(60.0)), times=1)
    await fail(health, FakeProvider("b", LLMServerError("down")))
    before = [health.view(name) for name in "abc"]
    known = health.copy()
    asked = [FakeProvider(name) for name in "ab"]
    for _ in range(FAILURES_TO_OPEN):
        failing = FakeProvider("c", LLMServerError("down"))
        await complete_chain(ask(), [*asked, failing, FakeProvider("d")], timeout_ms=1000, health=known)
    assert [len(provider.requests) for provider in asked] == [0, 0]
    assert [known.view(name).state for name in "abcd"] == ["closed", "open", "open", "closed"]
    assert [health.view(name) for name in "abc"] == before
    clock.now += 60.0
    assert (await complete_chain(ask(), asked, timeout_ms=1000, health=known)).provider == "a"


async def test_without_health_runs_share_nothing():
    providers = [FakeProvider("same", limited(3600.0)), FakeProvider("same")]
    for _ in range(FAILURES_TO_OPEN + 2):
        assert len((await complete_chain(ask(), providers, timeout_ms=1000)).attempts) == 2


@pytest.mark.parametrize(("error", "ends"), [(LLMRefusedError("no"), True), (LLMBadRequestError("no"), False)])
def test_a_model_that_declines_has_answered_so_its_key_is_right(health, error, ends):
    for each in (LLMAuthError("the key"), error):
        permit = health.admit("p")
        assert permit is not None
        health.failed(permit, each, FakeProvider("p"))
    assert health.view("p").misconfigured is not ends
    assert health.view("p").trouble == (None if ends else "auth")
