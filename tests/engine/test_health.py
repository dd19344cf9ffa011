"""Health: breaker, cooldown, limits and hedging budget; the clock is injected."""

from __future__ import annotations

import asyncio
import time
from collections import deque

import pytest

from promptops.engine import (
    Attempt,
    HealthRegistry,
    HealthView,
    HedgePolicy,
    LLMAuthError,
    LLMBadRequestError,
    LLMBusyError,
    LLMMissingKeyError,
    LLMNotFoundError,
    LLMProviderError,
    LLMQuotaError,
    LLMRefusedError,
    LLMResponse,
    LLMServerError,
    LLMTimeoutError,
    complete_chain,
    run_chain,
)
from promptops.engine.breaker import RATE_WINDOW
from promptops.engine.health import FAILURES_TO_OPEN, LAST_RESORT_SECONDS, LATENCIES_NEEDED, OPEN_SECONDS
from promptops.engine.policies import QUOTA_COOLDOWN_SECONDS
from tests.engine.helpers import FakeProvider, FakeStream, ask, collect, hang, limited, text_of


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock) -> HealthRegistry:
    return HealthRegistry(clock=clock, wall_clock=lambda: clock.now + 1e9)


async def fail(health: HealthRegistry, *providers: FakeProvider, times: int = FAILURES_TO_OPEN) -> None:
    for _ in range(times):
        with pytest.raises(LLMProviderError):
            await complete_chain(ask(), providers, timeout_ms=1000, health=health)


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


# Cooldown


async def test_a_cooldown_is_shared_and_the_fallback_used_at_once(health, clock):
    first, second = FakeProvider("a", limited(2.0)), FakeProvider("b")
    await complete_chain(ask(), [first, second], timeout_ms=1000, health=health)
    assert health.view("a").cooldown_left_ms == 2000
    first.answer = "again"
    await asyncio.gather(*(complete_chain(ask(), [first, second], timeout_ms=1000, health=health) for _ in range(10)))
    assert (len(first.requests), len(second.requests)) == (1, 11)
    clock.now += 2.0
    assert (await complete_chain(ask(), [first, second], timeout_ms=1000, health=health)).provider == "a"


async def test_a_cooldown_never_shrinks(health, clock):
    permits = [health.admit("a") for _ in range(3)]
    for permit, seconds in zip(permits, (60.0, 2.0, None), strict=True):
        health.failed(permit, limited(seconds), FakeProvider("a"))
        assert health.view("a").cooldown_left_ms == 60_000


async def test_a_long_cooldown_ends_the_run_at_once(health):
    started = time.monotonic()
    await fail(health, FakeProvider("a", limited(3600.0)), times=1)
    alone = FakeProvider("a")
    with pytest.raises(LLMBusyError, match="a is cooling down for 3600 s") as caught:
        await complete_chain(ask(), [alone], timeout_ms=5000, health=health)
    assert (alone.requests, caught.value.attempts, caught.value.retryable) == ([], (), True)
    assert time.monotonic() - started < 0.5


async def test_a_short_cooldown_is_waited_for_when_there_is_nobody_else():
    health = HealthRegistry()
    await fail(health, FakeProvider("a", limited(0.1)), times=1)
    response = await complete_chain(ask(), [FakeProvider("a")], timeout_ms=2000, health=health)
    assert response.attempts[0].queued_ms == pytest.approx(100, abs=60)


async def test_an_answer_can_start_a_cooldown_too(health):
    answer = LLMResponse("text", "a", "m", 1.0, retry_after_s=7.0)
    await complete_chain(ask(), [FakeProvider("a", answer)], timeout_ms=1000, health=health)
    assert health.view("a").cooldown_left_ms == 7000


async def test_spent_credit_cools_down_for_minutes_and_is_shown(health, clock):
    broke, spare = FakeProvider("a", LLMQuotaError("a has no credit left")), FakeProvider("b")
    for _ in range(3):
        assert (await complete_chain(ask(), [broke, spare], timeout_ms=1000, health=health)).provider == "b"
    assert len(broke.requests) == 1
    view = health.view("a")
    assert (view.out_of_credit, view.trouble, view.misconfigured) == (True, "quota", True)
    assert (view.reason, view.cooldown_reason) == ("a has no credit left", "a has no credit left")
    assert (view.cooldown_left_ms, view.cooldown_since) == (QUOTA_COOLDOWN_SECONDS * 1000, clock.now + 1e9)
    clock.now += QUOTA_COOLDOWN_SECONDS
    assert (health.view("a").cooldown_since, health.view("a").cooldown_reason) == (None, None)
    broke.answer = "paid"
    assert (await complete_chain(ask(), [broke, spare], timeout_ms=1000, health=health)).provider == "a"
    assert health.view("a") == HealthView()
    assert (health.view("a").out_of_credit, health.view("a").trouble) == (False, None)


