"""Executing a run: the snapshot's chain answers, events stream to the caller, and the run is recorded at its end.

Judging, answering and what happens when nobody answers are in `engine.judged_runs`. Recording itself is in `recording`
and `records`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from functools import partial

from django.utils import timezone

from promptops.engine.chain import ChainEvent, run_chain
from promptops.engine.errors import LLMProviderError
from promptops.engine.judged_runs import JudgedRun, Outcome, judge_the_rest, run_judged
from promptops.engine.judging import OFF
from promptops.engine.providers import build_provider
from promptops.engine.types import Attempt as EngineAttempt
from promptops.ledger.errors import Refused
from promptops.live import snapshots as live
from promptops.platform.draining import gate
from promptops.platform.requests import RunFacts, run_facts
from promptops.runs.actions.recording import PAGE_WAITS_SECONDS, NotRecorded, recorder
from promptops.runs.ended import tell_observers
from promptops.runs.enums import RunSource, RunStatus
from promptops.runs.plans import RunEvent, RunPlan, RunRecorded


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
    outer = run_facts.get()
    run_facts.set(RunFacts(str(plan.public_id or ""), plan.snapshot.revision))
    try:
        with gate.passing(asyncio.current_task()):
            async with aclosing(_execute(plan)) as happenings:
                async for event in happenings:
                    yield event
    finally:
        run_facts.set(outer)  # no `reset`: a generator may be closed in another context


async def _execute(plan: RunPlan) -> AsyncGenerator[RunEvent, None]:
    began = time.monotonic()
    run, outcome = _judged_run(plan), Outcome()
    run_id = 0
    try:
        async with aclosing(run_judged(run, outcome)) as happenings:
            async for event in happenings:
                yield event
    except Exception:
        outcome.error = "PromptOps failed on this run. The server's log has the details."
        raise
    finally:
        outcome.latency_ms = (time.monotonic() - began) * 1000
        outcome.attempts = list(outcome.attempts)  # a copy: the chain may still write to its own list
        outcome.at = timezone.now()
        # Masked until it is judged, which may take longer than the page waits.
        outcome.raw_masked = bool(outcome.raw) and plan.snapshot.safety.mode != OFF
        recording = asyncio.create_task(_record(plan, run, outcome))
        try:
            await _wait(plan, recording)
        finally:
            if not recording.done():  # a recording that is done raises its error to the caller
                recording.add_done_callback(recorder.log_failure)
        with suppress(NotRecorded):
            run_id = recording.result() if recording.done() else 0
    answer = None if outcome.status == "blocked" else outcome.response
    yield RunRecorded(
        run_id,
        answer,
        outcome.error,
        outcome.latency_ms,
        RunStatus(outcome.status),
        tuple(outcome.checks),
        tuple(outcome.attempts),
        raw="" if answer is None or outcome.raw_masked else outcome.raw,
        raw_masked=answer is not None and outcome.raw_masked,
        recording=None if run_id else recording,
    )


def _judged_run(plan: RunPlan) -> JudgedRun:
    """Return the plan as the engine runs it."""
    return JudgedRun(
        plan.snapshot.safety,
        plan.judged_input,
        partial(_chain, plan),
        plan.on_failure,
        pass_through=plan.pass_through(timezone.now()),
    )


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
    return run_chain(
        plan.request(),
        providers,
        timeout_ms=plan.chain_ms,
        delivery=plan.delivery,
        attempts=attempts,
        health=health,
        hedge=plan.hedge(),
    )


async def _wait(plan: RunPlan, recording: "asyncio.Task[int]") -> None:
    """Wait until the run is recorded: a trial as long as that takes, a page for a while, a machine not at all.

    A machine waits like a page while runs come faster than the database takes them, so that none is dropped.
    """
    if plan.source == RunSource.API and not recorder.is_crowded:
        return
    # Shielded: a run is recorded even while its caller is canceled.
    wait = None if plan.thread else PAGE_WAITS_SECONDS
    await asyncio.shield(asyncio.ensure_future(asyncio.wait({recording}, timeout=wait)))


async def _record(plan: RunPlan, run: JudgedRun, outcome: Outcome) -> int:
    """Record the run. This passes the gate by itself, because the caller may leave before it is done."""
    with gate.passing():
        await judge_the_rest(run, outcome)
        tell_observers(plan, outcome)
        return await recorder.record(plan, outcome)
