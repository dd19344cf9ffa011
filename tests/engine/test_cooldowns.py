"""Cooldowns: shared between runs, waited for, ignored by a last resort. The clock is injected."""

from __future__ import annotations

import asyncio
import time

import pytest

from promptops.engine import (
    HealthRegistry,
    HealthView,
    LLMBusyError,
    LLMQuotaError,
    LLMResponse,
    LLMServerError,
    complete_chain,
)
from promptops.engine.health import LAST_RESORT_SECONDS
from promptops.engine.policies import QUOTA_COOLDOWN_SECONDS
from tests.engine.helpers import FakeProvider, ask, fail, hang, limited


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
    assert time.monotonic() - started < 4  # less than the deadline


async def test_a_short_cooldown_is_waited_for_if_no_other_provider_is_left():
    health = HealthRegistry()
    await fail(health, FakeProvider("a", limited(0.1)), times=1)
    response = await complete_chain(ask(), [FakeProvider("a")], timeout_ms=2000, health=health)
    assert 95 <= response.attempts[0].queued_ms < 1000


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


# A long cooldown if no other provider is left


async def hours_long(health: HealthRegistry, *names: str) -> list[FakeProvider]:
    """Return providers with a cooldown of four hours that would answer now."""
    for name in names:
        await fail(health, FakeProvider(name, limited(4 * 3600.0)), times=1)
    return [FakeProvider(name, f"{name} again") for name in names]


async def test_a_long_cooldown_blocks_no_provider_that_is_the_last_one(health, clock):
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
    assert sorted(type(result).__name__ for result in done) == ["LLMBusyError"] * 9 + ["LLMResponse"]
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


async def test_a_long_cooldown_is_kept_while_another_provider_is_left(health, clock):
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
    assert (await asyncio.wait_for(run, 10)).content == "fine"
