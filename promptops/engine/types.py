"""The engine's data types: what goes into a provider, what comes out, and what a run leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from promptops.engine.answers import AnswerShape

ReasoningEffort: TypeAlias = Literal["none", "low", "medium", "high"]
Role: TypeAlias = Literal["system", "user", "assistant"]
Outcome: TypeAlias = Literal["succeeded", "failed", "canceled"]


class PromptOperation(StrEnum):
    """What a streaming server asks for."""

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

    `model` is the default: a provider that has a model of its own asks for that one. `timeout_ms` is the longest
    that one provider may take; `None` fields are left out of what is sent. `reasoning_effort` is how long the model
    may think, `json_mode` asks for an answer that is a JSON object, `parameters` are further fields of the request
    body; each provider kind sends them in its own words and leaves out what it would refuse. `answer` is the shape that
    the chain reads the answer in; with `None` the chain hands the answer on as it came, without reasoning.
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


@dataclass(frozen=True)
class Prices:
    """What a provider takes, in USD per million tokens. Without `cached`, cached input costs what other input does."""

    input: float
    cached: float | None
    output: float


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider counted them; `None` where it did not say.

    `cached_tokens` are part of `input_tokens`, `reasoning_tokens` part of `output_tokens`.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True)
class Attempt:
    """One provider call within a run.

    Times are in milliseconds: `started_ms` and `first_text_ms` since the start of the run, `latency_ms` from the
    start of the attempt to its end, `queued_ms` how long the run waited for a provider before it, `connect_ms` from
    the start of the attempt until it had its connection (`None` when it got none). `error_kind` is the `kind` of the
    error that ended it, `status` the HTTP status if the provider answered with one that means failure.

    `usage` is `None` where nothing was used, or nobody can tell; `usage_estimated` marks one that the provider did not
    give. `cost` is in USD, `None` for a provider without prices; `cost_estimated` marks one made from an estimate.
    `model` is the model asked for, `answered_model` the one that the provider says answered. `hedge` marks an attempt
    that was started beside a slow one.
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


@dataclass(frozen=True)
class LLMResponse:
    """A provider's whole answer. `model` is the model that was asked for, `latency_ms` the provider's own time.

    `content` is the answer as read, `raw` as the model wrote it; an empty `raw` means that both are the same.
    `finish_reason` and `reasoning` are as the provider gave them, `answered_model` is the model that it says
    answered. `truncated` marks a text that the token limit cut short. `retry_after_s` is how many seconds the
    provider wants no further request. `attempts` and `cost` (USD, of the whole run, losers included; `None` when no
    provider has prices) are filled in by the chain; they tell how the answer was got and are no part of it, so two
    responses are compared without them.
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


@dataclass(frozen=True)
class TextChunk:
    """A piece of an answer, in order."""

    text: str


@dataclass(frozen=True)
class Thinking:
    """The model is reasoning: a sign of life that is no part of the answer."""


StreamEvent: TypeAlias = TextChunk | Thinking | LLMResponse
"""What a provider's `stream` yields: pieces of text and signs of reasoning, then the whole response as the last event.

A `TextChunk` without text is no sign of life.
"""


@dataclass(kw_only=True)
class ProviderOptions:
    """What an operator can set for any provider, beside how it is reached.

    `max_concurrent` is how many calls it gets at once; `prices` make costs known; `fall_back_on` names the errors
    ("auth", "not_found", "refused") after which the next provider is asked although the contract would stop;
    `context_tokens` is how much its model can take, prompt and answer together. `first_text_ms` and `stall_ms` limit a
    streamed answer: how long its first text or reasoning may take, and how long it may pause afterwards; with either,
    an answer that is handed over whole is streamed too. `adaptations` name what this server wants to be asked
    differently. `key_problem` says why its key must not be sent; every call fails then.
    """

    max_concurrent: int | None = None
    prices: Prices | None = None
    fall_back_on: frozenset[str] = frozenset()
    context_tokens: int | None = None
    first_text_ms: int | None = None
    stall_ms: int | None = None
    adaptations: frozenset[str] = frozenset()
    key_problem: str | None = None


@runtime_checkable
class LLMProvider(Protocol):
    """One language-model endpoint. Any class with these two members is one; there is no base class.

    `complete` raises `LLMProviderError` when there is no answer. Optional members that the chain uses when they are
    there: `model: str | None` (wins over the request's), `timeout_ms: int | None` (this provider's own limit),
    `stream(request) -> AsyncIterator[StreamEvent]`, `can_stream(request) -> bool` (where it cannot always), and those
    of `ProviderOptions`.
    """

    name: str

    async def complete(self, request: LLMRequest) -> LLMResponse: ...


@runtime_checkable
class StreamingProvider(LLMProvider, Protocol):
    """A provider that can also hand over its answer piece by piece."""

    def stream(self, request: LLMRequest) -> AsyncIterator[StreamEvent]: ...
