"""The one path to every provider that speaks OpenAI's `/chat/completions`.

This module builds the requests and decides their order. Other subjects have their own modules: adaptations.py (refused
parts of a request), assembly.py (putting an answer together), reading.py and reported.py (reading JSON), error_kinds.py
(the meaning of an error), masking.py (keys).

Until an error leaves `complete` or `stream` it is a value, not an exception. So no frame of its traceback holds the
request's headers, or an answer that echoes the key.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from promptops.engine import http
from promptops.engine.answers import split_reasoning
from promptops.engine.auth import BEARER, AuthHeader, BearerKey
from promptops.engine.errors import (
    LLMAuthError,
    LLMEmptyError,
    LLMMalformedError,
    LLMMissingKeyError,
    LLMProviderError,
    LLMRefusedError,
    LLMServerError,
    LLMTimeoutError,
    LLMTransportError,
    LLMTruncatedError,
)
from promptops.engine.providers import error_kinds
from promptops.engine.providers.adaptations import MAX_WORDS, Negotiation
from promptops.engine.providers.addresses import endpoint, models_endpoint
from promptops.engine.providers.assembly import Answer, StreamedAnswer
from promptops.engine.providers.finish_reasons import is_broken_off, is_cut_off, is_filtered
from promptops.engine.providers.json_modes import response_format
from promptops.engine.providers.masking import clean_detail
from promptops.engine.providers.model_ids import MODELS_SECONDS, model_ids
from promptops.engine.providers.refusals import reported_refusal
from promptops.engine.providers.reported import ReportedError
from promptops.engine.rate_limits import cooldown_seconds, reported_cooldown_seconds
from promptops.engine.types import (
    LLMRequest,
    LLMResponse,
    ProviderOptions,
    ReasoningEffort,
    StreamEvent,
    TextChunk,
    Thinking,
)

DEFAULT_TIMEOUT_MS = 20_000
"""The limit of a call if neither provider nor request has one: the engine contract's default for a whole run."""

MAX_DETAIL_CHARS = 300
"""The most characters of a provider's own error text in a message."""

_NEVER_LEARNED_FROM = frozenset({"auth", "context_length", "contract", "not_found", "quota", "rate_limited", "refused"})


def _as_asked(model: str, effort: ReasoningEffort) -> str:
    return effort


@dataclass(frozen=True)
class Profile:
    """The differences of one kind of server in what it is sent."""

    token_limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105 - no password
    """The newer name if the vendor has deprecated `max_tokens`; other servers ignore the newer name."""

    extra: tuple[tuple[str, Any], ...] = ()
    """Fields sent with every request."""

    effort: Callable[[str, ReasoningEffort], str] = _as_asked
    """Returns the server's name for a reasoning effort, by model."""

    streams_json: bool = True
    """True if the server can stream an answer in JSON mode. Otherwise the whole answer is requested."""

    refused_parameters: frozenset[str] = frozenset()
    """Fields that the server refuses with a 400, and that are therefore not sent."""


@dataclass(frozen=True)
class _Failure:
    """An error that was not raised yet, with the reported error and its HTTP status."""

    error: LLMProviderError
    reported: ReportedError | None = None
    status: int = 200


