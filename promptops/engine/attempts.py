"""One provider call of a run: its time limits, its result and its record.

An attempt runs in its own task. The task ends when its time is up, even if nobody reads the run's events. It is
canceled, and its sockets are closed, when the run is given up or another attempt wins. `runs.py` decides which provider
is called and what follows an error; that does not belong here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TypeAlias, cast

from promptops.engine import http
from promptops.engine.answers import Reading, read_answer
from promptops.engine.contracts import Contract
from promptops.engine.contracts.checking import read_by_contract
from promptops.engine.costs import cost_of, estimated_usage
from promptops.engine.errors import (
    LLMContractError,
    LLMEmptyError,
    LLMInterruptedError,
    LLMMalformedError,
    LLMProviderError,
    LLMRefusedError,
    LLMTimeoutError,
    LLMTransportError,
    LLMUnexpectedError,
)
from promptops.engine.events import Delivery
from promptops.engine.health import HealthRegistry, Permit
from promptops.engine.types import (
    Attempt,
    LLMProvider,
    LLMRequest,
    LLMResponse,
    Outcome,
    StreamingProvider,
    TextChunk,
    Thinking,
    Usage,
)

CLOSING_SECONDS = 0.04
"""The longest time that a run waits for a stopped attempt to close its connection. A run ends at most 50 ms after its
deadline; this leaves 10 ms for the rest."""

MAX_REFUSAL_CHARS = 300
"""The longest part of a model's refusal that goes into a message: the reason is in the first sentences."""

stopping: set[asyncio.Task[None]] = set()
"""Stopped attempts that have not ended yet. The reference keeps the garbage collector from removing them."""

_BILLED = frozenset({"timeout", "transport", "empty", "truncated", "malformed"})
"""Errors after which a call is billed, because the provider worked on it."""


class Candidate:
    """A provider of a run, and the key of its health record.

    `paused_until` is the loop time before which the run does not call it again. It is set for a retry and `None`
    otherwise. `limit` is the largest number of calls at once.
    """

    paused_until: float | None = None

    def __init__(self, provider: LLMProvider, key: str) -> None:
        self.provider = provider
        self.key = key
        self.limit: int | None = getattr(provider, "max_concurrent", None)


