"""The values of a run before and after its execution: its plan and its last event. They do no work.

The events and the outcome of a run are in `engine.judged_runs`.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeAlias
from uuid import UUID

from promptops.engine.chain import Delivery, HedgePolicy
from promptops.engine.contracts import Contract, ContractOutcome, contract_outcome
from promptops.engine.drills import Fault, faulty
from promptops.engine.enhancer import build_request
from promptops.engine.inputs import judged_text
from promptops.engine.judged_runs import JudgedEvent, Outcome
from promptops.engine.judging import SafetyChecked
from promptops.engine.operations import OnFailure, OperationSpec
from promptops.engine.snapshot import ProviderSpec, Snapshot
from promptops.engine.types import Attempt as EngineAttempt
from promptops.engine.types import LLMProvider, LLMRequest, LLMResponse
from promptops.people.models import User
from promptops.platform.threads import DatabaseThread
from promptops.prompts.answer_rules import fitting
from promptops.prompts.content import PARAMETERS, TEXTS, Content, effective
from promptops.prompts.examples import read_examples
from promptops.prompts.models import Template, Version
from promptops.runs.enums import RunSource, RunStatus
from promptops.runs.models import Run

MAX_COUNT = 10


@dataclass(frozen=True)
class Drill:
    """A simulated fault of one provider."""

    provider: str
    fault: Fault

    def into(self, provider: LLMProvider) -> LLMProvider:
        """Return the provider, with the fault if the drill is about this provider."""
        return faulty(provider, self.fault) if provider.name == self.provider else provider

    def __str__(self) -> str:
        return f"{self.fault} in {self.provider}"


@dataclass(frozen=True)
class RunPlan:
    """Everything that a run needs, fixed before it begins."""

    operation: str
    input: str
    content: Content
    providers: tuple[ProviderSpec, ...]
    snapshot: Snapshot
    source: RunSource
    by: User | None = None
    token: int | None = None
    """The id of the token that runs it, in place of a person."""
    request_id: str = ""
    template: Template | None = None
    version: Version | None = None  # None for a draft, whose text the run keeps
    count: int | None = None
    drill: Drill | None = None
    timeout_ms: int | None = None  # None for the snapshot's
    recorded: Callable[[Run, str], None] | None = None
    """A function for the run and the kind of its error ("" for none), called in the transaction that records it."""
    delivery: Delivery = "whole"  # "stream" if somebody reads along
    public_id: UUID | None = None
    """The id of the run in the answer to a machine."""
    thread: DatabaseThread | None = None  # that records it; None for the one of all runs

    @property
    def spec(self) -> OperationSpec:
        """Return the operation. Raises ValueError if it was archived since."""
        return self.snapshot.operation(self.operation)

    @cached_property
    def contract(self) -> Contract | None:
        """Return what the answer must be: the operation's contract, narrowed by the content's rules.

        A provider's test shows any answer.
        """
        spec = self.snapshot.operations.get(self.operation)
        return fitting(spec, self.content.answer_rules) if spec and self.source != RunSource.TEST else None

    def contract_outcome(self, attempts: Sequence[EngineAttempt]) -> ContractOutcome | None:
        """Return how the run met its contract. None without an answer to check, or without a contract that checks."""
        return contract_outcome(attempts) if self.contract and self.contract.is_checked else None

    @property
    def judged_input(self) -> str:
        """Return the input as the safety filter reads it."""
        spec = self.snapshot.operations.get(self.operation)  # a run is judged and recorded whatever happened meanwhile
        return judged_text(spec, self.input) if spec else self.input

    @property
    def on_failure(self) -> OnFailure:
        """Return what happens when nobody answers.

        Only a preview and a server's run follow the operation: a comparison asks for the arm's own answer, and a test
        for the provider's.
        """
        spec = self.snapshot.operations.get(self.operation)
        return "error" if spec is None or self.source in (RunSource.COMPARISON, RunSource.TEST) else spec.on_failure

    def pass_through(self, now: datetime) -> str:
        """Return why the input goes on unpolished at this aware time; "" if it does not.

        Levers are about live traffic: a preview, a comparison and a test run all the same, to find out what is wrong.
        """
        if self.source in (RunSource.PREVIEW, RunSource.COMPARISON, RunSource.TEST):
            return ""
        lever = self.snapshot.passes_through(self.operation, now)
        return lever.sentence if lever else ""

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters by name. Operation and live settings decide those that the content leaves open."""
        decided = effective(self.content, self.snapshot.settings_for(self.operation))
        return {name: decided[name] for name in PARAMETERS}

    @property
    def template_id(self) -> int | None:
        """Return the id of the template that the run counts for."""
        return self.template.pk if self.template else None

    @property
    def version_id(self) -> int | None:
        """Return the id of the version whose text is run; None for another text, which the run keeps."""
        return self.version.pk if self.version else None

    @property
    def chain_ms(self) -> int:
        """Return the time that the chain has if it starts now."""
        return self.timeout_ms or self.snapshot.settings_for(self.operation).timeout_ms

    @property
    def max_tokens(self) -> int:
        return int(self.parameters["max_tokens"])

    def hedge(self) -> HedgePolicy | None:
        """Return when a slow run also calls the next provider. A drill never does: it shows the effect of one fault."""
        return None if self.drill else self.spec.hedge_policy

    def request(self) -> LLMRequest:
        """Return the request to the chain. Its model is for providers that have no model of their own."""
        parameters = self.parameters
        return build_request(
            self.spec,
            self.input,
            system_prompt=self.snapshot.filled(self.operation, self.content.body),
            user_template=self.content.user_template or "",
            examples=read_examples(self.content.examples),
            variables=self.snapshot.variables.get(self.operation, {}),
            model=self.content.model,
            temperature=parameters.pop("temperature"),
            max_tokens=parameters.pop("max_tokens"),
            count=self.count,
            parameters=parameters,
            contract=self.contract,
        )


@dataclass(frozen=True)
class RunRecorded:
    """The last event of a run that ended by itself: its id, and the error if it failed or was blocked.

    `attempts` has all attempts, even if the answer is withheld. `raw` is the answer as the model wrote it, if that
    differs from the answer as read. `raw_masked` means that pages mask it, and that `raw` is "". While the database is
    unavailable, `run_id` is 0 and `recording` returns the id later, or raises NotRecorded for a lost run.
    """

    run_id: int
    response: LLMResponse | None
    error: str
    latency_ms: float
    status: RunStatus
    checks: tuple[SafetyChecked, ...] = ()
    attempts: tuple[EngineAttempt, ...] = ()
    raw: str = ""
    raw_masked: bool = False
    recording: "asyncio.Task[int] | None" = None

    @property
    def blocked(self) -> bool:
        return self.status == RunStatus.BLOCKED

    @property
    def unchanged(self) -> bool:
        """Return whether nobody answered and the input goes on unchanged."""
        return self.status == RunStatus.UNCHANGED


RunEvent: TypeAlias = JudgedEvent | RunRecorded


def size(plan: RunPlan, outcome: Outcome) -> int:
    """Return the size of a run's texts in bytes."""
    content = plan.content
    texts = [plan.input, content.body, outcome.error, *(getattr(content, name) or "" for name in TEXTS)]
    texts += [attempt.message or "" for attempt in outcome.attempts]
    if outcome.response:
        texts += [outcome.response.content, outcome.response.reasoning or "", outcome.response.raw]
    return sum(len(text.encode(errors="replace")) for text in texts)