class ChatCompletions(ProviderOptions):
    """The shared part of the provider classes. Each is a dataclass with these fields, in its own order.

    Without `api_key` the key is read from the variable `key_env` at construction. If neither is set, no key is sent. If
    the variable is empty, a call raises `LLMMissingKeyError`. `model` replaces the request's model. The time of a
    `complete` is limited by `timeout_ms` and by the request's `timeout_ms`.
    """

    base_url: str
    name: str
    api_key: str | None
    model: str | None
    timeout_ms: int | None
    key_env: str | None
    auth: AuthHeader
    profile: ClassVar[Profile] = Profile()

    def __post_init__(self) -> None:
        if self.key_problem:
            self.api_key = None
        elif self.api_key is None and self.key_env:
            self.api_key = os.environ.get(self.key_env)
        self.api_key = (self.api_key or "").strip() or None

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Return the whole answer. Raises `LLMProviderError`."""
        result = await self._complete(request)
        if isinstance(result, LLMProviderError):
            raise result
        return result

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamEvent, None]:
        """Yield the answer in pieces as they arrive, then the whole response. Raises `LLMProviderError`.

        The joined pieces are the response's content, with one exception. If a model closes a `<think>` that it never
        opened, the text before it was reasoning, and only the response is right. The caller limits the time, as the
        chain does.
        """
        async with aclosing(self._stream(request)) as results:
            async for result in results:
                if isinstance(result, LLMProviderError):
                    raise result
                yield result

    async def models(self) -> list[str]:
        """Return the ids of the models that the server lists, sorted. Raises `LLMProviderError`."""
        result = self._key_missing() or await self._models()
        if isinstance(result, LLMProviderError):
            raise result
        return result

    def can_stream(self, request: LLMRequest) -> bool:
        """Return whether this kind of server can stream the answer to `request`."""
        return self.profile.streams_json or response_format(request, self.json_mode) is None

    async def _complete(self, request: LLMRequest) -> LLMResponse | LLMProviderError:
        limits = [limit for limit in (self.timeout_ms, request.timeout_ms) if limit is not None]
        limit_ms = min(limits, default=DEFAULT_TIMEOUT_MS)
        started = time.monotonic()
        if problem := self._key_missing():
            return problem
        negotiation = Negotiation(self.base_url, self._model(request), self.adaptations)
        try:
            async with asyncio.timeout(limit_ms / 1000):
                while True:
                    payload = negotiation.adapt(self._payload(request, stream=False))
                    result = await self._call_whole(request, payload, started)
                    if isinstance(result, LLMResponse):
                        negotiation.confirm()
                        return result
                    if not self._takes(negotiation, result, payload):
                        return result.error
        except TimeoutError:
            return LLMTimeoutError(f"{self.name} did not answer within {limit_ms / 1000:g} s")

    async def _stream(self, request: LLMRequest) -> AsyncGenerator[StreamEvent | LLMProviderError, None]:
        started = time.monotonic()
        if problem := self._key_missing():
            yield problem
            return
        negotiation = Negotiation(self.base_url, self._model(request), self.adaptations)
        while True:
            payload = negotiation.adapt(self._payload(request, stream=True))
            failure: _Failure | None = None
            has_begun = False
            async with aclosing(self._call_streamed(request, payload, started)) as results:
                async for result in results:
                    if isinstance(result, _Failure):
                        failure = result
                        continue
                    if not has_begun:
                        negotiation.confirm()
                        has_begun = True
                    yield result
            if failure is None:
                return
            if has_begun or not self._takes(negotiation, failure, payload):
                yield failure.error
                return

    def _takes(self, negotiation: Negotiation, failure: _Failure, payload: dict[str, Any]) -> bool:
        """Return whether to repeat a call with an adapted request, because the server refused a part of it."""
        if failure.reported is None or failure.error.kind in _NEVER_LEARNED_FROM:
            return False
        words = clean_detail(failure.reported.text, self.api_key, MAX_WORDS)
        return negotiation.takes(failure.reported, failure.status, payload, words)

    async def _call_whole(self, request: LLMRequest, payload: dict[str, Any], started: float) -> LLMResponse | _Failure:
        answer = StreamedAnswer()
        headers: Mapping[str, str] = {}
        try:
            async with await self._post(payload) as reply:
                headers = reply.headers
                if not 200 <= reply.status < 300:
                    return self._refused(reply.status, await reported_refusal(reply), headers)
                await answer.take_whole(reply)
            return self._result(request, answer, headers, started)
        except http.CallFailed as failed:
            return self._broken(failed, request, answer, headers, started)

    async def _call_streamed(
        self, request: LLMRequest, payload: dict[str, Any], started: float
    ) -> AsyncGenerator[StreamEvent | _Failure, None]:
        answer = StreamedAnswer()
        headers: Mapping[str, str] = {}
        try:
            async with await self._post(payload) as reply:
                headers = reply.headers
                if not 200 <= reply.status < 300:
                    yield self._refused(reply.status, await reported_refusal(reply), headers)
                    return
                async with aclosing(answer.take(reply)) as pieces:
                    async for text in pieces:
                        yield TextChunk(text) if text else Thinking()
            result = self._result(request, answer, headers, started)
        except http.CallFailed as failed:
            result = self._broken(failed, request, answer, headers, started)
        if isinstance(result, LLMResponse) and not answer.events:
            yield TextChunk(result.content)
        yield result

    async def _models(self) -> list[str] | LLMProviderError:
        try:
            url = models_endpoint(self.base_url)
            async with asyncio.timeout(MODELS_SECONDS), await http.get(url, key=self._key()) as reply:
                if not 200 <= reply.status < 300:
                    return self._refused(reply.status, await reported_refusal(reply), reply.headers).error
                ids = model_ids(await reply.read())
        except TimeoutError:
            return LLMTimeoutError(f"{self.name} did not list its models within {MODELS_SECONDS} s")
        except http.CallFailed as failed:
            return self._call_failed(failed)
        return LLMMalformedError(f"{self.name} answered, but not with a list of models") if ids is None else ids

    def _post(self, payload: dict[str, Any]) -> Awaitable[http.Reply]:
        return http.post_json(endpoint(self.base_url), payload, key=self._key())

    def _key(self) -> BearerKey | None:
        return BearerKey(self.api_key, self.auth) if self.api_key else None

    def _payload(self, request: LLMRequest, *, stream: bool) -> dict[str, Any]:
        """Return the body of the request for this kind of server."""
        profile = self.profile
        payload: dict[str, Any] = {
            **{name: value for name, value in request.parameters.items() if name not in profile.refused_parameters},
            **dict(profile.extra),
            "model": self._model(request),
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        }
        if request.max_tokens is not None:
            payload[profile.token_limit_field] = request.max_tokens
        if request.temperature is not None:
            payload["temperature"] = request.temperature
        if request.reasoning_effort is not None:
            payload["reasoning_effort"] = profile.effort(self._model(request), request.reasoning_effort)
        if (wanted := response_format(request, self.json_mode)) is not None:
            payload["response_format"] = wanted
        if stream and self.can_stream(request):
            payload |= {"stream": True, "stream_options": {"include_usage": True}}
        return payload

    def _model(self, request: LLMRequest) -> str:
        model = self.model or request.model
        if not model:
            raise LLMProviderError(f"{self.name} has no model: name one for it, or in the prompt's settings")
        return model

    def _result(
        self, request: LLMRequest, answer: StreamedAnswer, headers: Mapping[str, str], started: float
    ) -> LLMResponse | _Failure:
        """Return the result of a complete body."""
        if answer.error is not None:
            return self._reported(answer.error, headers)
        if answer.unreadable is not None:
            return _Failure(LLMMalformedError(f"{self.name} {answer.unreadable}"))
        if not answer.complete:
            return _Failure(LLMTransportError(f"{self.name} broke off its answer before the end"))
        return self._response(request, answer, started, cooldown_seconds(headers, refused=False))

    def _broken(
        self,
        failed: http.CallFailed,
        request: LLMRequest,
        answer: StreamedAnswer,
        headers: Mapping[str, str],
        started: float,
    ) -> LLMResponse | _Failure:
        """Return the result of a call whose connection broke. A complete answer or a reported error still counts."""
        if answer.complete or answer.error is not None:
            return self._result(request, answer, headers, started)
        return _Failure(self._call_failed(failed))

    def _response(
        self, request: LLMRequest, answer: Answer, started: float, retry_after_s: float | None
    ) -> LLMResponse | _Failure:
        raw = answer.raw
        content, thoughts = split_reasoning(raw)
        problem = self._no_text(answer, content)
        if problem is not None:
            problem.usage, problem.retry_after_s = answer.usage, retry_after_s
            return _Failure(problem)
        return LLMResponse(
            content=content,
            raw=raw,
            provider=self.name,
            model=self._model(request),
            latency_ms=(time.monotonic() - started) * 1000,
            finish_reason=answer.finish_reason,
            reasoning=(answer.reasoning + thoughts).strip() or None,
            usage=answer.usage,
            truncated=is_cut_off(answer.finish_reason),
            answered_model=answer.model,
            retry_after_s=retry_after_s,
        )

    def _no_text(self, answer: Answer, content: str) -> LLMProviderError | None:
        """Return the error of an answer that is no success, or `None`."""
        if content and answer.finish_reason in ("stop", None):  # the usual case
            return None
        if is_filtered(answer.finish_reason) or (answer.refusal and not content):
            message = self._message("refused the content", answer.refusal or "its filter stopped the answer")
            return LLMRefusedError(message, retryable=not content)
        if is_broken_off(answer.finish_reason):
            return LLMServerError(self._message("broke off its answer", f"finish reason {answer.finish_reason}"))
        if content:
            return None
        if is_cut_off(answer.finish_reason):
            return LLMTruncatedError(f"{self.name} sent an empty answer (the token limit was used up before any text)")
        return LLMEmptyError(f"{self.name} sent an empty answer")

    def _key_missing(self) -> LLMProviderError | None:
        if self.key_problem:
            return LLMMissingKeyError(f"{self.name} has no API key: {self.key_problem}")
        if self.api_key is None:
            return LLMMissingKeyError(f"{self.name} has no API key: set {self.key_env}") if self.key_env else None
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            return LLMAuthError(f"The API key of {self.name} contains a character that no key can have")
        return None

    def _call_failed(self, failed: http.CallFailed) -> LLMProviderError:
        message = f"{self.name} {failed.reason}"
        if failed.timed_out:
            return LLMTimeoutError(message)
        return LLMMalformedError(message) if failed.too_long else LLMTransportError(message)

    def _reported(self, reported: ReportedError, headers: Mapping[str, str]) -> _Failure:
        """Return the failure for an error that came under HTTP 200."""
        wait = reported_cooldown_seconds(reported.objects, reported.words, headers)
        message = self._message("reported an error instead of answering", reported.text)
        error = error_kinds.error_of_report(reported, message, names_time=wait is not None)
        error.retry_after_s = wait
        return _Failure(error, reported, reported.status or 400)

    def _refused(self, status: int, reported: ReportedError | None, headers: Mapping[str, str]) -> _Failure:
        """Return the failure for an HTTP status other than 2xx."""
        wait = cooldown_seconds(headers, refused=True)
        if reported is not None and (status in (402, 403, 413, 429) or status >= 500):
            body_wait = reported_cooldown_seconds(reported.objects, reported.words, headers)
            wait = max((seconds for seconds in (wait, body_wait) if seconds is not None), default=None)
        message = self._message(f"answered with status {status}", reported.text if reported else None)
        error = error_kinds.class_of_status(status, reported, names_time=wait is not None)(message, status=status)
        error.retry_after_s = wait
        return _Failure(error, reported, status)

    def _message(self, what: str, detail: str | None) -> str:
        detail = clean_detail(detail, self.api_key, MAX_DETAIL_CHARS) if detail else ""
        return f"{self.name} {what}: {detail}" if detail else f"{self.name} {what}"


@dataclass
class OpenAICompatibleProvider(ChatCompletions):
    """Any server with an OpenAI-compatible `/chat/completions` below `base_url`. The key is optional."""

    base_url: str
    name: str = "openai"
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None
    timeout_ms: int | None = None
    key_env: str | None = None
    auth: AuthHeader = BEARER
