"""Ordered attempts under one deadline: the two ways to make a run.

A run asks its providers one after the other until one answers. `runs.py` decides which one is next, `attempts.py` makes
the calls, `events.py` has what a run reports.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from promptops.engine.events import AttemptFailed, AttemptStarted, ChainEvent, Delivery, HedgePolicy, RunDone
from promptops.engine.health import HealthRegistry
from promptops.engine.runs import Run
from promptops.engine.types import Attempt, LLMProvider, LLMRequest, LLMResponse, TextChunk

__all__ = [
    "AttemptFailed",
    "AttemptStarted",
    "ChainEvent",
    "HedgePolicy",
    "RunDone",
    "TextChunk",
    "complete_chain",
    "run_chain",
]


async def run_chain(
    request: LLMRequest,
    providers: Sequence[LLMProvider],
    *,
    timeout_ms: int,
    delivery: Delivery = "stream",
    attempts: list[Attempt] | None = None,
    health: HealthRegistry | None = None,
    hedge: HedgePolicy | None = None,
) -> AsyncGenerator[ChainEvent, None]:
    """Ask `providers` in order until one answers, and report what happens as it happens; `RunDone` comes last.

    `timeout_ms` is the deadline of the whole run. An attempt gets its provider's own `timeout_ms`, and at most an
    equal share of what is left for it and the providers after it that may be asked. A retryable error moves on to the
    next provider; any other one, and any error after the first text was handed on, ends the run; `policies.POLICIES`
    has the exceptions. `request.answer` is the shape that an answer is read in.

    With `delivery="stream"` the text is handed on as `TextChunk`s while it comes; that of a provider without `stream`
    comes in one piece. With "whole" there are none, so that a stream that breaks is an ordinary failure; a provider
    is then streamed only where its `first_text_ms` or `stall_ms` limits the silence.

    `health` is shared between runs: providers that it blocks are passed over, and a run waits for a full one, or for
    the end of a cooldown, within its deadline when there is nobody else to ask. With it, a run that can ask nobody
    else may ask the same provider once more. Without it every provider may be asked, once. With `hedge` the next
    provider is started beside one that is slow; the first text wins, or with "whole" the first answer.

    When the run ends, its attempts are added to `attempts` in the order of their start, those that were given up
    included. Read the events inside `contextlib.aclosing`, so that leaving early closes the connection at once.

    Raises the last `LLMProviderError`, with all attempts in its `attempts`, and `ValueError` without providers.
    """
    if not providers:
        raise ValueError("A run needs at least one provider")
    run = Run(request, providers, timeout_ms=timeout_ms, delivery=delivery, health=health, hedge=hedge)
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
    """Return the answer of `run_chain`, handed over whole. Takes and raises what it does."""
    events = run_chain(
        request, providers, timeout_ms=timeout_ms, delivery="whole", attempts=attempts, health=health, hedge=hedge
    )
    response: LLMResponse | None = None
    async for event in events:  # to its end, so that nothing is left to close
        if isinstance(event, RunDone):
            response = event.response
    assert response is not None, "a run ends with an answer or an error"
    return response
