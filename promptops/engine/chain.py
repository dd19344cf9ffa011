"""Ordered attempts under one deadline.

A run asks its providers one after the other until one answers. Each attempt runs in a task of its own that ends by
itself when its time is up, also when nobody is reading the run's events, and that is canceled, sockets closed, when
the run is given up.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeAlias

from promptops.engine.errors import (
    LLMEmptyError,
    LLMInterruptedError,
    LLMMalformedError,
    LLMProviderError,
    LLMTimeoutError,
    LLMTransportError,
    LLMUnexpectedError,
)
from promptops.engine.types import (
    Attempt,
    LLMProvider,
    LLMRequest,
    LLMResponse,
    Outcome,
    StreamingProvider,
    TextChunk,
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
    """A provider gave no answer; `falling_back` says whether the next one is asked."""

    index: int
    attempt: Attempt
    falling_back: bool


@dataclass(frozen=True)
class RunDone:
    """The run has its answer. The text in `response` is the one that counts, whatever pieces came before."""

    response: LLMResponse


ChainEvent: TypeAlias = AttemptStarted | AttemptFailed | TextChunk | RunDone


async def run_chain(
    request: LLMRequest,
    providers: Sequence[LLMProvider],
    *,
    timeout_ms: int,
    stream: bool = True,
    attempts: list[Attempt] | None = None,
) -> AsyncGenerator[ChainEvent, None]:
    """Ask `providers` in order until one answers, and tell what happens as it happens; `RunDone` comes last.

    `timeout_ms` is the deadline of the whole run. An attempt gets its provider's own `timeout_ms`, and at most an
    equal share of what is left for it and the providers after it. A retryable error moves on to the next provider;
    any other one, and any error after the first text was handed on, ends the run. A provider that has `stream` is
    streamed, unless `stream` is false; of the others the text comes in one piece.

    Attempts are added to `attempts` as they end, the one that was under way when the run was given up included.
    Read the events inside `contextlib.aclosing`, so that leaving early closes the connection at once.

    Raises the last `LLMProviderError`, with all attempts in its `attempts`, and `ValueError` without providers.
    """
    if not providers:
        raise ValueError("A run needs at least one provider")
    run: list[Attempt] = []
    clock = asyncio.get_running_loop().time
    started = clock()
    deadline = started + timeout_ms / 1000
    for index, provider in enumerate(providers):
        share = (deadline - clock()) / (len(providers) - index)
        running = _RunningAttempt(provider, request, run_started=started, share=share, stream=stream)
        try:
            yield AttemptStarted(index, running.provider, running.model)
            async with aclosing(running.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            try:
                await running.close()
            finally:
                attempt = running.record()
                run.append(attempt)
                if attempts is not None:
                    attempts.append(attempt)
        if running.response is not None:
            fallback_used = index > 0 or running.response.fallback_used
            yield RunDone(replace(running.response, fallback_used=fallback_used, attempts=tuple(run)))
            return
        error = running.final_error()
        falling_back = error.retryable and index + 1 < len(providers) and clock() < deadline
        yield AttemptFailed(index, attempt, falling_back)
        if not falling_back:
            error.attempts = tuple(run)
            raise error


async def complete_chain(
    request: LLMRequest,
    providers: Sequence[LLMProvider],
    *,
    timeout_ms: int,
    attempts: list[Attempt] | None = None,
) -> LLMResponse:
    """The answer of `run_chain` without streaming. Raises what it raises."""
    async with aclosing(
        run_chain(request, providers, timeout_ms=timeout_ms, stream=False, attempts=attempts)
    ) as events:
        async for event in events:
            if isinstance(event, RunDone):
                return event.response
    raise AssertionError("a run ends with an answer or an error")


_hung: set[asyncio.Task[None]] = set()
"""Attempts that did not stop when told to; kept so that they are not collected before they end."""


class _RunningAttempt:
    """One provider call in a task of its own."""

    def __init__(
        self, provider: LLMProvider, request: LLMRequest, *, run_started: float, share: float, stream: bool
    ) -> None:
        limits_ms = [getattr(provider, "timeout_ms", None), request.timeout_ms]
        self._limit = min([share, *(limit / 1000 for limit in limits_ms if limit is not None)])
        self._provider = provider
        self._request = replace(request, timeout_ms=max(1, math.ceil(self._limit * 1000)))
        self._stream = stream
        self.provider = provider.name
        self.model: str = getattr(provider, "model", None) or request.model
        self.response: LLMResponse | None = None
        self._error: LLMProviderError | None = None
        self._clock = asyncio.get_running_loop().time
        self._run_started = run_started
        self._started = self._clock()
        self._deadline = self._started + self._limit
        self._first_text: float | None = None
        self._ended: float | None = None
        self._given_up = False
        self._queue: asyncio.Queue[TextChunk | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())

    async def chunks(self) -> AsyncGenerator[TextChunk, None]:
        """The answer's text; when they end, `response` or `final_error` tells how it went."""
        while True:
            try:
                async with asyncio.timeout_at(self._deadline + CLOSING_SECONDS):
                    chunk = await self._queue.get()
            except TimeoutError:  # the provider did not stop when its time was up
                self._error = self._timeout_error()
                return
            if chunk is None:
                return
            yield chunk

    def final_error(self) -> LLMProviderError:
        """The error of an attempt that brought no response."""
        error = self._error or self._timeout_error()
        if self._first_text is None:
            return error
        interrupted = LLMInterruptedError(f"{self.provider} stopped in the middle of its answer: {error}")
        interrupted.__cause__ = error
        return interrupted

    def record(self) -> Attempt:
        """What is kept of this attempt."""
        outcome: Outcome = "canceled"
        error: LLMProviderError | None = None
        if self.response is not None:
            outcome = "succeeded"
        elif self._error is not None:
            outcome, error = "failed", self.final_error()
        return Attempt(
            provider=self.provider,
            model=self.model,
            outcome=outcome,
            error_kind=error.kind if error else None,
            message=str(error) if error else None,
            started_ms=(self._started - self._run_started) * 1000,
            first_text_ms=(self._first_text - self._run_started) * 1000 if self._first_text is not None else None,
            latency_ms=((self._ended or self._clock()) - self._started) * 1000,
            usage=self.response.usage if self.response else None,
            status=self._error.status if self._error else None,
        )

    async def close(self) -> None:
        """Stop the call and let it close its connection. One that does not stop is left to itself."""
        if self._task.done():
            return
        overdue = self._error is not None
        self._given_up = True
        self._task.cancel()
        _hung.add(self._task)
        self._task.add_done_callback(_hung.discard)
        if not overdue:
            await asyncio.wait({self._task}, timeout=CLOSING_SECONDS)

    async def _run(self) -> None:
        limit = asyncio.timeout_at(self._deadline)
        response: LLMResponse | None = None
        error: LLMProviderError | None = None
        try:
            async with limit:
                response = await (self._read_stream() if self._stream else self._complete())
        except LLMProviderError as exc:
            error = exc
        except asyncio.CancelledError as exc:
            if self._given_up:
                raise
            error = self._unexpected(exc)
        except Exception as exc:  # any other exception counts as a retryable error
            error = self._unexpected(exc)
        if self._given_up:
            return
        self._ended = self._clock()
        if limit.expired():
            self._error = self._timeout_error()
        else:
            self.response, self._error = response, error
        self._queue.put_nowait(None)

    async def _complete(self) -> LLMResponse:
        return self._checked(await self._provider.complete(self._request))

    async def _read_stream(self) -> LLMResponse:
        if not isinstance(self._provider, StreamingProvider):
            response = await self._complete()
            self._queue.put_nowait(TextChunk(response.content))
            return response
        events = self._provider.stream(self._request)
        try:
            async for event in events:
                if not isinstance(event, TextChunk):
                    return self._checked(event)
                if event.text:
                    self._first_text = self._first_text or self._clock()
                    self._queue.put_nowait(event)
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()
        raise LLMTransportError(f"{self.provider} broke off its answer before the end")

    def _checked(self, response: object) -> LLMResponse:
        if not isinstance(response, LLMResponse):
            raise LLMMalformedError(f"{self.provider} gave back {type(response).__name__}, not an LLMResponse")
        if not response.content.strip():
            raise LLMEmptyError(f"{self.provider} sent an empty answer")
        return response

    def _timeout_error(self) -> LLMTimeoutError:
        return LLMTimeoutError(f"{self.provider} did not answer within {max(0, round(self._limit * 1000))} ms")

    def _unexpected(self, exc: BaseException) -> LLMUnexpectedError:
        message = f"{self.provider} failed with {type(exc).__name__}: {exc}"
        key = getattr(self._provider, "api_key", None)
        error = LLMUnexpectedError(message.replace(key, "[key]") if isinstance(key, str) and key else message)
        error.__cause__ = exc
        return error
