"""The snapshot: the immutable live configuration that every run reads. Loading and swapping it belong to
`promptops/live`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from promptops.engine.contracts import Contract
from promptops.engine.messages import Example
from promptops.engine.operations import OPERATIONS, OperationSpec
from promptops.engine.safety import second_stage
from promptops.engine.safety.guard import (
    SafetyCategory,
    SafetyGuard,
    SafetyPolicy,
    SafetyVerdict,
    UnjudgedCause,
    VerdictDecision,
)
from promptops.engine.types import JsonMode, Prices
from promptops.engine.variables import fill

LeverKind: TypeAlias = Literal["freeze", "pass_through"]
"""The kinds of lever: nothing is released, or the inputs of an operation go on without a model."""


@dataclass(frozen=True)
class ProviderSpec:
    """The address, key and options of one provider.

    `kind` is a registered provider kind. The key is `api_key` if given, otherwise the value of the environment variable
    `key_env`. `timeout_ms` is the provider's own limit for one attempt. The fields after `key_env` are those of
    `ProviderOptions`. A `json_mode` of `None` is that of the kind.
    """

    id: int
    name: str
    kind: str
    base_url: str
    model: str
    timeout_ms: int | None
    api_key: str | None = field(default=None, repr=False)
    key_env: str | None = None
    max_concurrent: int | None = None
    prices: Prices | None = None
    fall_back_on: frozenset[str] = frozenset()
    context_tokens: int | None = None
    first_text_ms: int | None = None
    stall_ms: int | None = None
    adaptations: frozenset[str] = frozenset()
    key_problem: str | None = None
    json_mode: JsonMode | None = None


@dataclass(frozen=True)
class TemplateSpec:
    """One template with its live version. For settings that are `None`, the snapshot's settings apply.

    `parameters` are further fields of a request's body. `user_template` ("" for exactly the input) and `examples` are
    as `build_request` takes them. `contract` is the contract of the operation, narrowed by this version. It is `None`
    for a version that narrows nothing; `Snapshot.contract_for` returns the contract of both.
    """

    id: int
    name: str
    operation: str
    version_id: int
    version_number: int
    body: str
    temperature: float | None
    max_tokens: int | None
    model: str | None
    sha256: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    user_template: str = ""
    examples: tuple[Example, ...] = ()
    contract: Contract | None = None


@dataclass(frozen=True)
class SettingsSpec:
    """Settings of a run that neither template nor caller sets. The defaults are those of the engine's contract."""

    timeout_ms: int = 20_000
    temperature: float = 0.7
    max_tokens: int = 256


@dataclass(frozen=True)
class SafetySpec:
    """The safety filter: `mode` is off, shadow (verdicts are only recorded) or enforce.

    `guard` judges by `policy` with the model of that number and file. `model_labels` maps the labels of the model to
    categories, or to `None` for harmless. In enforce mode `blocks_when_down` blocks texts that a failing filter cannot
    judge, and `blocks_languages` blocks texts in a language that its model does not know. `blocks_expected` takes its
    place for the `expected_languages`, by the names of the language gate.

    `second_mode` (off, shadow: only recorded, or enforce), `second_scope` and `second_threshold` (None: its own) are
    those of the second stage. It judges only while `mode` is not off.
    """

    mode: str = "off"
    blocks_when_down: bool = True
    blocks_languages: bool = True
    expected_languages: tuple[str, ...] = ()
    blocks_expected: bool = True
    policy: SafetyPolicy = field(default_factory=SafetyPolicy)
    model_id: int | None = None
    model_number: int = 0
    model_sha256: str = ""
    model_labels: Mapping[str, SafetyCategory | None] = field(default_factory=dict)
    second_mode: str = "off"
    second_scope: str = second_stage.DOUBTFUL
    second_threshold: float | None = None
    guard: SafetyGuard = field(default_factory=lambda: SafetyGuard(None), repr=False, compare=False)
    second: second_stage.SecondStage = field(default_factory=second_stage.shipped, repr=False, compare=False)

    @property
    def asks_second(self) -> bool:
        """True if the second stage judges texts."""
        return second_stage.OFF not in (self.mode, self.second_mode)

    def stops(self, verdict: SafetyVerdict) -> bool:
        """Return whether a text with this verdict is blocked in enforce mode."""
        if verdict.decision is VerdictDecision.UNAVAILABLE:
            if verdict.cause is not UnjudgedCause.LANGUAGE:
                return self.blocks_when_down
            return self.blocks_expected if verdict.language in self.expected_languages else self.blocks_languages
        return verdict.decision is not VerdictDecision.ALLOW


