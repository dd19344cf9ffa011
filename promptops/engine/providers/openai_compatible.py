"""The one path to every provider that speaks OpenAI's `/chat/completions`.

Until an error leaves `complete` or `stream` it is a value, not an exception: no frame of its traceback then holds the
request's headers, or an answer that echoes the key.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from promptops.engine import http
from promptops.engine.answers import ReasoningFilter, split_reasoning
from promptops.engine.errors import (
    LLMAuthError,
    LLMBadRequestError,
    LLMContextLengthError,
    LLMEmptyError,
    LLMMalformedError,
    LLMMissingKeyError,
    LLMNotFoundError,
    LLMProviderError,
    LLMRateLimitedError,
    LLMRefusedError,
    LLMServerError,
    LLMTimeoutError,
    LLMTransportError,
    LLMTruncatedError,
)
from promptops.engine.rate_limits import cooldown_seconds
from promptops.engine.types import (
    LLMRequest,
    LLMResponse,
    ProviderOptions,
    ReasoningEffort,
    StreamEvent,
    TextChunk,
    Usage,
)

DEFAULT_TIMEOUT_MS = 20_000
"""The limit of a call that neither provider nor request limits: the engine contract's default for a whole run."""

LINGER_SECONDS = 0.25
"""How long a stream is read on once the answer is complete: its usage and the end of the body come right behind it,
and only a body that was read to its end leaves a connection that can be used again."""

REFUSAL_SECONDS = 0.5
"""How long the words of a refusal are waited for: its status and headers have said what to do already."""

BROKEN_OFF = frozenset({"error", "abort"})
"""Finish reasons of answers that the server gave up: OpenRouter's, and those of vLLM and SGLang."""

MAX_DETAIL_CHARS = 300
"""How much of a provider's own error text goes into a message."""


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

    async def _complete(self, request: LLMRequest) -> LLMResponse | LLMProviderError:
        started = time.monotonic()
        if problem := self._key_missing():
            return problem
        limits = [limit for limit in (self.timeout_ms, request.timeout_ms) if limit is not None]
        limit_ms = min(limits, default=DEFAULT_TIMEOUT_MS)
        try:
            async with asyncio.timeout(limit_ms / 1000), self._post(request, stream=False) as reply:
                return await self._read_whole(request, reply, started)
        except TimeoutError:
            return LLMTimeoutError(f"{self.name} did not answer within {limit_ms} ms")
        except http.CallFailed as failed:
            return self._call_failed(failed)

    async def _stream(self, request: LLMRequest) -> AsyncGenerator[StreamEvent | LLMProviderError, None]:
        started = time.monotonic()
        if problem := self._key_missing():
            yield problem
            return
        retry_after_s: float | None = None
        answer = _StreamedAnswer()
        failure: LLMProviderError = LLMTransportError(f"{self.name} broke off its answer before the end")
        try:
            async with self._post(request, stream=self.profile.streams_json or not request.json_mode) as reply:
                if not (_is_success(reply.status) and reply.is_event_stream):
                    whole = await self._read_whole(request, reply, started)
                    if isinstance(whole, LLMResponse):
                        yield TextChunk(whole.content)
                    yield whole
                    return
                retry_after_s = cooldown_seconds(reply.headers, refused=False)
                async with aclosing(answer.read(reply.chunks())) as pieces:
                    async for text in pieces:
                        yield TextChunk(text)
        except http.CallFailed as failed:
            failure = self._call_failed(failed)
        if answer.error is not None:
            yield self._reported(answer.error)
        elif answer.complete:
            yield self._response(request, answer, started, retry_after_s)
        else:
            yield failure

    def _post(self, request: LLMRequest, *, stream: bool) -> AbstractAsyncContextManager[http.Reply]:
        payload = self._payload(request)
        if stream:
            payload |= {"stream": True, "stream_options": {"include_usage": True}}
        key = http.BearerKey(self.api_key) if self.api_key else None
        return http.post_json(self.base_url.rstrip("/") + "/chat/completions", payload, key=key)

    def _payload(self, request: LLMRequest) -> dict[str, Any]:
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
        return payload

    def _model(self, request: LLMRequest) -> str:
        model = self.model or request.model
        if not model:
            raise LLMProviderError(f"{self.name} has no model: name one for it, or in the prompt's settings")
        return model

    async def _read_whole(
        self, request: LLMRequest, reply: http.Reply, started: float
    ) -> LLMResponse | LLMProviderError:
        if not _is_success(reply.status):
            return self._refused(reply.status, await _words_of_refusal(reply), reply.headers)
        data = _parsed_or_none(await reply.read())
        if data is None:
            return LLMMalformedError(f"{self.name} sent an answer that is not JSON")
        if (error := read_error(data)) is not None:
            return self._reported(error)
        choice = _first_choice(data)
        if choice is None:
            return LLMMalformedError(f"{self.name} sent an answer without choices")
        return self._response(
            request, _whole_answer(data, choice), started, cooldown_seconds(reply.headers, refused=False)
        )

    def _response(
        self, request: LLMRequest, answer: _Answer, started: float, retry_after_s: float | None
    ) -> LLMResponse | LLMProviderError:
        content, thoughts = split_reasoning(answer.raw)
        problem = self._no_text(answer, content)
        if problem is not None:
            problem.usage, problem.retry_after_s = answer.usage, retry_after_s
            return problem
        return LLMResponse(
            content=content,
            raw=answer.raw,
            provider=self.name,
            model=self._model(request),
            latency_ms=(time.monotonic() - started) * 1000,
            finish_reason=answer.finish_reason,
            reasoning=(answer.reasoning + thoughts).strip() or None,
            usage=answer.usage,
            truncated=answer.finish_reason == "length",
            answered_model=answer.model,
            retry_after_s=retry_after_s,
        )

    def _no_text(self, answer: _Answer, content: str) -> LLMProviderError | None:
        """Why an answer is no success."""
        if answer.finish_reason == "content_filter" or (answer.refusal and not content):
            message = self._message("refused the content", answer.refusal or "its filter stopped the answer")
            return LLMRefusedError(message, retryable=not content)
        if answer.finish_reason in BROKEN_OFF:
            return LLMServerError(f"{self.name} broke off its answer (finish reason {answer.finish_reason})")
        if content:
            return None
        if answer.finish_reason == "length":
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

    def _reported(self, error: str) -> LLMProviderError:
        """The error for one that came under HTTP 200, where it is found by its text alone."""
        message = self._message("reported an error instead of answering", error)
        if _CONTENT_POLICY.search(error):
            return LLMRefusedError(message, retryable=True)
        return LLMServerError(message)

    def _refused(self, status: int, data: Any, headers: Mapping[str, str]) -> LLMProviderError:
        """The error for an HTTP status that means failure, as the engine's contract maps them."""
        detail = read_error(data)
        error = _error_class(status, detail or "")(
            self._message(f"answered with status {status}", detail), status=status
        )
        error.retry_after_s = cooldown_seconds(headers, refused=True)
        return error

    def _message(self, what: str, detail: str | None) -> str:
        if not detail:
            return f"{self.name} {what}"
        if self.api_key:
            # Servers echo a key as it was sent, percent-encoded, JSON-escaped or in another case.
            spellings = {self.api_key, quote(self.api_key, safe=""), json.dumps(self.api_key)[1:-1]}
            for spelling in sorted(spellings, key=len, reverse=True):
                detail = re.sub(re.escape(spelling), "[key]", detail, flags=re.IGNORECASE)
        detail = " ".join(detail.split())
        if len(detail) > MAX_DETAIL_CHARS:
            detail = detail[:MAX_DETAIL_CHARS] + "…"
        return f"{self.name} {what}: {detail}"


