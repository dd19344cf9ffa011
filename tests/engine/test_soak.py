"""Thousands of runs over flapping providers, seeded: every run counted, nothing leaked, constant memory.

The clocks are injected: `TimelessLoop` jumps to the next timer instead of waiting for it, so an hour passes in seconds.
The runs over real sockets use the real clock.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import selectors
import tracemalloc
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest

from promptops.engine import (
    Attempt,
    HealthRegistry,
    HedgePolicy,
    LLMAuthError,
    LLMBadRequestError,
    LLMProvider,
    LLMProviderError,
    LLMRateLimitedError,
    LLMRequest,
    LLMResponse,
    LLMServerError,
    OpenAICompatibleProvider,
    Prices,
    RunDone,
    TextChunk,
    Usage,
    close_client,
    run_chain,
)
from promptops.engine.attempts import stopping
from tests.engine.helpers import (
    STREAM_END,
    STREAM_HEAD,
    Loopback,
    ask,
    delta,
    event,
    http_answer,
    loopback,
    part,
)

SEED = int(os.environ.get("SOAK_SEED", "20261122"))
MAX_GROWTH = 10 * 1024 * 1024
"""The most bytes by which memory may grow from the first tenth of a soak to its end."""


class _Jumping(selectors.DefaultSelector):
    """Never waits, but adds the time to `now`."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class TimelessLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when no task is ready."""

    def __init__(self) -> None:
        self.jumping = _Jumping()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


class Flapping:
    """A provider that works for a while, then fails in one of many ways, again and again."""

    def __init__(self, name: str, dice: random.Random, clock: Callable[[], float]) -> None:
        self.name = name
        self.prices = Prices(1.0, 0.1, 2.0)
        self.max_concurrent = dice.choice([None, 2, 8])
        self.first_text_ms, self.stall_ms = dice.choice([(None, None), (500, None), (None, 300), (400, 200)])
        self._dice = dice
        self._clock = clock
        self._mood = "well"
        self._changes_at = 0.0
        self.calls = self.ended = 0

    async def stream(self, request: LLMRequest):
        self.calls += 1
        try:
            await asyncio.sleep(self._dice.expovariate(20))
            match self._now():
                case "limited":
                    error = LLMRateLimitedError(f"{self.name} answered with status 429", status=429)
                    error.retry_after_s = self._dice.choice([None, 0.5, 3, 60])
                    raise error
                case "down":
                    raise LLMServerError(f"{self.name} answered with status 503", status=503)
                case "silent":
                    await asyncio.sleep(3600)
                case "odd":
                    raise self._dice.choice([ValueError("boom"), asyncio.CancelledError(), KeyError("x")])
                case "refusing":
                    raise self._dice.choice([LLMAuthError, LLMBadRequestError])(f"{self.name} refused")
                case "empty":
                    yield LLMResponse(" ", self.name, "m", 1.0)
                    return
                case "cut":
                    yield TextChunk("half ")
                    return
                case "stubborn":
                    try:
                        await asyncio.sleep(3600)
                    except asyncio.CancelledError:
                        await asyncio.sleep(0.2)
            for word in ("a ", "red ", "fox"):
                yield TextChunk(word)
                await asyncio.sleep(self._dice.expovariate(50))
            yield LLMResponse("a red fox", self.name, "m", 1.0, usage=Usage(10, 3))
        finally:
            self.ended += 1

    async def complete(self, request: LLMRequest) -> LLMResponse:
        async with aclosing(self.stream(request)) as events:
            async for happened in events:
                if isinstance(happened, LLMResponse):
                    return happened
        raise LLMServerError(f"{self.name} broke off")

    def _now(self) -> str:
        if self._clock() >= self._changes_at:
            moods = ["well"] * 6 + ["limited", "down", "silent", "odd", "refusing", "empty", "cut", "stubborn"]
            self._mood = self._dice.choice(moods)
            self._changes_at = self._clock() + self._dice.uniform(1, 60)
        return self._mood


async def one_run(
    providers: list[LLMProvider],
    health: HealthRegistry,
    dice: random.Random,
    *,
    timeout_ms: int,
    patience: float,
    stream: bool = True,
) -> str:
    """Make a run, which its caller sometimes cancels. Check its records and return its result."""
    clock = asyncio.get_running_loop().time
    started, attempts, text = clock(), list[Attempt](), ""
    hedge = dice.choice([None, HedgePolicy(), HedgePolicy(0, budget=0.5)])
    ended, response, error = "given up", None, None
    chain = run_chain(
        ask(max_tokens=64),
        providers,
        timeout_ms=timeout_ms,
        delivery="stream" if stream else "whole",
        attempts=attempts,
        health=health,
        hedge=hedge,
    )
    try:
        async with asyncio.timeout(patience if dice.random() < 0.1 else None), aclosing(chain) as events:
            async for happened in events:
                if isinstance(happened, TextChunk):
                    text += happened.text
                elif isinstance(happened, RunDone):
                    ended, response = "succeeded", happened.response
    except LLMProviderError as failure:
        ended, error = "failed", failure
    except TimeoutError:
        pass
    outcomes = Counter(attempt.outcome for attempt in attempts)
    assert outcomes["succeeded"] == (ended == "succeeded")
    if response is not None:
        assert response.content == "a red fox"
        assert text in ("", "a red fox")
        assert response.attempts == tuple(attempts)
        assert response.cost == pytest.approx(sum(attempt.cost or 0 for attempt in attempts))
    if error is not None:
        assert error.attempts == tuple(attempts)
    return f"{ended} after {clock() - started <= timeout_ms / 1000 + 0.05}"


