"""Plans of runs that machines ask for. They are made from the snapshot alone, without the database."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError

from promptops.engine.chain import Delivery
from promptops.engine.contracts import Contract
from promptops.engine.live_runs import Input, input_text, live_request, template_of
from promptops.engine.operations import OnFailure
from promptops.engine.snapshot import Snapshot, TemplateSpec
from promptops.engine.types import LLMRequest
from promptops.platform.ids import new_uuid
from promptops.platform.text import clean_input
from promptops.prompts.content import Content
from promptops.runs.enums import RunSource
from promptops.runs.plans import RunPlan

MAX_DEADLINE_MS = 600_000


class InvalidRun(ValueError):
    """The run cannot be planned. `field` is the part of the request that is wrong; the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message if message.endswith(".") else f"{message}.")
        self.field = field


@dataclass(frozen=True)
class Wishes:
    """The wishes of a machine beside the input; `None` leaves it to what is live.

    `temperature` and `max_tokens` can only lower those of the template. `system_prompt` replaces the template's text.
    """

    count: int | None = None
    template: str | None = None
    deadline_ms: int | None = None
    on_failure: OnFailure | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    system_prompt: str | None = None


@dataclass(frozen=True, kw_only=True)
class MachinePlan(RunPlan):
    """A run of a live template for a machine. Its deadline counts from the moment of planning."""

    live: TemplateSpec
    wishes: Wishes
    began: float = field(default_factory=time.monotonic)

    @cached_property
    def contract(self) -> Contract | None:
        """Return what the answer must be, as the snapshot has it."""
        return self.snapshot.contract_for(self.live)

    @property
    def template_id(self) -> int | None:
        return self.live.id or None

    @property
    def version_id(self) -> int | None:
        return None if self.wishes.system_prompt is not None else self.live.version_id or None

    @property
    def on_failure(self) -> OnFailure:
        return self.wishes.on_failure or self.spec.on_failure

    @property
    def deadline_ms(self) -> int:
        """Return the time of the whole run."""
        return self.timeout_ms or self.snapshot.settings_for(self.operation).timeout_ms

    @property
    def chain_ms(self) -> int:
        return max(1, int(self.deadline_ms - (time.monotonic() - self.began) * 1000))

    def request(self) -> LLMRequest:
        return live_request(
            self.snapshot,
            self.live,
            self.input,
            count=self.count,
            temperature=self.content.temperature,
            max_tokens=self.content.max_tokens,
            system_prompt=self.wishes.system_prompt,
        )


def plan_run(
    snapshot: Snapshot,
    operation: str,
    given: Input,
    wishes: Wishes,
    *,
    token: int,
    request_id: str,
    delivery: Delivery = "whole",
) -> MachinePlan:
    """Return the plan of a run. Raises `InvalidRun`."""
    try:
        spec = snapshot.operation(operation)
    except ValueError as error:
        raise InvalidRun("operation", str(error)) from None
    field = "fields" if isinstance(given, Mapping) else "input"
    try:
        text = clean_input(input_text(spec, given))
    except ValueError as error:
        raise InvalidRun(field, str(error)) from None
    except ValidationError as error:
        raise InvalidRun(field, " ".join(error.messages)) from None
    try:
        live = template_of(snapshot, spec, wishes.template)
    except ValueError as error:
        raise InvalidRun("template", str(error)) from None
    if wishes.on_failure == "input" and spec.input != "text":
        raise InvalidRun("on_failure", f"{spec.name} can pass its input on only if the input is one text")
    if wishes.count is not None and not spec.offers_alternatives:
        raise InvalidRun("count", f"{spec.name} does not offer alternatives. Leave count out")
    return MachinePlan(
        operation=spec.name,
        input=text,
        content=_content(snapshot, live, wishes),
        providers=snapshot.providers,
        snapshot=snapshot,
        source=RunSource.API,
        token=token,
        request_id=request_id,
        count=spec.count_or_default(wishes.count),
        timeout_ms=wishes.deadline_ms,
        delivery=delivery,
        public_id=new_uuid(),
        live=live,
        wishes=wishes,
    )


def _content(snapshot: Snapshot, live: TemplateSpec, wishes: Wishes) -> Content:
    """Return the text and the settings of the run, for its request and its record."""
    settings = snapshot.settings_for(live.operation)
    temperature = settings.temperature if live.temperature is None else live.temperature
    max_tokens = settings.max_tokens if live.max_tokens is None else live.max_tokens
    parameters: Mapping[str, Any] = live.parameters
    return Content(
        live.body if wishes.system_prompt is None else wishes.system_prompt,
        temperature=temperature if wishes.temperature is None else min(temperature, wishes.temperature),
        max_tokens=max_tokens if wishes.max_tokens is None else min(max_tokens, wishes.max_tokens),
        model=live.model or "",
        **parameters,
    )
