"""The values of a run before, during and after its execution: plan, events, outcome. They do no work."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from promptops.engine.chain import ChainEvent, Delivery, HedgePolicy
from promptops.engine.contracts import Contract, ContractOutcome, contract_outcome
from promptops.engine.drills import Fault, faulty
from promptops.engine.enhancer import build_request
from promptops.engine.inputs import judged_text
from promptops.engine.operations import OperationSpec
from promptops.engine.safety.guard import SafetyVerdict
from promptops.engine.snapshot import ProviderSpec, Snapshot
from promptops.engine.types import Attempt as EngineAttempt
from promptops.engine.types import LLMProvider, LLMRequest, LLMResponse
from promptops.people.models import User
from promptops.platform.threads import DatabaseThread
from promptops.prompts.content import PARAMETERS, Content, effective
from promptops.prompts.examples import read_examples
from promptops.prompts.models import Template, Version
from promptops.runs.enums import RunSource, RunStatus, SafetySide
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
    delivery: Delivery = "whole"  # "stream" if a person reads along
    thread: DatabaseThread | None = None  # that records it; None for the one of all runs

    @property
    def spec(self) -> OperationSpec:
        """Return the operation. Raises ValueError if it was archived since."""
        return self.snapshot.operation(self.operation)

    @property
    def contract(self) -> Contract | None:
        """Return what the answer must be. A provider's test shows any answer."""
        spec = self.snapshot.operations.get(self.operation)
        return spec.contract if spec and self.source != RunSource.TEST else None

    def contract_outcome(self, attempts: Sequence[EngineAttempt]) -> ContractOutcome | None:
        """Return how the run met its contract. None without an answer to check, or without a contract that checks."""
        return contract_outcome(attempts) if self.contract and self.contract.is_checked else None

    @property
    def judged_input(self) -> str:
        """Return the input as the safety filter reads it."""
        spec = self.snapshot.operations.get(self.operation)  # a run is judged and recorded whatever happened meanwhile
        return judged_text(spec, self.input) if spec else self.input

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters by name. Operation and live settings decide those that the content leaves open."""
        decided = effective(self.content, self.snapshot.settings_for(self.operation))
        return {name: decided[name] for name in PARAMETERS}

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
class TextHeld:
    """The answer has begun. Its text is withheld until the safety filter has judged all of it."""

    provider: str


@dataclass(frozen=True)
class SafetyChecked:
    """The verdict on one side of a run. `blocked` means that the text is withheld."""

    side: SafetySide
    verdict: SafetyVerdict
    blocked: bool


@dataclass
class Outcome:
    """The result of a run, filled in during the run. A run that never ends by itself counts as canceled."""

    status: RunStatus = RunStatus.CANCELED
    response: LLMResponse | None = None
    error: str = ""
    error_kind: str = ""
    latency_ms: float = 0.0
    attempts: list[EngineAttempt] = field(default_factory=list)
    checks: list[SafetyChecked] = field(default_factory=list)
    at: datetime | None = None  # the end of the run
    raw_masked: bool = False  # also while it is not judged yet

    @property
    def raw(self) -> str:
        """Return the answer as the model wrote it, "" if only blank ends differ from the answer as read."""
        if self.response is None or self.response.raw.strip() == self.response.content.strip():
            return ""
        return self.response.raw


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


RunEvent: TypeAlias = ChainEvent | TextHeld | SafetyChecked | RunRecorded


def size(plan: RunPlan, outcome: Outcome) -> int:
    """Return the size of a run's texts in bytes."""
    content = plan.content
    texts = [plan.input, content.body, content.user_template or "", content.examples or "", outcome.error]
    texts += [attempt.message or "" for attempt in outcome.attempts]
    if outcome.response:
        texts += [outcome.response.content, outcome.response.reasoning or "", outcome.response.raw]
    return sum(len(text.encode(errors="replace")) for text in texts)