async def many(runs: int, at_once: int, run: Callable[[], Coroutine[Any, Any, str]]) -> Counter[str]:
    """Make `runs` runs, and measure the growth of memory."""
    ends: Counter[str] = Counter()
    waiting, early = iter(range(runs)), 0

    async def worker() -> None:
        nonlocal early
        for number in waiting:
            ends[await run()] += 1
            if number == runs // 10:
                gc.collect()
                early = tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        await asyncio.gather(*(worker() for _ in range(at_once)))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - early < MAX_GROWTH
    finally:
        tracemalloc.stop()
    return ends


def soak(runs: int) -> None:
    """Soak the chain with scripted providers and injected clocks."""

    async def main() -> None:
        dice, clock = random.Random(SEED), asyncio.get_running_loop().time
        health = HealthRegistry(clock=clock, wall_clock=clock)
        providers = [Flapping(name, dice, clock) for name in ("one", "two", "three")]

        async def run() -> str:
            await asyncio.sleep(dice.expovariate(5))
            timeout_ms, stream = dice.choice([300, 2000, 20_000]), dice.random() < 0.7
            return await one_run(providers, health, dice, timeout_ms=timeout_ms, patience=0.2, stream=stream)

        ends = await many(runs, 20, run)
        assert sum(ends.values()) == runs
        assert {end.rsplit(" ", 1)[1] for end in ends} == {"True"}  # none ended later than 50 ms after its deadline
        assert ends["succeeded after True"] > runs / 2
        await asyncio.sleep(1)  # for those that took their time to stop
        assert [provider.calls for provider in providers] == [provider.ended for provider in providers]
        assert [health.view(provider.name).in_flight for provider in providers] == [0, 0, 0]
        assert not health._waiters
        assert not [task for task in stopping if task.get_loop() is asyncio.get_running_loop()]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=TimelessLoop) as runner:
        runner.run(main())


async def soak_sockets(runs: int) -> None:
    """Soak the chain with real, flapping servers on loopback."""
    dice = random.Random(SEED)
    good = STREAM_HEAD + part(delta("a red ")) + part(delta("fox", "stop")) + part(event("[DONE]")) + STREAM_END

    async def respond(writer: asyncio.StreamWriter) -> None:
        for server in servers:
            server.requests.clear()  # nobody looks at them, and they would grow
        match dice.choice(["well"] * 6 + ["down", "limited", "cut", "abort", "silent", "malformed"]):
            case "well":
                writer.write(good)
            case "down":
                writer.write(http_answer({"error": "down"}, 503))
            case "limited":
                writer.write(
                    http_answer({"error": "slow down"}, 429).replace(b"X\r\n", b"X\r\nRetry-After-Ms: 20\r\n", 1)
                )
            case "cut":
                writer.write(good[: dice.randrange(len(good))])
                writer.close()
            case "abort":
                writer.transport.abort()
            case "silent":
                await asyncio.sleep(30)
            case "malformed":
                writer.write(http_answer(b"<html>"))

    servers: list[Loopback] = []
    async with AsyncExitStack() as stack:
        for _ in range(3):
            servers.append(await stack.enter_async_context(loopback(respond)))
        before = asyncio.all_tasks()
        health = HealthRegistry()
        providers = [
            OpenAICompatibleProvider(server.url, f"p{n}", prices=Prices(1, None, 1), timeout_ms=60)
            for n, server in enumerate(servers)
        ]
        ends = await many(
            runs, 20, lambda: one_run(providers, health, dice, timeout_ms=dice.choice([80, 300]), patience=0.005)
        )
        assert sum(ends.values()) == runs
        assert [health.view(provider.name).in_flight for provider in providers] == [0, 0, 0]
        await close_client()
        for server in servers:
            await server.wait_closed()
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() - before == set()


def test_a_short_soak():
    soak(300)


async def test_a_short_soak_over_sockets():
    await soak_sockets(150)


@pytest.mark.proof
def test_soak():
    soak(20_000)


@pytest.mark.proof
async def test_soak_over_sockets():
    await soak_sockets(5_000)