async def test_spent_credit_cools_down_as_long_as_it_says(health):
    error = LLMQuotaError("a has no credit left")
    error.retry_after_s = 7200.0
    await fail(health, FakeProvider("a", error), times=1)
    assert health.view("a").cooldown_left_ms == 7_200_000


# A long cooldown when there is nobody else


async def hours_long(health: HealthRegistry, *names: str) -> list[FakeProvider]:
    """Providers that have just asked for four hours of rest, and would answer now."""
    for name in names:
        await fail(health, FakeProvider(name, limited(4 * 3600.0)), times=1)
    return [FakeProvider(name, f"{name} again") for name in names]


async def test_a_long_cooldown_locks_nobody_out_when_there_is_nobody_else(health, clock):
    alone = await hours_long(health, "a")
    clock.now += LAST_RESORT_SECONDS - 0.1
    with pytest.raises(LLMBusyError):
        await complete_chain(ask(), alone, timeout_ms=50, health=health)
    clock.now += 0.1
    assert (await complete_chain(ask(), alone, timeout_ms=1000, health=health)).content == "a again"
    assert health.view("a").cooldown_left_ms == 0  # it serves again


async def test_one_call_at_a_time_passes_a_long_cooldown(health, clock):
    (alone,) = await hours_long(health, "a")
    clock.now += LAST_RESORT_SECONDS
    alone.answer = hang(0.05)
    runs = [complete_chain(ask(), [alone], timeout_ms=1000, health=health) for _ in range(10)]
    done = await asyncio.gather(*runs, return_exceptions=True)
    assert sorted(type(found).__name__ for found in done) == ["LLMBusyError"] * 9 + ["LLMResponse"]
    assert len(alone.requests) == 1


async def test_a_refused_call_begins_the_wait_again(health, clock):
    (alone,) = await hours_long(health, "a")
    for _ in range(3):
        clock.now += LAST_RESORT_SECONDS
        alone.answer = limited(4 * 3600.0)
        await fail(health, alone, times=1)
        with pytest.raises(LLMBusyError):
            await complete_chain(ask(), [alone], timeout_ms=1000, health=health)
    assert len(alone.requests) == 3


async def test_a_canceled_call_lets_the_next_one_pass(health, clock):
    (alone,) = await hours_long(health, "a")
    clock.now += LAST_RESORT_SECONDS
    health.canceled(health.admit("a", last_resort=True))
    assert (await complete_chain(ask(), [alone], timeout_ms=1000, health=health)).content == "a again"


async def test_a_long_cooldown_is_kept_while_there_is_somebody_else(health, clock):
    providers = await hours_long(health, "a", "b")
    clock.now += 2 * 3600.0
    spare = FakeProvider("c")
    for _ in range(3):
        assert (await complete_chain(ask(), [*providers, spare], timeout_ms=1000, health=health)).provider == "c"
    spare.answer = LLMServerError("down")
    response = await complete_chain(ask(), [*providers, spare], timeout_ms=1000, health=health)
    assert [attempt.provider for attempt in response.attempts] == ["c", "a"]


async def test_the_first_of_several_long_cooldowns_is_asked(health, clock):
    providers = await hours_long(health, "a", "b")
    clock.now += LAST_RESORT_SECONDS
    assert (await complete_chain(ask(), providers, timeout_ms=1000, health=health)).provider == "a"


async def test_an_operator_ends_a_cooldown(health):
    assert health.end_cooldown("never asked") is False
    (alone,) = await hours_long(health, "a")
    assert health.end_cooldown("a") is True
    assert health.view("a") == HealthView()
    assert (await complete_chain(ask(), [alone], timeout_ms=1000, health=health)).content == "a again"
    assert health.end_cooldown("a") is False


async def test_ending_a_cooldown_wakes_the_runs_that_wait_for_it():
    health = HealthRegistry()
    await fail(health, FakeProvider("a", limited(30.0)), times=1)
    run = asyncio.ensure_future(complete_chain(ask(), [FakeProvider("a")], timeout_ms=60_000, health=health))
    await asyncio.sleep(0.02)
    assert not run.done()
    health.end_cooldown("a")
    assert (await asyncio.wait_for(run, 0.5)).content == "fine"


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
    started = time.monotonic()
    with pytest.raises(LLMBusyError, match="a has 1 of 1 calls in progress"):
        await complete_chain(ask(), [FakeProvider("a", max_concurrent=1)], timeout_ms=80, health=health)
    assert 0.075 <= time.monotonic() - started <= 0.2
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
    assert await complete_chain(ask(), [FakeProvider("a", max_concurrent=1)], timeout_ms=80, health=health)


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
    assert time.monotonic() - started < 1