class RunningAttempt:
    """One provider call in its own task."""

    response: LLMResponse | None = None
    won = False
    closing = False
    _error: LLMProviderError | None = None
    _timeout: LLMTimeoutError | None = None
    _silence_timer: asyncio.TimerHandle | None = None
    _first_text: float | None = None
    _last_life: float | None = None
    _ended: float | None = None
    _is_complete = False
    _stopped = False

    def __init__(
        self,
        candidate: Candidate,
        request: LLMRequest,
        *,
        index: int,
        health: HealthRegistry,
        permit: Permit,
        run_started: float,
        share: float,
        delivery: Delivery,
        happened: asyncio.Queue[Happening],
        queued: float,
        hedge: bool,
        repair: bool,
    ) -> None:
        self.candidate = candidate
        self.index = index
        self._provider = provider = candidate.provider
        self.name = provider.name
        self.model: str = getattr(provider, "model", None) or request.model
        self._first_text_ms: int | None = getattr(provider, "first_text_ms", None)
        self._stall_ms: int | None = getattr(provider, "stall_ms", None)
        self._hands_on = delivery == "stream"
        self.streamed = self._is_streamed(request)
        self._limit = share
        for limit_ms in (getattr(provider, "timeout_ms", None), request.timeout_ms):
            if limit_ms is not None and limit_ms / 1000 < self._limit:
                self._limit = limit_ms / 1000
        self._request = replace(request, timeout_ms=max(1, math.ceil(self._limit * 1000)))
        self._health = health
        self._permit = permit
        self._happened = happened
        self._queued = queued
        self._hedge = hedge
        self._repair = repair
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._run_started = run_started
        self._started = self._clock()
        self._connected: list[float] = []
        self._text: list[str] = []
        self.task = self._loop.create_task(self._run())
        self._timer = self._loop.call_at(self._started + self._limit, self._time_up)
        if self.streamed and self._first_text_ms is not None:
            self._limit_silence(self._started, self._first_text_ms)

    @property
    def has_text(self) -> bool:
        """Return whether text has arrived, handed on or not."""
        return self._first_text is not None

    @property
    def handed_on(self) -> bool:
        """Return whether a part of the answer was handed on. No other answer may follow then."""
        return self._hands_on and self.has_text

    def error(self) -> LLMProviderError:
        """Return the error of an attempt without a response."""
        error = self._error or self._timeout_error()
        if not self.handed_on or self._is_complete:
            return error
        interrupted = LLMInterruptedError(f"{self.name} stopped in the middle of its answer: {error}")
        interrupted.__cause__ = error
        return interrupted

    def stop(self) -> None:
        """Cancel the call. Nothing that it does from now on counts."""
        if self._ended is not None:
            return
        self._end()
        self._health.canceled(self._permit)
        self._stopped = self.closing = True
        self.task.cancel()
        stopping.add(self.task)
        self.task.add_done_callback(stopping.discard)

    # The record

    def record(self) -> Attempt:
        """Return the record of this attempt."""
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
            repair=self._repair,
        )

    def _usage(self) -> tuple[Usage | None, bool]:
        """Return the tokens that were used, and whether they are an estimate."""
        known = self.response.usage if self.response else self._error.usage if self._error else None
        if known is not None:
            return known, False
        if self.response is not None or self._is_complete:
            return estimated_usage(self._request, "".join(self._text)), True
        worked = self._error is None or self._error.kind in _BILLED
        if worked and (self._connected or self._text):
            return estimated_usage(self._request, "".join(self._text)), True
        return None, False

    # Time

    def _time_up(self) -> None:
        self._give_up(self._timeout_error())

    def _give_up(self, error: LLMTimeoutError) -> None:
        self._timeout = error
        self._cancel_timers()
        self.task.cancel()
        self._timer = self._loop.call_later(CLOSING_SECONDS, self._overdue)

    def _overdue(self) -> None:
        """Continue without a call that did not stop when its time was up."""
        self._error = self._timeout_error()
        self._settle()
        self.stop()
        self.closing = False  # its time to close the connection is over
        self._happened.put_nowait((self, None))

    def _alive(self) -> None:
        """Note that the model wrote or reasoned. From now on its pauses are limited, no longer its first text."""
        was_silent, self._last_life = self._last_life is None, self._clock()
        if was_silent:
            if self._silence_timer is not None:
                self._silence_timer.cancel()
            if self._stall_ms is not None:
                self._limit_silence(self._last_life, self._stall_ms)

    def _limit_silence(self, since: float, limit_ms: int) -> None:
        self._silence_timer = self._loop.call_at(since + limit_ms / 1000, self._silence_over, since, limit_ms)

    def _silence_over(self, since: float, limit_ms: int) -> None:
        """Give up, unless the model was active meanwhile. Checks once per limit: a timer per token costs more."""
        if self._last_life is not None and self._last_life > since:
            self._limit_silence(self._last_life, limit_ms)
            return
        what = "did not begin its answer within" if self._last_life is None else "paused in its answer for more than"
        self._give_up(LLMTimeoutError(f"{self.name} {what} {limit_ms / 1000:g} s"))

    def _cancel_timers(self) -> None:
        self._timer.cancel()
        if self._silence_timer is not None:
            self._silence_timer.cancel()

    def _end(self) -> None:
        self._ended = self._clock()
        self._cancel_timers()

    # The call

    async def _run(self) -> None:
        http.connected_at.set(self._connected)
        response: LLMResponse | None = None
        error: LLMProviderError | None = None
        try:
            response = await (self._read_stream() if self.streamed else self._complete())
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
        if self._timeout is not None:
            response, error, self._is_complete = None, self._timeout, False
        self.response, self._error = response, error
        self._settle()
        self._happened.put_nowait((self, None))

    def _settle(self) -> None:
        """Report to the provider's health how the call ended."""
        if self._error is not None:
            self._health.failed(self._permit, self._error, self._provider)
        elif self.response is not None:
            answered = (self._first_text or self._ended or 0.0) - self._started
            self._health.succeeded(
                self._permit,
                latency_ms=answered * 1000,
                streamed=self.streamed,
                retry_after_s=self.response.retry_after_s,
            )

    def _is_streamed(self, request: LLMRequest) -> bool:
        """Return whether to request a stream: to hand its pieces on, or to notice a silence."""
        if not self._hands_on and self._first_text_ms is None and self._stall_ms is None:
            return False
        # No isinstance: checking against a protocol takes a tenth of a whole call's CPU time.
        if not callable(getattr(self._provider, "stream", None)):
            return False
        can_stream = getattr(self._provider, "can_stream", None)
        return self._hands_on or can_stream is None or can_stream(request)

    async def _complete(self) -> LLMResponse:
        response = await self._read(await self._provider.complete(self._request))
        if self._hands_on:
            self._happened.put_nowait((self, TextChunk(response.content)))
        return response

    async def _read_stream(self) -> LLMResponse:
        events = cast(StreamingProvider, self._provider).stream(self._request)
        try:
            async for event in events:
                if isinstance(event, TextChunk):
                    if event.text:
                        self._take(event)
                elif isinstance(event, Thinking):
                    self._alive()
                else:
                    return await self._read(event)
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()
        raise LLMTransportError(f"{self.name} broke off its answer before the end")

    def _take(self, chunk: TextChunk) -> None:
        self._alive()
        self._first_text = self._first_text or self._last_life
        self._text.append(chunk.text)
        if self._hands_on:
            self._happened.put_nowait((self, chunk))

    # The answer

    async def _read(self, response: object) -> LLMResponse:
        """Return the response with its answer as read. Raises an `LLMProviderError` for an unusable answer."""
        if not isinstance(response, LLMResponse):
            raise LLMMalformedError(f"{self.name} returned {type(response).__name__}, not an LLMResponse")
        self._is_complete = True
        written = response.raw or response.content
        self._text = [written]
        text, data, request = response.content, None, self._request
        reading: Reading | None = None
        if request.contract is not None:
            reading = await self._checked(request.contract, response, written)
        elif request.answer is not None and not request.json_mode:
            reading = read_answer(written, request.answer)
        if reading is not None:
            text, data = reading.text, reading.data
        if reading is not None and reading.refusal:
            raise self._counted(LLMRefusedError(f"{self.name} refused: {_shortened(text or written)}"), response)
        if not text.strip():
            raise self._counted(LLMEmptyError(f"{self.name} sent an empty answer"), response)
        if (text, written, data) == (response.content, response.raw, None):
            return response
        return replace(response, content=text, raw=written, data=data)

    async def _checked(self, contract: Contract, response: LLMResponse, written: str) -> Reading:
        try:
            return await read_by_contract(contract, written, provider=self.name, truncated=response.truncated)
        except LLMContractError as breach:
            raise self._counted(breach, response) from None

    def _counted(self, error: LLMProviderError, response: LLMResponse) -> LLMProviderError:
        """Return `error` with the usage and the cooldown that came with the answer."""
        error.usage, error.retry_after_s = response.usage, response.retry_after_s
        return error

    def _timeout_error(self) -> LLMTimeoutError:
        return self._timeout or LLMTimeoutError(
            f"{self.name} did not answer within {max(0, round(self._limit, 3)):g} s"
        )

    def _unexpected(self, exc: BaseException) -> LLMUnexpectedError:
        message = f"{self.name} failed with {type(exc).__name__}: {exc}"
        key = getattr(self._provider, "api_key", None)
        error = LLMUnexpectedError(message.replace(key, "[key]") if isinstance(key, str) and key else message)
        error.__cause__ = exc
        return error


def _shortened(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= MAX_REFUSAL_CHARS else words[:MAX_REFUSAL_CHARS] + "…"


Happening: TypeAlias = tuple[RunningAttempt | None, TextChunk | None]
"""An event of a run: an attempt with a piece of text, or without text at its end. No attempt means time for a hedge."""
