"""The engine's data types: requests, responses, the record of an attempt, and the provider protocols. No logic here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from promptops.engine.answers import AnswerShape

if TYPE_CHECKING:
    from promptops.engine.contracts import Contract

ReasoningEffort: TypeAlias = Literal["none", "low", "medium", "high"]
Role: TypeAlias = Literal["system", "user", "assistant"]
Outcome: TypeAlias = Literal["succeeded", "failed", "canceled"]
JsonMode: TypeAlias = Literal["none", "object", "schema"]
"""What a provider is asked for beside a JSON contract: nothing, any JSON object, or JSON of the contract's schema."""


class PromptOperation(StrEnum):
    """The built-in operations that a streaming server can request."""

    ENHANCE = "enhance"
    AUTO_EXTEND = "auto_extend"
    REWRITE = "rewrite"


@dataclass(frozen=True)
class LLMMessage:
    """One message of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class LLMRequest:
    """One question to a language model.

    `model` is the default, for providers without a model of their own. `timeout_ms` limits the time of one provider.
    Fields that are `None` are not sent. `reasoning_effort` limits how long the model thinks, `json_mode` requests a
    JSON object, `parameters` are further fields of the request body. Each provider kind sends them under its own names
    and omits those that it would refuse. `answer` is the shape in which the chain reads the answer. With `None` the
    chain hands on the answer as it came, without reasoning. With a `contract` the chain reads and checks the answer by
    it, whatever `answer` says, and hands it on whole. `docs/chain.md` says what follows a breach.
    """

    messages: list[LLMMessage]
    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    timeout_ms: int | None = None
    reasoning_effort: ReasoningEffort | None = None
    json_mode: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    answer: AnswerShape | None = None
    contract: Contract | None = None


@dataclass(frozen=True)
class Prices:
    """A provider's prices in USD per million tokens. Without `cached`, cached input costs as much as other input."""

    input: float
    cached: float | None
    output: float


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider counted them; `None` for a count that it did not report.

    `cached_tokens` are part of `input_tokens`, `reasoning_tokens` part of `output_tokens`.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True)
class Attempt:
    """One provider call within a run.

    Times are in milliseconds. `started_ms` and `first_text_ms` count from the start of the run, `latency_ms` from the
    start of the attempt to its end. `queued_ms` is the time that the run waited for a provider before the attempt,
    `connect_ms` the time from the start of the attempt until it had its connection (`None` if it never had one).
    `error_kind` is the `kind` of the error that ended the attempt, `status` the HTTP status of a refusal.

    `usage` is `None` if nothing was used or the usage is unknown; `usage_estimated` marks an estimate. `cost` is in USD
    and `None` for a provider without prices; `cost_estimated` marks a cost that is based on an estimate. `model` is the
    requested model, `answered_model` the model that the provider names in its answer. `hedge` marks an attempt that was
    started beside a slow one, `repair` one that was sent a wrong answer and what is wrong with it.
    """

    provider: str
    model: str
    outcome: Outcome
    error_kind: str | None
    message: str | None
    started_ms: float
    first_text_ms: float | None
    latency_ms: float
    usage: Usage | None = None
    status: int | None = None
    queued_ms: float = 0.0
    connect_ms: float | None = None
    usage_estimated: bool = False
    cost: float | None = None
    cost_estimated: bool = False
    answered_model: str | None = None
    finish_reason: str | None = None
    truncated: bool = False
    hedge: bool = False
    repair: bool = False


@dataclass(frozen=True)
class LLMResponse:
    """A provider's whole answer. `model` is the requested model, `latency_ms` the provider's own time.

    `content` is the answer as read, `raw` the answer as the model wrote it; an empty `raw` means that both are the
    same. `finish_reason`, `reasoning` and `answered_model` are as the provider sent them. `truncated` marks a text that
    was cut off at the token limit. `retry_after_s` is the time in seconds for which the provider wants no requests. The
    chain fills in `data`, the value of an answer under a JSON contract (`None` otherwise), `attempts` and `cost` (USD
    for the whole run, losers included; `None` if no provider has prices). They are not part of the answer, so a
    comparison of two responses ignores them.
    """

    content: str
    provider: str
    model: str
    latency_ms: float
    fallback_used: bool = False
    finish_reason: str | None = None
    reasoning: str | None = field(default=None, repr=False)
    usage: Usage | None = None
    attempts: tuple[Attempt, ...] = field(default=(), compare=False)
    truncated: bool = False
    answered_model: str | None = None
    retry_after_s: float | None = field(default=None, compare=False)
    cost: float | None = field(default=None, compare=False)
    cost_estimated: bool = field(default=False, compare=False)
    raw: str = field(default="", compare=False, repr=False)
    data: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class TextChunk:
    """A piece of an answer, in order."""

    text: str


@dataclass(frozen=True)
class Thinking:
    """The model is reasoning: a sign of life that is no part of the answer."""


StreamEvent: TypeAlias = TextChunk | Thinking | LLMResponse
"""An event of a provider's `stream`: pieces of text and signs of reasoning, then the whole response as the last event.

A `TextChunk` without text is no sign of life.
"""


@dataclass(kw_only=True)
class ProviderOptions:
    """The options that an operator can set for any provider, apart from its address and key.

    `max_concurrent` is the largest number of calls at once. `prices` are needed to compute costs. `fall_back_on` names
    the errors ("auth", "not_found", "refused") after which the run falls back although the contract would stop it.
    `context_tokens` is the size of the model's context, prompt and answer together. `first_text_ms` limits the time to
    the first text or reasoning of a streamed answer, `stall_ms` each pause after it. With either, an answer that is
    handed over whole is streamed too. `adaptations` are applied to every request to this server. `key_problem` says why
    the key must not be sent; every call fails then. `json_mode` is what the server is asked for beside a JSON contract.
    """

    max_concurrent: int | None = None
    prices: Prices | None = None
    fall_back_on: frozenset[str] = frozenset()
    context_tokens: int | None = None
    first_text_ms: int | None = None
    stall_ms: int | None = None
    adaptations: frozenset[str] = frozenset()
    key_problem: str | None = None
    json_mode: JsonMode = "object"


@runtime_checkable
class LLMProvider(Protocol):
    """One language-model endpoint. Any class with these two members is a provider; there is no base class.

    `complete` raises `LLMProviderError` if there is no answer. The chain also uses these members, if a provider has
    them: `model: str | None` (replaces the request's), `timeout_ms: int | None` (the provider's own limit),
    `stream(request) -> AsyncIterator[StreamEvent]`, `can_stream(request) -> bool` (if it cannot stream every answer),
    and those of `ProviderOptions`.
    """

    name: str

    async def complete(self, request: LLMRequest) -> LLMResponse: ...


@runtime_checkable
class StreamingProvider(LLMProvider, Protocol):
    """A provider that can also hand over its answer piece by piece."""

    def stream(self, request: LLMRequest) -> AsyncIterator[StreamEvent]: ...
