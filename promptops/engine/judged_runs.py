"""A judged run: safety on the input, the chain, safety on the output, and what happens when nobody answers.

PromptOps' own runs and those of a streaming server's client are this one piece of code. In shadow mode the verdicts
change nothing. In enforce mode the input is judged before a provider is called, and no text is sent on before the
output is judged. Planning a run and recording it do not belong here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from promptops.engine.errors import LLMProviderError
from promptops.engine.events import AttemptStarted, ChainEvent, RunDone
from promptops.engine.judging import ENFORCE, OFF, Blocked, SafetyChecked, judge, masks, raise_if_blocked
from promptops.engine.operations import OnFailure
from promptops.engine.snapshot import SafetySpec
from promptops.engine.types import Attempt, LLMResponse, TextChunk

RunStatus: TypeAlias = Literal["succeeded", "failed", "canceled", "blocked", "unchanged"]
"""The end of a run. "unchanged" means that the input goes on as it is: nobody answered, or a lever says so."""

Chain: TypeAlias = Callable[[list[Attempt]], AsyncGenerator[ChainEvent, None]]
"""Starts the chain of a run, which adds its attempts to the list. Raises `LLMProviderError`."""

REFUSED = "refused"
"""The kind of error of a provider that declined a text for its content. Such a text does not go on unchanged."""


@dataclass(frozen=True)
class TextHeld:
    """The answer has begun. Its text is withheld until the safety filter has judged all of it."""

    provider: str


JudgedEvent: TypeAlias = ChainEvent | TextHeld | SafetyChecked


@dataclass(frozen=True)
class JudgedRun:
    """Everything that decides how a judged run goes, fixed before it begins.

    `judged_input` is the input as the safety filter reads it. `on_failure` is what happens when nobody answers. With
    `pass_through`, a sentence that says why, no provider is called and the input goes on as it is.
    """

    safety: SafetySpec
    judged_input: str
    chain: Chain
    on_failure: OnFailure = "error"
    pass_through: str = ""


@dataclass
class Outcome:
    """The result of a run, filled in during the run. A run that never ends by itself counts as canceled."""

    status: RunStatus = "canceled"
    response: LLMResponse | None = None
    error: str = ""
    error_kind: str = ""
    latency_ms: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    checks: list[SafetyChecked] = field(default_factory=list)
    at: datetime | None = None  # the end of the run
    raw_masked: bool = False  # also while it is not judged yet

    @property
    def raw(self) -> str:
        """Return the answer as the model wrote it, "" if only blank ends differ from the answer as read."""
        if self.response is None or self.response.raw.strip() == self.response.content.strip():
            return ""
        return self.response.raw


async def run_judged(run: JudgedRun, outcome: Outcome) -> AsyncGenerator[JudgedEvent, None]:
    """Yield the events of a run and fill in `outcome`. Iterate inside `contextlib.aclosing`.

    If the safety filter is enforced, the text arrives in one piece after it was judged, and a harmful text never
    arrives. A provider's error and a blocked text end the run, in `outcome` and not as an exception.
    """
    try:
        async with aclosing(_answer(run, outcome)) as happenings:
            async for event in happenings:
                yield event
        outcome.status = "unchanged" if run.pass_through else "succeeded"
        outcome.error = run.pass_through
    except Blocked as stopped:
        outcome.status, outcome.error, outcome.error_kind = "blocked", str(stopped), "blocked"
    except LLMProviderError as failure:
        _settle(run, outcome, failure)
    except Exception:
        outcome.status = "failed"
        raise


async def judge_the_rest(run: JudgedRun, outcome: Outcome) -> None:
    """Judge the texts that the run did not wait for: all in shadow mode, or the input of a run canceled at once."""
    if run.safety.mode == OFF:
        return
    judged = {check.side for check in outcome.checks}
    if "input" not in judged:
        await judge(run.safety, "input", run.judged_input, outcome.checks)
    if outcome.response is not None and "output" not in judged:
        await judge(run.safety, "output", outcome.response.content, outcome.checks)
    await _judge_raw(run, outcome)


async def _answer(run: JudgedRun, outcome: Outcome) -> AsyncGenerator[JudgedEvent, None]:
    """Yield the events up to the answer, and put the answer into `outcome`. Raises `Blocked` and `LLMProviderError`."""
    enforced = run.safety.mode == ENFORCE
    if enforced:
        yield (checked := await judge(run.safety, "input", run.judged_input, outcome.checks))
        raise_if_blocked(run.safety, checked)
    if run.pass_through:
        return
    provider, is_held = "", False
    async with aclosing(run.chain(outcome.attempts)) as happenings:
        async for event in happenings:
            if isinstance(event, RunDone):
                outcome.response = event.response
                if enforced:
                    yield (checked := await judge(run.safety, "output", event.response.content, outcome.checks))
                    raise_if_blocked(run.safety, checked)
                    yield TextChunk(event.response.content)
            elif isinstance(event, AttemptStarted):
                provider = event.provider
            elif enforced and isinstance(event, TextChunk):
                if not is_held:
                    is_held = True
                    yield TextHeld(provider)
                continue
            yield event


def _settle(run: JudgedRun, outcome: Outcome, failure: LLMProviderError) -> None:
    """Fill in the outcome of a run that ended with `failure`.

    An input that the safety filter blocked never comes here, because such a run calls no provider.
    """
    outcome.status, outcome.error, outcome.error_kind = "failed", str(failure), failure.kind
    was_declined = REFUSED in {failure.kind, *(attempt.error_kind for attempt in outcome.attempts)}
    if run.on_failure == "input" and not was_declined:
        outcome.status = "unchanged"
    elif run.on_failure == "hold":
        outcome.error = f"{outcome.error.rstrip('.')}. Nobody answered: keep what runs."


async def _judge_raw(run: JudgedRun, outcome: Outcome) -> None:
    """Judge the answer as written, which pages show beside the answer as read.

    It may contain more than the answer as read, so it can be masked alone. It blocks no run: callers never get it.
    """
    if any(masks(check) for check in outcome.checks):
        outcome.raw_masked = bool(outcome.raw)
    elif outcome.raw:
        outcome.raw_masked = masks(await judge(run.safety, "output", outcome.raw, []))
