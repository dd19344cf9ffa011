"""One run on a server: planned from one content, judged and answered as PromptOps does it, and reported."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, get_args

from promptops.client.contents import Content
from promptops.client.reports import Reports
from promptops.client.results import ANSWER_FIELDS, BlockedText, KeepRunning, LiveResponse
from promptops.client.timing import Clock
from promptops.engine.chain import ChainEvent, run_chain
from promptops.engine.errors import LLMProviderError
from promptops.engine.health import HealthRegistry
from promptops.engine.inputs import judged_text
from promptops.engine.judged_runs import JudgedRun, Outcome, judge_the_rest, run_judged
from promptops.engine.live_runs import Input, input_text, live_request, template_of
from promptops.engine.operations import OnFailure, OperationSpec
from promptops.engine.providers import build_provider
from promptops.engine.snapshot import Snapshot, TemplateSpec
from promptops.engine.types import Attempt, LLMProvider, LLMRequest


@dataclass(frozen=True)
class Wishes:
    """The wishes of a caller beside the input; `None` leaves it to what is live."""

    count: int | None = None
    template: str | None = None
    temperature: float | None = None
    deadline_ms: float | None = None
    on_failure: OnFailure | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that a run needs, fixed before it begins."""

    content: Content
    operation: OperationSpec
    template: TemplateSpec
    text: str
    wishes: Wishes = Wishes()

    @property
    def snapshot(self) -> Snapshot:
        return self.content.snapshot

    @property
    def count(self) -> int | None:
        """Return the number of alternatives to request."""
        return self.operation.count_or_default(self.wishes.count)

    @property
    def deadline_ms(self) -> float:
        """Return the time of the whole run."""
        return self.wishes.deadline_ms or self.snapshot.settings_for(self.operation.name).timeout_ms

    @property
    def on_failure(self) -> OnFailure:
        """Return what happens when nobody answers."""
        return self.wishes.on_failure or self.operation.on_failure

    def request(self) -> LLMRequest:
        """Return the request, exactly as PromptOps itself would send it."""
        return live_request(
            self.snapshot, self.template, self.text, count=self.count, temperature=self.wishes.temperature
        )


def plan_run(content: Content, operation: str, given: Input, wishes: Wishes) -> Plan:
    """Return the plan of a run. Raises `ValueError` with a sentence for anything that cannot run."""
    snapshot = content.snapshot
    spec = snapshot.operation(operation)
    text = input_text(spec, given)
    if wishes.on_failure not in (None, *get_args(OnFailure)):
        raise ValueError(f"on_failure must be one of {', '.join(get_args(OnFailure))}")
    if wishes.on_failure == "input" and spec.input != "text":
        raise ValueError(f"{spec.name} can pass its input on only if the input is one text")
    if wishes.deadline_ms is not None and not wishes.deadline_ms > 0:
        raise ValueError("deadline_ms must be more than 0")
    if wishes.count is not None and (not spec.offers_alternatives or wishes.count < 1):
        raise ValueError(
            f"count must be 1 or more, and only for an operation with alternatives, which {spec.name} "
            f"{'is' if spec.offers_alternatives else 'is not'}"
        )
    return Plan(content, spec, template_of(snapshot, spec, wishes.template), text, wishes)


@dataclass
class Runner:
    """Executes plans. `providers` are the caller's own, which replace the chain of what is live."""

    providers: Sequence[LLMProvider] | None
    reports: Reports
    clock: Clock
    health: HealthRegistry

    async def run(self, plan: Plan) -> LiveResponse:
        """Return the answer. Raises `LLMProviderError`, `KeepRunning` and `BlockedText`."""
        began = time.monotonic()
        lever = plan.snapshot.passes_through(plan.operation.name, self.clock.now())
        safety = plan.snapshot.safety
        failure: list[LLMProviderError] = []

        async def chain(attempts: list[Attempt]) -> AsyncGenerator[ChainEvent, None]:
            left_ms = plan.deadline_ms - (time.monotonic() - began) * 1000
            try:
                async with aclosing(self._chain(plan, attempts, max(1, int(left_ms)))) as happenings:
                    async for event in happenings:
                        yield event
            except LLMProviderError as error:
                failure.append(error)
                raise

        judged = JudgedRun(
            safety,
            judged_text(plan.operation, plan.text),
            chain,
            plan.on_failure,
            pass_through=lever.sentence if lever else "",
        )
        outcome = Outcome()
        try:
            async with aclosing(run_judged(judged, outcome)) as happenings:
                async for _ in happenings:
                    pass
            await judge_the_rest(judged, outcome)  # in shadow mode, so that the caller has the verdicts
        finally:
            outcome.latency_ms = (time.monotonic() - began) * 1000
            self._report(plan, outcome)
        return result(plan, outcome, failure)

    def _chain(self, plan: Plan, attempts: list[Attempt], timeout_ms: int) -> AsyncGenerator[ChainEvent, None]:
        providers = self.providers
        if providers is None:
            providers = [build_provider(spec) for spec in plan.snapshot.providers]
        if not providers:
            raise LLMProviderError("No provider is on. Turn one on in PromptOps, or give providers of your own.")
        return run_chain(
            plan.request(),
            providers,
            timeout_ms=timeout_ms,
            delivery="whole",
            attempts=attempts,
            health=self.health,
            hedge=plan.operation.hedge_policy,
        )

    def _report(self, plan: Plan, outcome: Outcome) -> None:
        epoch, revision = plan.content.head
        values = {
            "operation": plan.operation.name,
            "template": plan.template.name,
            "version": plan.template.version_number,
            "revision": revision,
            "epoch": epoch,
        }
        self.reports.add(self.reports.report(values, outcome, self.clock.now(), plan.text))


def result(plan: Plan, outcome: Outcome, failure: list[LLMProviderError]) -> LiveResponse:
    """Return the response of an ended run, or raise its error."""
    checks = tuple(outcome.checks)
    if outcome.status == "blocked":
        raise BlockedText(outcome.error, checks)
    if outcome.status == "failed":
        error = failure[-1]
        if plan.on_failure == "hold":
            held = KeepRunning(outcome.error, retryable=error.retryable)
            held.attempts = error.attempts
            raise held from error
        raise error
    answer: dict[str, Any]
    if outcome.response is None:
        answer = {"content": plan.text, "provider": "", "model": "", "latency_ms": outcome.latency_ms}
        answer["attempts"] = tuple(outcome.attempts)
    else:
        answer = {name: getattr(outcome.response, name) for name in ANSWER_FIELDS}
    epoch, revision = plan.content.head
    return LiveResponse(
        **answer,
        operation=plan.operation.name,
        template=plan.template.name,
        version=plan.template.version_number,
        version_sha256=plan.template.sha256,
        revision=revision,
        epoch=epoch,
        sha256=plan.content.sha256,
        unchanged=outcome.status == "unchanged",
        note=outcome.error,
        checks=checks,
        count=plan.count,
    )