@dataclass(frozen=True)
class Lever:
    """One incident lever. It ends by itself at `expires_at`, an aware time in UTC, also on a server that is offline.

    `operation` is that of a pass-through, and "" for a freeze. `by` names the person who set it.
    """

    kind: LeverKind
    operation: str
    expires_at: datetime
    note: str = ""
    by: str = ""

    def holds(self, now: datetime) -> bool:
        """Return whether the lever still holds at this aware time."""
        return now < self.expires_at

    @property
    def sentence(self) -> str:
        """Return who set the lever, what it does, until when and why, as one sentence."""
        does = "froze releases" if self.kind == "freeze" else f"lets the inputs of {self.operation} pass through"
        note = f": {self.note.rstrip('.')}" if self.note else ""
        return f"{self.by or 'PromptOps'} {does} until {self.until}{note}."

    @property
    def until(self) -> str:
        """Return the end of the lever in words."""
        return f"{self.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Snapshot:
    """The live configuration at one revision.

    `defaults` maps an operation to the id of its default template. `providers` are the providers in order. Revisions
    are comparable only within one `epoch`: a restored database starts another one, in which a lower revision is newer.
    """

    revision: int
    templates: tuple[TemplateSpec, ...]
    defaults: Mapping[str, int]
    providers: tuple[ProviderSpec, ...]
    settings: SettingsSpec = SettingsSpec()
    variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The values of the variables `{{ name }}`, by operation and name. The texts of templates are not filled in."""
    safety: SafetySpec = field(default_factory=SafetySpec)
    epoch: str = ""
    operations: Mapping[str, OperationSpec] = field(default_factory=lambda: OPERATIONS)
    """The operations by name, in the order of the pages. Archived ones are not among them."""
    levers: tuple[Lever, ...] = ()
    """The levers, including those that ended since. `frozen` and `passes_through` take the time into account."""
    pins_from: int = 0
    """The newest revision of this epoch that applies to pinned sessions too; 0 if none does (`engine.pins`)."""

    def operation(self, name: str) -> OperationSpec:
        """Return the operation of that name. Raises `ValueError` for an unknown or archived one."""
        spec = self.operations.get(name)
        if spec is None:
            raise ValueError(f"Unknown operation {str(name)!r}; known are {', '.join(self.operations)}")
        return spec

    def settings_for(self, operation: str) -> SettingsSpec:
        """Return the settings, with the limits that the operation has of its own."""
        spec = self.operations.get(operation)
        if spec is None:
            return self.settings
        limits = {"timeout_ms": spec.timeout_ms, "max_tokens": spec.max_tokens}
        return replace(self.settings, **{name: limit for name, limit in limits.items() if limit is not None})

    def filled(self, operation: str, text: str) -> str:
        """Return a system prompt of the operation as a model gets it, with its variables filled in."""
        return fill(text, self.variables.get(operation, {}))

    def template_for(self, operation: str) -> TemplateSpec | None:
        """Return the operation's default template, or `None` if it has none."""
        wanted = self.defaults.get(operation)
        return next((template for template in self.templates if template.id == wanted), None)

    def contract_for(self, template: TemplateSpec) -> Contract | None:
        """Return what an answer of the template must be, or `None` if nothing is checked."""
        return template.contract or self.operation(template.operation).contract

    def frozen(self, now: datetime) -> Lever | None:
        """Return the freeze that holds at this aware time, the last to end, or `None`."""
        return self._lever("freeze", "", now)

    def passes_through(self, operation: str, now: datetime) -> Lever | None:
        """Return the pass-through of the operation that holds at this aware time, the last to end, or `None`."""
        return self._lever("pass_through", operation, now)

    def _lever(self, kind: LeverKind, operation: str, now: datetime) -> Lever | None:
        holding = [each for each in self.levers if (each.kind, each.operation) == (kind, operation) and each.holds(now)]
        return max(holding, key=lambda lever: lever.expires_at, default=None)
