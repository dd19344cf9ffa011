"""The one path to every provider that speaks OpenAI's `/chat/completions`.

What is sent and in which order is decided here. Beside it: adaptations.py (what a server refuses), assembly.py (putting
an answer together), reading.py and reported.py (reading JSON), error_kinds.py (what an error means), masking.py (keys).

Until an error leaves `complete` or `stream` it is a value, not an exception: no frame of its traceback then holds the
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
from promptops.engine.providers.addresses import endpoint
from promptops.engine.providers.assembly import Answer, StreamedAnswer
from promptops.engine.providers.finish_reasons import is_broken_off, is_cut_off, is_filtered
from promptops.engine.providers.masking import clean_detail
from promptops.engine.providers.reading import parsed
from promptops.engine.providers.reported import ReportedError, error_of_text, read_error
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
"""The limit of a call that neither provider nor request limits: the engine contract's default for a whole run."""

REFUSAL_SECONDS = 0.5
"""How long the words of a refusal are waited for: its status and headers have said what to do already."""

MAX_DETAIL_CHARS = 300
"""How much of a provider's own error text goes into a message."""

_NEVER_LEARNED_FROM = frozenset({"auth", "context_length", "not_found", "quota", "rate_limited", "refused"})


def _as_asked(model: str, effort: ReasoningEffort) -> str:
    return effort


@dataclass(frozen=True)
class Profile:
    """What one kind of server wants said differently."""

    token_limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105 - no password
    """The newer name where the vendor has deprecated `max_tokens`; other servers ignore the newer one."""

    extra: tuple[tuple[str, Any], ...] = ()
    """Fields sent with every request."""

    effort: Callable[[str, ReasoningEffort], str] = _as_asked
    """What the reasoning effort is called here, for a model."""

    streams_json: bool = True
    """Whether an answer in JSON mode can be streamed; where not, it is asked for whole."""

    refused_parameters: frozenset[str] = frozenset()
    """Fields that are refused with a 400 and therefore left out."""


@dataclass(frozen=True)
class _Failure:
    """An error on its way out, with what the provider reported and the HTTP status that it stands for."""

    error: LLMProviderError
    reported: ReportedError | None = None
    status: int = 200


class ChatCompletions(ProviderOptions):
    """What the providers share; each is a dataclass with these fields, in its own order.

    `key_env` names the variable that the key comes from when `api_key` is not given, at construction. With neither
    set no key is sent; with `key_env` set and nothing in it, a call raises `LLMMissingKeyError`. `model` wins over
    the request's. A `complete` may take `timeout_ms` or the request's, whichever is shorter.
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
        """The whole answer at once. Raises `LLMProviderError`."""
        result = await self._complete(request)
        if isinstance(result, LLMProviderError):
            raise result
        return result

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamEvent, None]:
        """The answer in pieces as they arrive, then the whole response. Raises `LLMProviderError`.

        Put together the pieces are the response's content, except when a model closes a `<think>` that it never
        opened: what came before was thinking, and only the response is right. The time is the caller's to limit;
        the chain does.
        """
        async with aclosing(self._stream(request)) as results:
            async for result in results:
                if isinstance(result, LLMProviderError):
                    raise result
                yield result

    def can_stream(self, request: LLMRequest) -> bool:
        """Return whether this kind of server can stream the answer to `request`."""
        return self.profile.streams_json or not request.json_mode

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
            return LLMTimeoutError(f"{self.name} did not answer within {limit_ms} ms")

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
        """Return whether a call that the server refused for a part of it is to be repeated, asked differently."""
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
                    return self._refused(reply.status, await _words_of_refusal(reply), headers)
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
                    yield self._refused(reply.status, await _words_of_refusal(reply), headers)
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

    def _post(self, payload: dict[str, Any]) -> Awaitable[http.Reply]:
        key = BearerKey(self.api_key, self.auth) if self.api_key else None
        return http.post_json(endpoint(self.base_url), payload, key=key)

    def _payload(self, request: LLMRequest, *, stream: bool) -> dict[str, Any]:
        """The request in this kind's own words."""
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
        if request.json_mode:
            payload["response_format"] = {"type": "json_object"}
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
        """What a body that came to its end, or that said that it is over, amounts to."""
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
        """What a call amounts to whose connection broke: what it had said by then counts, if it was complete."""
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
        """Why an answer is no success."""
        if content and answer.finish_reason in ("stop", None):  # as a rule
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
        """The failure for an error that came under HTTP 200."""
        wait = reported_cooldown_seconds(reported.objects, reported.words, headers)
        message = self._message("reported an error instead of answering", reported.text)
        error = error_kinds.error_of_report(reported, message, names_time=wait is not None)
        error.retry_after_s = wait
        return _Failure(error, reported, reported.status or 400)

    def _refused(self, status: int, reported: ReportedError | None, headers: Mapping[str, str]) -> _Failure:
        """The failure for an HTTP status that means one."""
        wait = cooldown_seconds(headers, refused=True)
        if reported is not None and (status in (402, 403, 413, 429) or status >= 500):
            said = reported_cooldown_seconds(reported.objects, reported.words, headers)
            wait = max((one for one in (wait, said) if one is not None), default=None)
        message = self._message(f"answered with status {status}", reported.text if reported else None)
        error = error_kinds.class_of_status(status, reported, names_time=wait is not None)(message, status=status)
        error.retry_after_s = wait
        return _Failure(error, reported, status)

    def _message(self, what: str, detail: str | None) -> str:
        detail = clean_detail(detail, self.api_key, MAX_DETAIL_CHARS) if detail else ""
        return f"{self.name} {what}: {detail}" if detail else f"{self.name} {what}"


@dataclass
class OpenAICompatibleProvider(ChatCompletions):
    """Any server with an OpenAI-compatible `/chat/completions` below `base_url`; a key is optional."""

    base_url: str
    name: str = "openai"
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None
    timeout_ms: int | None = None
    key_env: str | None = None
    auth: AuthHeader = BEARER


async def _words_of_refusal(reply: http.Reply) -> ReportedError | None:
    """What the body of a refusal says; `None` when it does not come, breaks off or cannot be read."""
    try:
        async with asyncio.timeout(REFUSAL_SECONDS):
            body = await reply.read()
    except (TimeoutError, http.CallFailed):
        return None
    data = parsed(body)
    if data is None and "text/plain" in reply.headers.get("content-type", ""):
        return error_of_text(body.decode("utf-8", "replace").strip())
    return read_error(data)
