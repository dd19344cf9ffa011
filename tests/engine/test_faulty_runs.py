"""Runs with faulty providers, on real sockets: deadlines, rate limits, load, broken streams, cancellation."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from contextlib import aclosing

import pytest

from promptops.engine import (
    HealthRegistry,
    HedgePolicy,
    LLMInterruptedError,
    LLMServerError,
    LLMTimeoutError,
    OpenAICompatibleProvider,
    Prices,
    RunDone,
    TextChunk,
    complete_chain,
    run_chain,
)
from promptops.engine.health import FAILURES_TO_OPEN, OPEN_SECONDS
from tests.engine.fault_servers import (
    GOOD_STREAM,
    LENGTH,
    at,
    dripping,
    head,
    refused,
    resetting,
    servers,
)
from tests.engine.helpers import (
    GOOD,
    STREAM_END,
    STREAM_HEAD,
    answer_with,
    ask,
    collect,
    completion,
    delta,
    event,
    hang,
    http_answer,
    least,
    part,
    text_of,
)

pytestmark = pytest.mark.usefixtures("nothing_leaks")

# Time


@pytest.mark.parametrize("respond", [dripping(LENGTH, b" "), answer_with(then=hang())], ids=["drip", "silence"])
@pytest.mark.parametrize("providers", [1, 3])
async def test_a_run_ends_with_its_deadline(respond, providers):
    async with servers(*[respond] * providers) as bad:

        async def seconds() -> float:
            started = time.monotonic()
            with pytest.raises(LLMTimeoutError) as caught:
                await complete_chain(ask(), [at(server, f"p{n}") for n, server in enumerate(bad)], timeout_ms=150)
            for server in bad:
                await server.wait_closed()
            # A busy machine may leave no time for the last provider: such a run measures nothing.
            return time.monotonic() - started if len(caught.value.attempts) == providers else math.inf

        assert 0.145 <= await least(seconds, good=0.2) <= 0.2


async def test_a_listener_that_never_accepts():
    """The backlog is full, so the connection itself hangs, until the attempt's share is over."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        async with servers(answer_with(GOOD)) as (good,):
            dead = OpenAICompatibleProvider(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", name="dead")
            response = await complete_chain(ask(), [dead, at(good, "good")], timeout_ms=2000)
            assert (response.provider, response.attempts[0].error_kind) == ("good", "timeout")
        for filler in fillers:
            filler.close()


# Rate limits


@pytest.mark.parametrize("seconds", [4, 3600])
async def test_retry_after_stops_all_runs(seconds):
    now = 1000.0
    health = HealthRegistry(clock=lambda: now)
    limited = answer_with(refused(429, {"error": "slow down"}, Retry_After=str(seconds)))
    async with servers(limited, answer_with(GOOD)) as (bad, good):
        providers, started = [at(bad), at(good, "good")], time.monotonic()
        await complete_chain(ask(), providers, timeout_ms=5000, health=health)
        now += seconds - 0.01
        runs = [complete_chain(ask(), providers, timeout_ms=5000, health=health) for _ in range(20)]
        assert {response.provider for response in await asyncio.gather(*runs)} == {"good"}
        assert (len(bad.requests), len(good.requests)) == (1, 21)
        assert time.monotonic() - started < 3.5  # no run waited for the cooldown
        now += 0.02
        await complete_chain(ask(), providers, timeout_ms=5000, health=health)
        assert len(bad.requests) == 2


@pytest.mark.parametrize(("then", "close"), [(hang(), False), (None, True)], ids=["stalls", "breaks off"])
async def test_retry_after_counts_although_the_body_never_comes(then, close):
    health, started = HealthRegistry(), time.monotonic()
    limited = answer_with(head(429, Retry_After="7", Content_Length="10"), b"{", then=then, close=close)
    async with servers(limited, answer_with(GOOD)) as (bad, good):
        response = await complete_chain(ask(), [at(bad), at(good, "good")], timeout_ms=9000, health=health)
        assert [attempt.error_kind for attempt in response.attempts] == ["rate_limited", None]
        assert health.view("bad").cooldown_left_ms == pytest.approx(7000, abs=1000)
        assert time.monotonic() - started < 4  # less than the share of the first provider
        await bad.wait_closed()


async def test_a_limit_that_is_used_up_spares_the_next_request():
    health = HealthRegistry()
    last = {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "2m59.56s"}
    async with servers(answer_with(refused(200, completion(), **last)), answer_with(GOOD)) as (first, good):
        providers = [at(first), at(good, "good")]
        answered = [await complete_chain(ask(), providers, timeout_ms=5000, health=health) for _ in range(2)]
        assert [response.provider for response in answered] == ["bad", "good"]
        assert health.view("bad").cooldown_left_ms == pytest.approx(179_560, abs=2000)


# Load


async def test_when_every_provider_is_down_the_calls_are_bounded_and_the_error_names_all():
    down = answer_with(http_answer({"message": "down"}, 503))
    async with servers(down, down, down) as bad:
        providers = [at(server, f"p{n}") for n, server in enumerate(bad)]
        for health in (None, HealthRegistry()):
            runs = [complete_chain(ask(), providers, timeout_ms=20_000, health=health) for _ in range(100)]
            errors = await asyncio.gather(*runs, return_exceptions=True)
            assert {type(error) for error in errors} == {LLMServerError}
            for error in errors if health is None else errors[:1]:
                assert [attempt.provider for attempt in error.attempts] == ["p0", "p1", "p2"]
            assert 3 <= sum(len(server.requests) for server in bad) <= 100 * 3 * 1.2
            for server in bad:
                server.requests.clear()


async def test_a_primary_that_is_down_for_a_minute_under_steady_load():
    """Make a run every 0.2 s of an injected clock, for two minutes. The primary is down for the first minute."""
    now = 0.0
    health = HealthRegistry(clock=lambda: now)
    asked_at: list[float] = []

    async def respond(writer: asyncio.StreamWriter) -> None:
        asked_at.append(now)
        writer.write(http_answer({"error": "down"}, 503) if now < 60 else GOOD)

    async with servers(respond, answer_with(GOOD)) as (primary, good):
        providers, served = [at(primary, "primary"), at(good, "good")], []
        while now < 120:
            served.append((now, (await complete_chain(ask(), providers, timeout_ms=5000, health=health)).provider))
            now += 0.2
        assert len(served) in (600, 601)
        down = [when for when in asked_at if when < 60]
        assert len(down) <= FAILURES_TO_OPEN + 60 / OPEN_SECONDS
        back = next(when for when, provider in served if provider == "primary")
        assert 60 <= back <= 60 + OPEN_SECONDS + 0.2
        assert {provider for when, provider in served if when > back} == {"primary"}


# Streams


HALF = STREAM_HEAD + part(delta("a half"))

DIED = part(event({"error": {"message": "died"}}))


@pytest.mark.parametrize(
    ("respond", "closes"),
    [
        (answer_with(HALF, close=True), True),
        (answer_with(HALF, STREAM_END), False),  # read to its end: the connection may be used again
        (answer_with(HALF, then=hang()), True),
        (answer_with(HALF, DIED, then=hang()), True),
        (answer_with(HALF, part(event({"choices": [], "x_groq": {"error": "over"}})), then=hang()), True),
        (answer_with(HALF, part(delta("", "content_filter")), STREAM_END), False),
        (resetting(HALF), True),
        (dripping(HALF, part(b": PROCESSING\n\n")), True),
        (answer_with(HALF, part(delta("", "error")), part(event("[DONE]")), STREAM_END), False),
        (answer_with(HALF, part(delta("", "abort")), STREAM_END), False),
    ],
    ids=[
        "cut",
        "ended without a word",
        "stalled",
        "error event",
        "groq error",
        "filtered",
        "reset",
        "dripping",
        "stopped by an error",
        "aborted",
    ],
)
async def test_a_stream_that_breaks_after_its_first_text_is_never_a_success(respond, closes):
    async with servers(respond, answer_with(GOOD_STREAM)) as (bad, good):
        events: list = []
        with pytest.raises(LLMInterruptedError) as caught:
            await collect(run_chain(ask(), [at(bad), at(good, "good")], timeout_ms=600), events)
        assert text_of(events) == "a half"
        assert not any(isinstance(happened, RunDone) for happened in events)
        assert (len(good.requests), [attempt.error_kind for attempt in caught.value.attempts]) == (0, ["interrupted"])
        if closes:
            await bad.wait_closed()


async def test_a_stream_without_done_is_a_success_when_it_says_that_it_is_over():
    async with servers(answer_with(STREAM_HEAD, part(delta("a fox", "stop")), STREAM_END)) as (server,):
        assert (await collect(run_chain(ask(), [at(server)], timeout_ms=2000)))[-1].response.content == "a fox"


# Cancellation


async def test_a_canceled_run_leaves_nothing():
    health = HealthRegistry()
    async with servers(answer_with(STREAM_HEAD, part(delta("a half")), then=hang())) as (server,):
        for _ in range(FAILURES_TO_OPEN + 1):
            attempts: list = []
            provider = at(server, prices=Prices(1.0, None, 1.0))
            chain = run_chain(ask(), [provider], timeout_ms=9000, attempts=attempts, health=health)
            async with aclosing(chain) as events:
                async for happened in events:
                    if isinstance(happened, TextChunk):
                        break
            await server.wait_closed()
            assert [(attempt.outcome, attempt.usage_estimated) for attempt in attempts] == [("canceled", True)]
            assert attempts[0].cost > 0
        assert (health.view("bad").state, health.view("bad").in_flight) == ("closed", 0)


async def test_the_loser_of_a_race_is_closed_and_counted_once():
    health, prices = HealthRegistry(), Prices(1.0, None, 1.0)
    async with servers(answer_with(then=hang()), answer_with(GOOD)) as (slow, good):
        response = await complete_chain(
            ask(),
            [at(slow, prices=prices), at(good, "good", prices=prices)],
            timeout_ms=5000,
            health=health,
            hedge=HedgePolicy(delay_ms=30, budget=1.0),
        )
        await slow.wait_closed()
        assert [(attempt.provider, attempt.outcome) for attempt in response.attempts] == [
            ("bad", "canceled"),
            ("good", "succeeded"),
        ]
        assert response.cost == pytest.approx(sum(attempt.cost for attempt in response.attempts))
        assert all(attempt.cost for attempt in response.attempts)
        assert (health.view("bad").state, health.view("bad").in_flight) == ("closed", 0)


async def test_the_timeline_of_an_attempt():
    async with servers(answer_with(GOOD)) as (server,):
        first, second = [(await complete_chain(ask(), [at(server)], timeout_ms=2000)).attempts[0] for _ in range(2)]
        for attempt in (first, second):
            assert 0 <= attempt.connect_ms <= attempt.latency_ms
            assert attempt.queued_ms == pytest.approx(0, abs=200)
        assert server.connections == 1
