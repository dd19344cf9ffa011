"""The engine's data types: what goes into a provider, what comes out, and what a run leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias, runtime_checkable

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
    that one provider may take; `None` fields are left out of what is sent.
    """

    messages: list[LLMMessage]
    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    timeout_ms: int | None = None


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
    start of the attempt to its end. `error_kind` is the `kind` of the error that ended it, `status` the HTTP status
    if the provider answered with one that means failure.
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


@dataclass(frozen=True)
class LLMResponse:
    """A provider's whole answer. `model` is the model that was asked for, `latency_ms` the provider's own time.

    `finish_reason` and `reasoning` are as the provider gave them. `attempts` is filled in by the chain; it tells how
    the answer was got and is no part of it, so two responses are compared without it.
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


@dataclass(frozen=True)
class TextChunk:
    """A piece of an answer, in order."""

    text: str


StreamEvent: TypeAlias = TextChunk | LLMResponse
"""What a provider's `stream` yields: pieces of text, then the whole response as the last event."""


@runtime_checkable
class LLMProvider(Protocol):
    """One language-model endpoint. Any class with these two members is one; there is no base class.

    `complete` raises `LLMProviderError` when there is no answer. Optional members that the chain uses when they are
    there: `model: str | None` (wins over the request's), `timeout_ms: int | None` (this provider's own limit) and
    `stream(request) -> AsyncIterator[StreamEvent]`.
    """

    name: str

    async def complete(self, request: LLMRequest) -> LLMResponse: ...


@runtime_checkable
class StreamingProvider(LLMProvider, Protocol):
    """A provider that can also hand over its answer piece by piece."""

    def stream(self, request: LLMRequest) -> AsyncIterator[StreamEvent]: ...
