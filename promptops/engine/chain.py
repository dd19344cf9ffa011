"""Ordered attempts under one deadline.

A run asks its providers one after the other until one answers; `policies.py` says what follows an error, `health.py`
who may be asked. Each attempt runs in a task of its own that ends by itself when its time is up, also when nobody is
reading the run's events, and that is canceled, sockets closed, when the run is given up or another attempt wins.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast

from promptops.engine import http
from promptops.engine.costs import cost_of, estimated_usage
from promptops.engine.errors import (
    LLMBusyError,
    LLMEmptyError,
    LLMInterruptedError,
    LLMMalformedError,
    LLMProviderError,
    LLMTimeoutError,
    LLMTransportError,
    LLMUnexpectedError,
)
from promptops.engine.health import HealthRegistry, Permit
from promptops.engine.policies import LARGER_LIMIT_FACTOR, may_follow, policy_for
from promptops.engine.types import (
    Attempt,
    LLMProvider,
    LLMRequest,
    LLMResponse,
    Outcome,
    StreamingProvider,
    TextChunk,
    Usage,
)

CLOSING_SECONDS = 0.04
"""How long an attempt that was told to stop may take to close its connection before the run goes on without it. A run
ends at most 50 ms after its deadline; this leaves 10 ms for the rest."""


@dataclass(frozen=True)
class AttemptStarted:
    """A provider is being asked; `index` counts the run's attempts from 0."""

    index: int
    provider: str
    model: str


@dataclass(frozen=True)
class AttemptFailed:
    """A provider gave no answer; `falling_back` says whether another one is, or is being, asked."""

    index: int
    attempt: Attempt
    falling_back: bool


@dataclass(frozen=True)
class RunDone:
    """The run has its answer. The text in `response` is the one that counts, whatever pieces came before."""

    response: LLMResponse


Delivery: TypeAlias = Literal["stream", "whole"]
"""How an answer is handed over: in pieces as they come, or whole."""

ChainEvent: TypeAlias = AttemptStarted | AttemptFailed | TextChunk | RunDone


@dataclass(frozen=True)
class HedgePolicy:
    """When to start the next provider beside one that is slow.

    `delay_ms` is how long the first one has for its first text, or for its answer when it is not streamed; `None` is
    the 95th percentile of its own latest latencies (no hedge while they are too few), 0 is a race. `budget` is how
    many extra calls there may be for each run, shared by all runs with the same `HealthRegistry`.
    """

    delay_ms: int | None = None
    budget: float = 0.10


async def run_chain(
    request: LLMRequest,
    providers: Sequence[LLMProvider],
    *,
    timeout_ms: int,
    stream: bool = True,
    delivery: Delivery = "stream",
    attempts: list[Attempt] | None = None,
    health: HealthRegistry | None = None,
    hedge: HedgePolicy | None = None,
) -> AsyncGenerator[ChainEvent, None]:
    """Ask `providers` in order until one answers, and tell what happens as it happens; `RunDone` comes last.

    `timeout_ms` is the deadline of the whole run. An attempt gets its provider's own `timeout_ms`, and at most an
    equal share of what is left for it and the providers after it that may be asked. A retryable error moves on to the
    next provider; any other one, and any error after the first text was handed on, ends the run; `policies.POLICIES`
    has the exceptions. A provider that has `stream` is streamed, unless `stream` is false; of the others the text
    comes in one piece. With `delivery` "whole" the text comes with `RunDone` alone.

    `health` is shared between runs: providers that it blocks are passed over, and a run waits for a full one, or for
    the end of a cooldown, within its deadline when there is nobody else to ask. Without it every provider may be
    asked. With `hedge` the next provider is started beside one that is slow; the first text wins.

    When the run ends, its attempts are added to `attempts` in the order of their start, those that were given up
    included. Read the events inside `contextlib.aclosing`, so that leaving early closes the connection at once.

    Raises the last `LLMProviderError`, with all attempts in its `attempts`, and `ValueError` without providers.
    """
    if not providers:
        raise ValueError("A run needs at least one provider")
    run = _Run(request, providers, timeout_ms=timeout_ms, stream=stream, health=health, hedge=hedge)
    try:
        yield await run.start_next()
        run.plan_hedge()
        while True:
            attempt, chunk = await run.happened.get()
            if attempt is None:
                if (hedged := run.start_hedge()) is not None:
                    yield hedged
            elif attempt not in run.running:
                continue  # another one won meanwhile
            elif chunk is not None:
                run.let_win(attempt)
                if delivery == "stream":
                    yield chunk
            elif attempt.response is not None:
                run.let_win(attempt)
                await run.close()
                yield RunDone(run.done(attempt, attempt.response))
                return
            else:
                run.lose(attempt)
                falling_back = run.goes_on()
                yield AttemptFailed(attempt.index, attempt.record(), falling_back)
                if not falling_back:
                    raise run.final(attempt.error())
                if not run.running:
                    yield await run.start_next()
    finally:
        try:
            await run.close()
        finally:
            if attempts is not None:
                attempts.extend(run.records())


