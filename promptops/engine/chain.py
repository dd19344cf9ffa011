"""The two ways to make a run: ordered attempts under one deadline.

A run calls its providers one after the other until one answers. `runs.py` decides which provider is next,
`attempts.py` makes the calls, `events.py` declares the events of a run. Without a shared `health` no
provider is retried, except with a larger token limit after `truncated`, and to repair an answer against its contract.
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
    """Call `providers` in order until one answers, and yield the events of the run as they happen; `RunDone` is last.

    `timeout_ms` is the deadline of the run. An attempt gets its provider's `timeout_ms`, and at most an equal share of
    the time that is left. A retryable error falls back to the next provider. Any other error, and any error after the
    first text was handed on, ends the run; `policies.POLICIES` has the exceptions. With `delivery="stream"` the text
    arrives as `TextChunk`s; with "whole" there are none, so a broken stream is an ordinary failure. An answer that is
    checked by its contract arrives in one piece, after the check. `health` is shared between runs: the run skips
    blocked providers, and waits for one if no other is left. With `hedge` the next provider starts beside a slow one.

    When the run ends, all its attempts are added to `attempts` in the order of their start. Read the events inside
    `contextlib.aclosing`, so that leaving early closes the connection at once.
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
                if run.is_checked and delivery == "stream":
                    yield TextChunk(attempt.response.content)
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
    """Return the whole answer of a run. The arguments and errors are those of `run_chain`."""
    events = run_chain(
        request, providers, timeout_ms=timeout_ms, delivery="whole", attempts=attempts, health=health, hedge=hedge
    )
    response: LLMResponse | None = None
    async for event in events:  # to its end, so that nothing is left to close
        if isinstance(event, RunDone):
            response = event.response
    assert response is not None, "a run ends with an answer or an error"
    return response
