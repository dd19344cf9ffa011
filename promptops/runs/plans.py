"""What a run is before, while and after it goes on: plain values, no work."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from promptops.engine.chain import ChainEvent, Delivery, HedgePolicy
from promptops.engine.drills import Fault, faulty
from promptops.engine.enhancer import build_request
from promptops.engine.safety.guard import SafetyVerdict
from promptops.engine.snapshot import ProviderSpec, Snapshot
from promptops.engine.types import Attempt as EngineAttempt
from promptops.engine.types import LLMProvider, LLMRequest, LLMResponse
from promptops.people.models import User
from promptops.platform.threads import DatabaseThread
from promptops.prompts.content import PARAMETERS, Content, effective
from promptops.prompts.models import Template, Version
from promptops.runs.enums import RunSource, RunStatus, SafetySide
from promptops.runs.models import Run

MAX_COUNT = 10


@dataclass(frozen=True)
class Drill:
    """A fault to put into one provider, to watch the chain cope."""

    provider: str
    fault: Fault

    def into(self, provider: LLMProvider) -> LLMProvider:
        """The provider, with the fault in it if it is the one."""
        return faulty(provider, self.fault) if provider.name == self.provider else provider

    def __str__(self) -> str:
        return f"{self.fault} in {self.provider}"


@dataclass(frozen=True)
class RunPlan:
    """Everything that one run is made of, fixed before it begins."""

    operation: str
    input: str
    content: Content
    providers: tuple[ProviderSpec, ...]
    snapshot: Snapshot
    source: RunSource
    by: User | None = None
    template: Template | None = None
    version: Version | None = None  # None: a draft, whose text the run keeps
    count: int | None = None
    drill: Drill | None = None
    timeout_ms: int | None = None  # None: the snapshot's
    recorded: Callable[[Run, str], None] | None = None
    """Called with the run and the kind of its error ("" for none) in the transaction that keeps it."""
    delivery: Delivery = "whole"  # "stream": somebody reads along
    thread: DatabaseThread | None = None  # where it is recorded; None: in that of all runs

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters by name, decided by the live settings where the content leaves them open."""
        decided = effective(self.content, self.snapshot.settings)
        return {name: decided[name] for name in PARAMETERS}

    @property
    def max_tokens(self) -> int:
        return int(self.parameters["max_tokens"])

    def hedge(self) -> HedgePolicy | None:
        """When the next provider is started beside a slow one. Never in a drill, which shows what one fault does."""
        settings = self.snapshot.settings.hedge_after_ms
        if self.drill or self.operation not in settings:
            return None
        return HedgePolicy(delay_ms=settings[self.operation])

    def request(self) -> LLMRequest:
        """What the chain is asked. A provider's own model wins; the template's is for providers that have none."""
        parameters = self.parameters
        return build_request(
            self.operation,
            self.input,
            system_prompt=self.snapshot.filled(self.operation, self.content.body),
            model=self.content.model,
            temperature=parameters.pop("temperature"),
            max_tokens=parameters.pop("max_tokens"),
            count=self.count,
            parameters=parameters,
        )


@dataclass(frozen=True)
class TextHeld:
    """Text has begun to come and is held until the safety filter has judged all of it."""

    provider: str


@dataclass(frozen=True)
class SafetyChecked:
    """The verdict on one side of a run. `blocked`: the text is withheld for it."""

    side: SafetySide
    verdict: SafetyVerdict
    blocked: bool


@dataclass
class Outcome:
    """How a run ended; filled in while it goes on. Until then it counts as canceled."""

    status: RunStatus = RunStatus.CANCELED
    response: LLMResponse | None = None
    error: str = ""
    error_kind: str = ""
    latency_ms: float = 0.0
    attempts: list[EngineAttempt] = field(default_factory=list)
    checks: list[SafetyChecked] = field(default_factory=list)
    at: datetime | None = None  # when it ended
    raw_masked: bool = False  # as long as it is not judged, too

    @property
    def raw(self) -> str:
        """Return the answer as the model wrote it, "" where that is the answer as read but for blank ends."""
        if self.response is None or self.response.raw.strip() == self.response.content.strip():
            return ""
        return self.response.raw


@dataclass(frozen=True)
class RunRecorded:
    """The last event of a run that ended by itself: its id, and the error when it failed or was blocked.

    `attempts` are those that were made, also where the answer is withheld. `raw` is the answer as the model wrote it,
    where that differs; `raw_masked` says that pages mask it, and then `raw` is "". While the database is
    unavailable `run_id` is 0 and `recording` becomes the id later; it raises NotRecorded where the run was given up.
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


RunEvent: TypeAlias = ChainEvent | TextHeld | SafetyChecked | RunRecorded


def size(plan: RunPlan, outcome: Outcome) -> int:
    """The bytes of a run's texts."""
    texts = [plan.input, plan.content.body, outcome.error, *(attempt.message or "" for attempt in outcome.attempts)]
    if outcome.response:
        texts += [outcome.response.content, outcome.response.reasoning or "", outcome.response.raw]
    return sum(len(text.encode(errors="replace")) for text in texts)
