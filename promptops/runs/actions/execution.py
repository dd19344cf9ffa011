"""Executing a run: the snapshot's chain answers, events stream to the caller, and the run is recorded at its end.

The safety filter judges input and output. In shadow mode its verdicts are recorded and change nothing. In enforce mode
the input is judged before a provider is called, and no text is sent on before the output is judged. Recording itself is
in `recording` and `records`; the filter's sentences are in `runs.judging`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from django.utils import timezone

from promptops.engine.chain import AttemptStarted, ChainEvent, RunDone, TextChunk, run_chain
from promptops.engine.errors import LLMProviderError
from promptops.engine.providers import build_provider
from promptops.engine.types import Attempt as EngineAttempt
from promptops.ledger.errors import Refused
from promptops.live import snapshots as live
from promptops.platform.draining import gate
from promptops.runs.actions.recording import PAGE_WAITS_SECONDS, NotRecorded, recorder
from promptops.runs.enums import RunStatus, SafetyMode, SafetySide
from promptops.runs.judging import Blocked, judge, judge_the_rest, raise_if_blocked
from promptops.runs.plans import Outcome, RunEvent, RunPlan, RunRecorded, SafetyChecked, TextHeld
from promptops.runs.unanswered import settle

log = logging.getLogger(__name__)


async def execute(plan: RunPlan) -> AsyncGenerator[RunEvent, None]:
    """Yield the chain's events and, last, RunRecorded. Iterate inside `contextlib.aclosing`.

    If the safety filter is enforced, the text arrives in one piece after it was judged. A harmful text never arrives:
    the run ends as blocked, and RunRecorded has no response.

    After a provider error the run ends as failed, in RunRecorded and not as an exception. If the caller leaves (task
    canceled, generator closed), the run is recorded as canceled, with the attempts so far. Raises Refused while the
    server shuts down.
    """
    if gate.closed:
        raise Refused("The server is restarting. Try again in a moment.")
    with gate.passing(asyncio.current_task()):
        async with aclosing(_execute(plan)) as happenings:
            async for event in happenings:
                yield event


async def _execute(plan: RunPlan) -> AsyncGenerator[RunEvent, None]:
    began = time.monotonic()
    outcome = Outcome()
    run_id = 0
    try:
        try:
            async with aclosing(_answer(plan, outcome)) as happenings:
                async for event in happenings:
                    yield event
            outcome.status = RunStatus.SUCCEEDED
        except Blocked as stopped:
            outcome.status, outcome.error, outcome.error_kind = RunStatus.BLOCKED, str(stopped), "blocked"
        except LLMProviderError as failure:
            settle(plan, outcome, failure)
        except Exception:
            outcome.status = RunStatus.FAILED
            outcome.error = "PromptOps failed on this run. The server's log has the details."
            raise
    finally:
        outcome.latency_ms = (time.monotonic() - began) * 1000
        outcome.attempts = list(outcome.attempts)  # a copy: the chain may still write to its own list
        outcome.at = timezone.now()
        # Masked until it is judged, which may take longer than the page waits.
        outcome.raw_masked = bool(outcome.raw) and plan.snapshot.safety.mode != SafetyMode.OFF
        recording = asyncio.create_task(_record(plan, outcome))
        # Shielded: a run is recorded even while its caller is canceled. A trial waits until its run is recorded.
        wait = None if plan.thread else PAGE_WAITS_SECONDS
        try:
            await asyncio.shield(asyncio.ensure_future(asyncio.wait({recording}, timeout=wait)))
        finally:
            if not recording.done():  # a recording that is done raises its error to the caller
                recording.add_done_callback(recorder.log_failure)
        with suppress(NotRecorded):
            run_id = recording.result() if recording.done() else 0
    answer = None if outcome.status == RunStatus.BLOCKED else outcome.response
    yield RunRecorded(
        run_id,
        answer,
        outcome.error,
        outcome.latency_ms,
        outcome.status,
        tuple(outcome.checks),
        tuple(outcome.attempts),
        raw="" if answer is None or outcome.raw_masked else outcome.raw,
        raw_masked=answer is not None and outcome.raw_masked,
        recording=None if run_id else recording,
    )


async def _answer(plan: RunPlan, outcome: Outcome) -> AsyncGenerator[ChainEvent | TextHeld | SafetyChecked, None]:
    """Yield the events up to the answer, and put the answer into `outcome`. Raises `Blocked` and `LLMProviderError`."""
    enforced = plan.snapshot.safety.mode == SafetyMode.ENFORCE
    if enforced:
        yield await judge(plan, SafetySide.INPUT, plan.judged_input, outcome.checks)
        raise_if_blocked(plan, outcome.checks)
    provider, is_held = "", False
    async with aclosing(_chain(plan, outcome.attempts)) as happenings:
        async for event in happenings:
            if isinstance(event, RunDone):
                outcome.response = event.response
                if enforced:
                    yield await judge(plan, SafetySide.OUTPUT, event.response.content, outcome.checks)
                    raise_if_blocked(plan, outcome.checks)
                    yield TextChunk(event.response.content)
            elif isinstance(event, AttemptStarted):
                provider = event.provider
            elif enforced and isinstance(event, TextChunk):
                if not is_held:
                    is_held = True
                    yield TextHeld(provider)
                continue
            yield event


def _chain(plan: RunPlan, attempts: list[EngineAttempt]) -> AsyncGenerator[ChainEvent, None]:
    """Return the events of the plan's chain, which adds its attempts to `attempts`. Raises `LLMProviderError`."""
    if not plan.providers:
        raise LLMProviderError("No provider is on. Turn one on, or add one, on the Providers page.")
    providers = [build_provider(spec) for spec in plan.providers]
    health = live.health
    if plan.drill:  # a drill does not change the shared health, and still skips providers that cool down
        providers = [plan.drill.into(provider) for provider in providers]
        health = health.copy()
        health.forget(plan.drill.provider)
    timeout_ms = plan.timeout_ms or plan.snapshot.settings_for(plan.operation).timeout_ms
    return run_chain(
        plan.request(),
        providers,
        timeout_ms=timeout_ms,
        delivery=plan.delivery,
        attempts=attempts,
        health=health,
        hedge=plan.hedge(),
    )


async def _record(plan: RunPlan, outcome: Outcome) -> int:
    """Record the run. This passes the gate by itself, because the caller may leave before it is done."""
    with gate.passing():
        await judge_the_rest(plan, outcome)
        return await recorder.record(plan, outcome)
