"""The OpenAI-compatible path: statuses, error texts, and unusable answers."""

from __future__ import annotations

import httpx
import pytest

from promptops.engine import (
    LLMAuthError,
    LLMBadRequestError,
    LLMContextLengthError,
    LLMEmptyError,
    LLMMalformedError,
    LLMNotFoundError,
    LLMProviderError,
    LLMQuotaError,
    LLMRateLimitedError,
    LLMRefusedError,
    LLMServerError,
    LLMTimeoutError,
    LLMTransportError,
    LLMTruncatedError,
    Usage,
)
from tests.engine.helpers import ask, collect, completion, event, provider


@pytest.mark.parametrize(
    ("status", "error", "retryable"),
    [
        (400, LLMBadRequestError, False),
        (401, LLMAuthError, False),
        (402, LLMQuotaError, True),
        (403, LLMAuthError, False),
        (404, LLMNotFoundError, False),
        (408, LLMServerError, True),
        (413, LLMContextLengthError, False),
        (422, LLMBadRequestError, False),
        (424, LLMBadRequestError, False),
        (425, LLMServerError, True),
        (429, LLMRateLimitedError, True),
        (498, LLMServerError, True),
        (499, LLMBadRequestError, False),
        (500, LLMServerError, True),
        (502, LLMServerError, True),
        (503, LLMServerError, True),
        (504, LLMServerError, True),
        (529, LLMServerError, True),
        (302, LLMMalformedError, True),
        (600, LLMServerError, True),
    ],
)
async def test_statuses(answer, status, error, retryable):
    answer({"error": {"message": "Because."}}, status)
    for call in (provider().complete(ask()), collect(provider().stream(ask()))):
        with pytest.raises(LLMProviderError) as caught:
            await call
        assert type(caught.value) is error
        assert (caught.value.retryable, caught.value.status) == (retryable, status)
        assert str(caught.value) == f"acme answered with status {status}: Because."


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": {"message": "Too  much.\n", "type": "t", "code": 7}}, "Too much. (7, t)"),
        ({"error": {"code": "model_gone"}}, "model_gone"),
        ({"error": "plain"}, "plain"),
        ({"message": "flat", "type": "x", "param": "y", "code": "z"}, "flat (z, x)"),
        ({"detail": "detailed"}, "detailed"),
        ({"detail": [{"msg": "field"}]}, '[{"msg": "field"}]'),
        ({"error": {"odd": 1}}, '{"odd": 1}'),
        ({"error": {"message": "x" * 1000}}, "x" * 300 + "…"),
        ({}, None),
        ([], None),
        (None, None),
        (b"<html>Bad gateway</html>", None),
        (b"\xff\xfe", None),
    ],
)
async def test_error_texts(answer, body, text):
    answer(body, 502)
    with pytest.raises(LLMServerError) as caught:
        await provider().complete(ask())
    assert str(caught.value) == "acme answered with status 502" + (f": {text}" if text else "")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Too long", "code": "context_length_exceeded"}},
        {"error": {"message": "request (9 tokens) exceeds", "type": "exceed_context_size_error"}},
        {"message": "The input is longer than the model's context length (8192 tokens)."},
    ],
)
async def test_a_prompt_that_is_too_long(answer, body):
    answer(body, 400)
    with pytest.raises(LLMContextLengthError) as caught:
        await provider().complete(ask())
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "Blocked.", "code": "content_policy_violation"}}),
        (400, {"error": {"message": "Filtered by our content management policy", "code": "content_filter"}}),
        (403, {"error": {"message": "Your input was flagged by moderation", "code": 403}}),
        (200, completion("half of it", "content_filter")),
        (200, {"error": {"message": "Blocked by the content filter", "code": 400}}),
    ],
)
async def test_a_refusal_for_content_is_final_and_keeps_its_reason(answer, status, body):
    answer(body, status)
    for call in (provider().complete(ask()), collect(provider().stream(ask()))):
        with pytest.raises(LLMRefusedError, match=r"(?i)blocked|filter|flagged") as caught:
            await call
        assert caught.value.retryable is False


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Blocked by the content filter"}},
        completion(None, "content_filter"),
        {"choices": [{"message": {"content": None, "refusal": "I cannot help."}, "finish_reason": "stop"}]},
    ],
)
async def test_a_refusal_that_comes_as_an_answer_without_text_moves_on_and_keeps_its_reason(answer, body):
    """By the engine's contract an answer without choices or text is retryable, whatever the reason."""
    answer(body)
    for call in (provider().complete(ask()), collect(provider().stream(ask()))):
        with pytest.raises(LLMRefusedError, match=r"(?i)blocked|filter|cannot help") as caught:
            await call
        assert caught.value.retryable is True