async def complete_chain(
    request: LLMRequest,
    providers: Sequence[LLMProvider],
    *,
    timeout_ms: int,
    attempts: list[Attempt] | None = None,
    health: HealthRegistry | None = None,
    hedge: HedgePolicy | None = None,
) -> LLMResponse:
    """The answer of `run_chain` without streaming. Takes and raises what it does."""
    chain = run_chain(
        request, providers, timeout_ms=timeout_ms, stream=False, attempts=attempts, health=health, hedge=hedge
    )
    async with aclosing(chain) as events:
        async for event in events:
            if isinstance(event, RunDone):
                return event.response
    raise AssertionError("a run ends with an answer or an error")


class _Candidate:
    """A provider of a run, and the key of its health."""

    def __init__(self, provider: LLMProvider, key: str) -> None:
        self.provider = provider
        self.key = key
        self.limit: int | None = getattr(provider, "max_concurrent", None)


class _Run:
    """One run: who is still to be asked, and who is being asked."""

    def __init__(
        self,
        request: LLMRequest,
        providers: Sequence[LLMProvider],
        *,
        timeout_ms: int,
        stream: bool,
        health: HealthRegistry | None,
        hedge: HedgePolicy | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._deadline = self._started + timeout_ms / 1000
        self._request = request
        self._stream = stream
        self._health = health or HealthRegistry()
        # A health of the run's own must not confuse providers that happen to have the same name.
        self._waiting = [
            _Candidate(provider, provider.name if health else str(index)) for index, provider in enumerate(providers)
        ]
        self._first = self._waiting[0]
        self._hedge = hedge
        self._hedge_timer: asyncio.TimerHandle | None = None
        self._attempts: list[_RunningAttempt] = []
        self.running: list[_RunningAttempt] = []
        self._error: LLMProviderError | None = None
        self._retried = False
        self.happened: asyncio.Queue[_Happening] = asyncio.Queue()

    async def close(self) -> None:
        """Stop what is still under way, and let it close its connections."""
        if self._hedge_timer is not None:
            self._hedge_timer.cancel()
        self._stop(self.running)
        closing = [attempt for attempt in self._attempts if attempt.closing]
        if closing:
            await asyncio.wait({attempt.task for attempt in closing}, timeout=CLOSING_SECONDS)
        for attempt in closing:
            attempt.closing = False

    def records(self) -> tuple[Attempt, ...]:
        """What is kept of the attempts, in the order of their start."""
        return tuple(attempt.record() for attempt in self._attempts)

    # Who is asked

    async def start_next(self) -> AttemptStarted:
        """Start the next provider that may be asked, after waiting for one if need be."""
        began = self._loop.time()
        candidate, permit = await self._next()
        return self._start(candidate, permit, queued=self._loop.time() - began)

    async def _next(self) -> tuple[_Candidate, Permit]:
        """The first provider that may be asked; one behind an open breaker is the last resort."""
        while True:
            for last_resort in (False, True):
                if found := self._admitted(last_resort=last_resort):
                    return found
                if awaited := self._awaited(last_resort=last_resort):
                    break
            else:
                raise self.final(self._error or self._busy())
            if found := await self._wait(awaited):
                return found
            if self._loop.time() >= self._deadline:
                raise self.final(self._error or self._busy())

    def _admitted(self, *, last_resort: bool = False) -> tuple[_Candidate, Permit] | None:
        for candidate in self._waiting:
            permit = self._health.admit(candidate.key, candidate.limit, last_resort=last_resort)
            if permit is not None:
                return candidate, permit
        return None

    def _awaited(self, *, last_resort: bool = False) -> dict[str, tuple[_Candidate, float]]:
        """Those that may be asked before the deadline, when they have room and their cooldown, in seconds, is over."""
        left = self._deadline - self._loop.time()
        waiting = {
            each.key: (each, self._health.blocked_for(each.key, last_resort=last_resort)) for each in self._waiting
        }
        return {key: (each, cooldown) for key, (each, cooldown) in waiting.items() if cooldown < left}

    async def _wait(self, awaited: dict[str, tuple[_Candidate, float]]) -> tuple[_Candidate, Permit] | None:
        """Wait for one to have room, at most until the next cooldown ends."""
        left = self._deadline - self._loop.time()
        permit = await self._health.wait(list(awaited), min([left, *(end for _, end in awaited.values() if end > 0)]))
        return (awaited[permit.key][0], permit) if permit else None

    def _busy(self) -> LLMBusyError:
        """The error of a run that could ask nobody."""
        reasons = []
        for candidate in self._waiting:
            view = self._health.view(candidate.key)
            cooling = f"is cooling down for {math.ceil(view.cooldown_left_ms / 1000)} s"
            full = f"has its {candidate.limit} calls under way"
            reasons.append(f"{candidate.provider.name} {cooling if view.cooldown_left_ms else full}")
        return LLMBusyError(f"No provider could be asked within the deadline: {', '.join(reasons)}")

    # Attempts

    def _start(
        self, candidate: _Candidate, permit: Permit, *, queued: float = 0.0, hedge: bool = False
    ) -> AttemptStarted:
        self._waiting.remove(candidate)
        others = sum(not self._health.blocked_for(other.key) for other in self._waiting)
        attempt = _RunningAttempt(
            candidate,
            self._request,
            index=len(self._attempts),
            health=self._health,
            permit=permit,
            run_started=self._started,
            share=(self._deadline - self._loop.time()) / (1 + others),
            stream=self._stream,
            happened=self.happened,
            queued=queued,
            hedge=hedge,
        )
        self._attempts.append(attempt)
        self.running.append(attempt)
        return AttemptStarted(attempt.index, attempt.name, attempt.model)

    def let_win(self, winner: _RunningAttempt) -> None:
        winner.won = True
        if len(self.running) > 1:
            self._stop([attempt for attempt in self.running if attempt is not winner])

    def lose(self, attempt: _RunningAttempt) -> None:
        """Leave an attempt behind, with everybody who may not answer after its error."""
        error = attempt.error()
        self._error = error
        self.running.remove(attempt)
        failed = attempt.candidate.provider
        self._waiting = [other for other in self._waiting if may_follow(error, failed, other.provider)]
        self._stop([other for other in self.running if not may_follow(error, failed, other.candidate.provider)])
        limit = self._request.max_tokens
        if policy_for(error).retry and limit and not (self._waiting or self.running or self._retried):
            self._retried = True
            self._request = replace(self._request, max_tokens=limit * LARGER_LIMIT_FACTOR)
            self._waiting = [attempt.candidate]

    def goes_on(self) -> bool:
        """Whether another provider is, or can still be, asked."""
        return bool(self.running or self._awaited(last_resort=True))

    def _stop(self, attempts: list[_RunningAttempt]) -> None:
        for attempt in attempts:
            attempt.stop()
        self.running = [attempt for attempt in self.running if attempt not in attempts]

    # Hedging

    def plan_hedge(self) -> None:
        if self._hedge is None or not self._waiting:
            return
        self._health.count_call(self._hedge.budget)
        delay_ms: float | None = self._hedge.delay_ms
        if delay_ms is None:
            delay_ms = self._health.p95_ms(self._attempts[0].candidate.key, streamed=self._attempts[0].streamed)
        if delay_ms is not None:
            when = self._loop.time() + delay_ms / 1000
            self._hedge_timer = self._loop.call_at(when, self.happened.put_nowait, (None, None))

    def start_hedge(self) -> AttemptStarted | None:
        """Start the next provider beside the first one, if that is still silent and the budget allows it."""
        if len(self._attempts) > 1 or not self.running or self.running[0].won:
            return None
        found = self._admitted()
        if found is None:
            return None
        candidate, permit = found
        if not self._health.take_hedge():
            self._health.canceled(permit)
            return None
        return self._start(candidate, permit, hedge=True)

    # How it ends

    def done(self, winner: _RunningAttempt, response: LLMResponse) -> LLMResponse:
        attempts = self.records()
        costs = [attempt.cost for attempt in attempts if attempt.cost is not None]
        return replace(
            response,
            fallback_used=response.fallback_used or winner.candidate is not self._first,
            attempts=attempts,
            cost=sum(costs) if costs else None,
            cost_estimated=any(attempt.cost_estimated for attempt in attempts),
        )

    def final(self, error: LLMProviderError) -> LLMProviderError:
        error.attempts = self.records()
        return error


_hung: set[asyncio.Task[None]] = set()
"""Attempts that were told to stop; kept so that they are not collected before they end."""

_BILLED = frozenset({"timeout", "transport", "empty", "truncated", "malformed"})
"""Errors of calls that the provider worked on, so that they cost something."""


class _RunningAttempt:
    """One provider call in a task of its own."""

    def __init__(
        self,
        candidate: _Candidate,
        request: LLMRequest,
        *,
        index: int,
        health: HealthRegistry,
        permit: Permit,
        run_started: float,
        share: float,
        stream: bool,
        happened: asyncio.Queue[_Happening],
        queued: float,
        hedge: bool,
    ) -> None:
        self.candidate = candidate
        self.index = index
        self._provider = provider = candidate.provider
        self.name = provider.name
        self.model: str = getattr(provider, "model", None) or request.model
        # Not by isinstance: against a protocol that takes a tenth of a whole call's CPU time.
        self.streamed = stream and callable(getattr(provider, "stream", None))
        self.response: LLMResponse | None = None
        self.won = False
        self.closing = False
        limits_ms = [getattr(provider, "timeout_ms", None), request.timeout_ms]
        self._limit = min([share, *(limit / 1000 for limit in limits_ms if limit is not None)])
        self._request = replace(request, timeout_ms=max(1, math.ceil(self._limit * 1000)))
        self._stream = stream
        self._health = health
        self._permit = permit
        self._happened = happened
        self._queued = queued
        self._hedge = hedge
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._run_started = run_started
        self._started = self._clock()
        self._error: LLMProviderError | None = None
        self._connected: list[float] = []
        self._first_text: float | None = None
        self._text: list[str] = []
        self._ended: float | None = None
        self._stopped = False
        self.task = asyncio.create_task(self._run())
        self._timed_out = False
        self._timer = loop.call_at(self._started + self._limit, self._time_up)

    def error(self) -> LLMProviderError:
        """The error of an attempt that brought no response."""
        error = self._error or self._timeout_error()
        if self._first_text is None:
            return error
        interrupted = LLMInterruptedError(f"{self.name} stopped in the middle of its answer: {error}")
        interrupted.__cause__ = error
        return interrupted

    def stop(self) -> None:
        """Cancel the call; nothing that it does from now on counts."""
        if self._ended is not None:
            return
        self._end()
        self._health.canceled(self._permit)
        self._stopped = self.closing = True
        self.task.cancel()
        _hung.add(self.task)
        self.task.add_done_callback(_hung.discard)

    def record(self) -> Attempt:
        """What is kept of this attempt."""
        outcome: Outcome = "canceled"
        error: LLMProviderError | None = None
        if self.won and self.response is not None:
            outcome = "succeeded"
        elif self._error is not None:
            outcome, error = "failed", self.error()
        usage, estimated = self._usage()
        cost = cost_of(usage, getattr(self._provider, "prices", None))
        return Attempt(
            provider=self.name,
            model=self.model,
            outcome=outcome,
            error_kind=error.kind if error else None,
            message=str(error) if error else None,
            started_ms=(self._started - self._run_started) * 1000,
            first_text_ms=(self._first_text - self._run_started) * 1000 if self._first_text is not None else None,
            latency_ms=((self._ended or self._clock()) - self._started) * 1000,
            usage=usage,
            status=self._error.status if self._error else None,
            queued_ms=self._queued * 1000,
            connect_ms=(self._connected[0] - self._started) * 1000 if self._connected else None,
            usage_estimated=estimated,
            cost=cost,
            cost_estimated=estimated and cost is not None,
            answered_model=self.response.answered_model if self.response else None,
            finish_reason=self.response.finish_reason if self.response else None,
            truncated=self.response.truncated if self.response else False,
            hedge=self._hedge,
        )

    def _usage(self) -> tuple[Usage | None, bool]:
        """What was used, and whether that is an estimate."""
        known = self.response.usage if self.response else self._error.usage if self._error else None
        if known is not None:
            return known, False
        if self.response is not None:
            return estimated_usage(self._request, self.response.content), True
        worked = self._error is None or self._error.kind in _BILLED
        if worked and (self._connected or self._text):
            return estimated_usage(self._request, "".join(self._text)), True
        return None, False

    def _end(self) -> None:
        self._ended = self._clock()
        self._timer.cancel()

    def _time_up(self) -> None:
        self._timed_out = True
        self.task.cancel()
        self._timer = asyncio.get_running_loop().call_later(CLOSING_SECONDS, self._overdue)

    def _overdue(self) -> None:
        """The call did not stop when its time was up: go on without it."""
        self._error = self._timeout_error()
        self._settle()
        self.stop()
        self.closing = False  # it had its time for that
        self._happened.put_nowait((self, None))

    async def _run(self) -> None:
        http.connected_at.set(self._connected)
        response: LLMResponse | None = None
        error: LLMProviderError | None = None
        try:
            response = await (self._read_stream() if self._stream else self._complete())
        except LLMProviderError as exc:
            error = exc
        except asyncio.CancelledError as exc:
            if self._stopped:
                raise
            error = self._unexpected(exc)
        except Exception as exc:  # any other exception counts as a retryable error
            error = self._unexpected(exc)
        if self._stopped:
            return
        self._end()
        if self._timed_out:
            response, error = None, self._timeout_error()
        self.response, self._error = response, error
        self._settle()
        self._happened.put_nowait((self, None))

    def _settle(self) -> None:
        """Tell the provider's health how the call ended."""
        if self._error is not None:
            self._health.failed(self._permit, self._error, self._provider)
        elif self.response is not None:
            told = (self._first_text or self._ended or 0.0) - self._started
            self._health.succeeded(
                self._permit,
                latency_ms=told * 1000,
                streamed=self.streamed,
                retry_after_s=self.response.retry_after_s,
            )

    async def _complete(self) -> LLMResponse:
        return self._checked(await self._provider.complete(self._request))

    async def _read_stream(self) -> LLMResponse:
        if not self.streamed:
            response = await self._complete()
            self._happened.put_nowait((self, TextChunk(response.content)))
            return response
        events = cast(StreamingProvider, self._provider).stream(self._request)
        try:
            async for event in events:
                if not isinstance(event, TextChunk):
                    return self._checked(event)
                if event.text:
                    self._first_text = self._first_text or self._clock()
                    self._text.append(event.text)
                    self._happened.put_nowait((self, event))
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()
        raise LLMTransportError(f"{self.name} broke off its answer before the end")

    def _checked(self, response: object) -> LLMResponse:
        if not isinstance(response, LLMResponse):
            raise LLMMalformedError(f"{self.name} gave back {type(response).__name__}, not an LLMResponse")
        if not response.content.strip():
            raise LLMEmptyError(f"{self.name} sent an empty answer")
        return response

    def _timeout_error(self) -> LLMTimeoutError:
        return LLMTimeoutError(f"{self.name} did not answer within {max(0, round(self._limit * 1000))} ms")

    def _unexpected(self, exc: BaseException) -> LLMUnexpectedError:
        message = f"{self.name} failed with {type(exc).__name__}: {exc}"
        key = getattr(self._provider, "api_key", None)
        error = LLMUnexpectedError(message.replace(key, "[key]") if isinstance(key, str) and key else message)
        error.__cause__ = exc
        return error


_Happening: TypeAlias = tuple[_RunningAttempt | None, TextChunk | None]
"""What an attempt tells its run: a piece of text, or that it is over. Without an attempt: it is time for a hedge."""