@dataclass
class OpenAICompatibleProvider(ChatCompletions):
    """Any server with an OpenAI-compatible `/chat/completions` below `base_url`; a key is optional."""

    base_url: str
    name: str = "openai"
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None
    timeout_ms: int | None = None
    key_env: str | None = None


# Cerebras and Groq send a code, llama.cpp a type, SGLang and others only a text.
_CONTEXT_LENGTH = re.compile(r"context[ _](length|size|window)", re.IGNORECASE)
_CONTENT_POLICY = re.compile(r"content[ _](policy|filter|management policy)|moderation|safety system", re.IGNORECASE)


def _error_class(status: int, detail: str) -> Callable[..., LLMProviderError]:
    if status == 429:
        return LLMRateLimitedError
    if status >= 500 or status in (408, 425, 498):
        return LLMServerError
    if status == 404:
        return LLMNotFoundError
    if status >= 400 and _CONTENT_POLICY.search(detail):  # OpenRouter refuses content with 403
        return LLMRefusedError
    if status in (401, 402, 403):
        return LLMAuthError
    if status == 413 or (status >= 400 and _CONTEXT_LENGTH.search(detail)):
        return LLMContextLengthError
    return LLMBadRequestError if status >= 400 else LLMMalformedError


def _is_success(status: int) -> bool:
    return 200 <= status < 300


async def _words_of_refusal(reply: http.Reply) -> Any:
    """The body of an answer whose status is a refusal; `None` when it does not come, breaks off or cannot be read."""
    try:
        async with asyncio.timeout(REFUSAL_SECONDS):
            return _parsed_or_none(await reply.read())
    except (TimeoutError, http.CallFailed):
        return None


# Reading tolerantly: every function takes whatever JSON came and gives the wanted part or nothing.


def read_error(data: Any) -> str | None:
    """The text of the error that `data` reports, or `None` when it reports none.

    Takes `error` as object or text, of the whole or of its choice, `x_groq.error`, and, where there are no choices, a
    flat `message` or `detail`.
    """
    if not isinstance(data, dict):
        return None
    error = data.get("error") or _dict(data.get("x_groq")).get("error") or _dict(_first_choice(data)).get("error")
    if not error and not data.get("choices"):
        error = data if data.get("message") else data.get("detail")
    if not error:
        return None
    if not isinstance(error, dict):
        return error if isinstance(error, str) else json.dumps(error)
    parts = [str(error[key]) for key in ("message", "code", "type") if error.get(key)]
    return f"{parts[0]} ({', '.join(parts[1:])})" if len(parts) > 1 else "".join(parts) or json.dumps(error)