async def test_an_answer_that_the_limit_cut_is_marked(answer):
    answer(completion("a red", "length", model="really-this-one"))
    response = await provider().complete(ask())
    assert (response.content, response.truncated, response.answered_model) == ("a red", True, "really-this-one")
    answer(event({"model": "this", "choices": [{"delta": {"content": "a"}, "finish_reason": "length"}]}), stream=True)
    response = (await collect(provider().stream(ask())))[-1]
    assert (response.truncated, response.finish_reason, response.answered_model) == (True, "length", "this")


async def test_an_empty_answer_keeps_what_it_used(answer):
    answer(completion(None, "length", usage={"prompt_tokens": 5, "completion_tokens": 256}))
    with pytest.raises(LLMTruncatedError) as caught:
        await provider().complete(ask())
    assert caught.value.usage == Usage(5, 256)


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (httpx.ReadTimeout("slow"), LLMTimeoutError),
        (httpx.ConnectTimeout("slow"), LLMTimeoutError),
        (httpx.PoolTimeout("slow"), LLMTimeoutError),
        (httpx.ConnectError("down"), LLMTransportError),
        (httpx.ReadError("cut"), LLMTransportError),
        (httpx.RemoteProtocolError("cut"), LLMTransportError),
        (httpx.InvalidURL("what"), LLMTransportError),
        (OSError("no"), LLMTransportError),
    ],
)
async def test_transport_errors(answer, raised, error):
    answer(raises=raised)
    for call in (provider().complete(ask()), collect(provider().stream(ask()))):
        with pytest.raises(LLMProviderError) as caught:
            await call
        assert type(caught.value) is error
        assert caught.value.retryable is True
        assert "acme" in str(caught.value)


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://model.test", "http://[broken", "http://model.test:99999/v1"])
async def test_an_address_that_is_none(url):
    with pytest.raises(LLMTransportError):
        await provider(base_url=url).complete(ask())


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ([], LLMMalformedError),
        ({}, LLMMalformedError),
        (None, LLMMalformedError),
        ("text", LLMMalformedError),
        ({"choices": []}, LLMMalformedError),
        ({"choices": None}, LLMMalformedError),
        ({"choices": ["x"]}, LLMMalformedError),
        (b"<html>hello</html>", LLMMalformedError),
        (b'{"choices": [{"mess', LLMMalformedError),
        (b"\xff\xfe\x00", LLMMalformedError),
        (b"[" * 200_000, LLMMalformedError),
        (b"", LLMMalformedError),
        ({"choices": [{"message": None}]}, LLMEmptyError),
        ({"choices": [{}]}, LLMEmptyError),
        (completion(None), LLMEmptyError),
        (completion("  \n "), LLMEmptyError),
        (completion([]), LLMEmptyError),
        (completion(7), LLMEmptyError),
        (completion("<think>only thoughts</think>"), LLMEmptyError),
        (completion("<think>cut off", "length"), LLMTruncatedError),
        ({"error": {"message": "overloaded", "code": 429}}, LLMRateLimitedError),
        ({"error": {"message": "overloaded", "code": 503}}, LLMServerError),
        ({"error": "overloaded"}, LLMServerError),
        ({"message": "flat", "code": "x"}, LLMServerError),
        ({**completion(), "error": {"message": "stopped"}}, LLMServerError),
    ],
)
async def test_unusable_answers_are_retryable(answer, body, error):
    answer(body)
    for call in (provider().complete(ask()), collect(provider().stream(ask()))):
        with pytest.raises(LLMProviderError) as caught:
            await call
        assert type(caught.value) is error
        assert caught.value.retryable is True


async def test_an_answer_used_up_by_reasoning_says_so(answer):
    answer(completion(None, "length"))
    with pytest.raises(LLMEmptyError, match="token limit"):
        await provider().complete(ask())