def test_runs_of_several_event_loops_share_it():
    health = HealthRegistry()

    async def runs() -> list[LLMResponse]:
        provider = FakeProvider("a", hang(0.01), max_concurrent=1)
        return await asyncio.gather(
            *(complete_chain(ask(), [provider], timeout_ms=5000, health=health) for _ in range(4))
        )

    async def both() -> list[list[LLMResponse]]:
        return await asyncio.gather(*(asyncio.to_thread(asyncio.run, runs()) for _ in range(2)))

    assert [len(found) for found in asyncio.run(both())] == [4, 4]
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


async def test_a_wrong_key_ends_the_run_only_where_nobody_is_left(health):
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
async def test_how_a_call_to_what_a_provider_was_before_ends_says_nothing_of_what_it_is_now(late, health, clock):
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


async def test_a_copy_knows_whom_to_leave_alone_and_leaves_no_mark(health, clock):
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


async def test_without_health_runs_know_nothing_of_each_other():
    providers = [FakeProvider("same", limited(3600.0)), FakeProvider("same")]
    for _ in range(FAILURES_TO_OPEN + 2):
        assert len((await complete_chain(ask(), providers, timeout_ms=1000)).attempts) == 2


# Hedging

RACE = HedgePolicy(delay_ms=0, budget=1.0)


async def test_a_race_is_won_by_the_first_text(health):
    slow, quick = FakeStream("slow", hang(0.3), "late"), FakeStream("quick", "now ", "and on")
    events = await collect(run_chain(ask(), [slow, quick], timeout_ms=2000, health=health, hedge=RACE))
    assert text_of(events) == "now and on"
    response = events[-1].response
    assert (response.provider, response.fallback_used) == ("quick", True)
    assert [(attempt.outcome, attempt.hedge) for attempt in response.attempts] == [
        ("canceled", False),
        ("succeeded", True),
    ]
    assert slow.closed.is_set()
    assert health.view("slow") == HealthView()  # losing is no failure


async def test_a_quick_first_provider_needs_no_hedge(health):
    second = FakeProvider("b")
    response = await complete_chain(
        ask(), [FakeProvider("a"), second], timeout_ms=2000, health=health, hedge=HedgePolicy(50, budget=1.0)
    )
    await asyncio.sleep(0.07)
    assert (response.provider, second.requests) == ("a", [])


async def test_the_delay_is_the_providers_own_p95(health):
    slow, second = FakeProvider("a", hang(0.02)), FakeProvider("b")
    policy = HedgePolicy(budget=1.0)
    taken: list[float] = []
    for _ in range(LATENCIES_NEEDED):
        attempts: list[Attempt] = []
        await complete_chain(ask(), [slow, second], timeout_ms=2000, health=health, hedge=policy, attempts=attempts)
        taken += [attempt.latency_ms for attempt in attempts]
    assert second.requests == []
    assert 19 <= min(taken) <= health.p95_ms("a", streamed=False) <= max(taken)
    assert health.p95_ms("a", streamed=True) is None
    slow.answer = hang(1.0)
    started = time.monotonic()
    response = await complete_chain(ask(), [slow, second], timeout_ms=2000, health=health, hedge=policy)
    assert response.provider == "b"
    assert time.monotonic() - started < 0.2


async def test_hedges_keep_to_their_budget(health):
    second = FakeProvider("b")
    for _ in range(100):
        await complete_chain(
            ask(), [FakeProvider("a", hang(0.002)), second], timeout_ms=2000, health=health, hedge=HedgePolicy(0)
        )
    assert len(second.requests) == 10


async def test_when_the_first_fails_the_hedge_goes_on(health):
    async def fail_soon() -> str:
        await asyncio.sleep(0.02)
        raise LLMServerError("down")

    third = FakeProvider("c")
    providers = [FakeProvider("a", fail_soon), FakeProvider("b", hang(0.05)), third]
    response = await complete_chain(ask(), providers, timeout_ms=2000, health=health, hedge=RACE)
    assert [attempt.outcome for attempt in response.attempts] == ["failed", "succeeded"]
    assert third.requests == []


async def test_a_final_error_stops_the_hedge(health):
    async def refuse_soon() -> str:
        await asyncio.sleep(0.02)
        raise LLMBadRequestError("what?")

    with pytest.raises(LLMBadRequestError) as caught:
        await complete_chain(
            ask(),
            [FakeProvider("a", refuse_soon), FakeProvider("b", hang())],
            timeout_ms=2000,
            health=health,
            hedge=RACE,
        )
    assert [attempt.outcome for attempt in caught.value.attempts] == ["failed", "canceled"]
    assert health.view("b").in_flight == 0


@pytest.mark.parametrize(("error", "ends"), [(LLMRefusedError("no"), True), (LLMBadRequestError("no"), False)])
def test_a_model_that_declines_has_answered_so_its_key_is_right(health, error, ends):
    for each in (LLMAuthError("the key"), error):
        permit = health.admit("p")
        assert permit is not None
        health.failed(permit, each, FakeProvider("p"))
    assert health.view("p").misconfigured is not ends
    assert health.view("p").trouble == (None if ends else "auth")
