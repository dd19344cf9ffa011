"""Hedges: races, the delay, the budget, and the end of the loser."""

from __future__ import annotations

import asyncio
import time

import pytest

from promptops.engine import (
    Attempt,
    HealthView,
    HedgePolicy,
    LLMBadRequestError,
    LLMServerError,
    complete_chain,
    run_chain,
)
from promptops.engine.health import LATENCIES_NEEDED
from tests.engine.helpers import FakeProvider, FakeStream, ask, collect, hang, text_of

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
    assert time.monotonic() - started < 0.9  # before the first provider answers


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