def read_text(content: Any) -> str:
    """The text of a message's content: a string, a list of parts (those that are no text are left out), or null."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part if isinstance(part, str) else _part_text(_dict(part)) for part in content)
    return ""


def _part_text(part: dict[str, Any]) -> str:
    return _str(part.get("text")) or "" if part.get("type", "text") in ("text", "output_text") else ""


def read_usage(data: Any) -> Usage | None:
    """Tokens counted by the provider, from `usage` or Groq's `x_groq.usage`, or `None` when it counted none."""
    usage = _dict(_dict(data).get("usage")) or _dict(_dict(_dict(data).get("x_groq")).get("usage"))
    if not usage:
        return None
    return Usage(
        input_tokens=_int(usage.get("prompt_tokens")),
        output_tokens=_int(usage.get("completion_tokens")),
        cached_tokens=_int(_dict(usage.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=_int(_dict(usage.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def _first_choice(data: Any) -> dict[str, Any] | None:
    choices = _dict(data).get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _int(value: Any) -> int | None:
    """A count of tokens: what is negative, or larger than any count can be, is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _parsed(body: bytes | str) -> Any:
    """JSON whose strings can all be stored: what is no character becomes a replacement mark, and NULs go."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    data = json.loads(text)
    if "\\u" in text:  # JSON can escape half a character, and a NUL
        plain = json.dumps(data, ensure_ascii=False).replace("\\u0000", "")
        data = json.loads(plain.encode("utf-8", "replace"))
    return data


def _parsed_or_none(body: bytes | str) -> Any:
    try:
        return _parsed(body)
    except (ValueError, RecursionError):
        return None


@dataclass
class _Answer:
    """What an answer holds, however it came."""

    raw: str = ""
    reasoning: str = ""
    refusal: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None

    def add(self, data: Any, choice: dict[str, Any], message: dict[str, Any]) -> str:
        """Take in a message, or a piece of one, and give its text."""
        text = read_text(message.get("content"))
        self.raw += text
        self.reasoning += _str(message.get("reasoning")) or _str(message.get("reasoning_content")) or ""
        self.refusal += _str(message.get("refusal")) or ""
        self.finish_reason = _str(choice.get("finish_reason")) or self.finish_reason
        self.model = _str(_dict(data).get("model")) or self.model
        return text


def _whole_answer(data: Any, choice: dict[str, Any]) -> _Answer:
    answer = _Answer(usage=read_usage(data))
    answer.add(data, choice, _dict(choice.get("message")))
    return answer


class _StreamedAnswer(_Answer):
    """Puts a streamed answer together from its events."""

    def __init__(self) -> None:
        super().__init__()
        self.error: str | None = None
        self._done = False
        self._filter = ReasoningFilter()
        self._space = ""
        self._begun = False

    @property
    def complete(self) -> bool:
        """Whether the provider said that the answer is over: without `[DONE]` and finish reason it was cut."""
        return self._done or self.finish_reason is not None

    async def read(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[str, None]:
        """The answer's text without thinking and outer white space, until it is over or broken."""
        parser = http.EventParser()
        ends: float | None = None
        async with aclosing(chunks) as body:
            while self.error is None:
                try:
                    async with asyncio.timeout_at(ends):
                        chunk = await anext(body, None)
                except TimeoutError:
                    break
                except http.CallFailed:
                    if not self.complete:
                        raise
                    break
                for event in parser.close() if chunk is None else parser.feed(chunk):
                    if text := self._event(event):
                        yield text
                if chunk is None:
                    break
                if self.complete and ends is None:
                    ends = asyncio.get_running_loop().time() + LINGER_SECONDS
        if self.complete and self.error is None and (text := self._trim(self._filter.close())):
            yield text

    def _event(self, event: str) -> str:
        """Take in one event and give the text that it adds. A line that is no JSON is skipped."""
        if self.error is None and event.strip() == "[DONE]":
            self._done = True
            return ""
        data = _parsed_or_none(event)
        self.error = self.error or read_error(data)
        if self.error is not None:  # whatever comes with it or behind it is part of no answer
            return ""
        self.usage = read_usage(data) or self.usage
        choice = _first_choice(data)
        if choice is None:
            return ""
        return self._trim(self._filter.feed(self.add(data, choice, _dict(choice.get("delta")))))

    def _trim(self, text: str) -> str:
        """Hold back white space until text follows it."""
        text = self._space + text
        if not self._begun:
            text = text.lstrip()
        visible = text.rstrip()
        self._space = text[len(visible) :]
        self._begun = self._begun or bool(visible)
        return visible
