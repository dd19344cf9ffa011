"""The OpenAI-compatible path: what is sent, how answers and errors are read, and that no key shows."""

from __future__ import annotations

import json
import traceback
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptops.engine import (
    CerebrasProvider,
    GroqProvider,
    LLMAuthError,
    LLMBadRequestError,
    LLMContextLengthError,
    LLMEmptyError,
    LLMMalformedError,
    LLMMissingKeyError,
    LLMNotFoundError,
    LLMProvider,
    LLMProviderError,
    LLMQuotaError,
    LLMRateLimitedError,
    LLMRefusedError,
    LLMRequest,
    LLMResponse,
    LLMServerError,
    LLMTimeoutError,
    LLMTransportError,
    LLMTruncatedError,
    OpenAICompatibleProvider,
    StreamingProvider,
    Thinking,
    Usage,
    use_transport,
)
from promptops.engine.answers import ReasoningFilter, split_reasoning
from tests.engine.helpers import ask, collect, completion, delta, event, text_of

KEY = "sk-very-secret-4711"


@pytest.fixture
def answer():
    """`answer(body, status=...)` sets what the provider's server answers and gives the requests that it got."""
    opened = []

    def make(body: object = None, status: int = 200, *, raises: Exception | None = None, stream: bool = False):
        seen: list[httpx.Request] = []

        def handler(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            if raises is not None:
                raise raises
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            kind = "text/event-stream; charset=utf-8" if stream else "application/json"
            return httpx.Response(status, content=raw, headers={"content-type": kind})

        seam = use_transport(lambda: httpx.MockTransport(handler))
        seam.__enter__()
        opened.append(seam)
        return seen

    yield make
    for seam in reversed(opened):
        seam.__exit__(None, None, None)


def provider(**fields) -> OpenAICompatibleProvider:
    return OpenAICompatibleProvider(**{"base_url": "http://model.test/v1", "name": "acme", "api_key": KEY, **fields})


# What is sent


@pytest.mark.parametrize(
    ("made", "url", "limit_field"),
    [
        (CerebrasProvider(KEY), "https://api.cerebras.ai/v1/chat/completions", "max_completion_tokens"),
        (GroqProvider(KEY), "https://api.groq.com/openai/v1/chat/completions", "max_completion_tokens"),
        (provider(), "http://model.test/v1/chat/completions", "max_tokens"),
        (provider(base_url="http://model.test/v1/"), "http://model.test/v1/chat/completions", "max_tokens"),
    ],
)
async def test_what_is_sent(answer, made, url, limit_field):
    seen = answer(completion())
    response = await made.complete(ask("a fox", model="some-model", max_tokens=99, temperature=0.0))
    assert str(seen[0].url) == url
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(seen[0].content) == {
        "model": "some-model",
        "messages": [{"role": "system", "content": "Improve."}, {"role": "user", "content": "a fox"}],
        limit_field: 99,
        "temperature": 0.0,
    }
    assert (response.content, response.provider, response.model) == ("a red fox", made.name, "some-model")
    assert response.latency_ms >= 0


ASKED = {
    "max_tokens": 99,
    "reasoning_effort": "none",
    "json_mode": True,
    "parameters": {"seed": 7, "logit_bias": {}, "n": 1, "frequency_penalty": 1, "model": "not this way"},
}
JSON_MODE = {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("made", "model", "sent"),
    [
        (
            CerebrasProvider(KEY),
            "gpt-oss-120b",
            {"max_completion_tokens": 99, "reasoning_effort": "none", "seed": 7, "n": 1, **JSON_MODE},
        ),
        (
            GroqProvider(KEY),
            "openai/gpt-oss-120b",
            {"max_completion_tokens": 99, "reasoning_effort": "low", "seed": 7, "frequency_penalty": 1, **JSON_MODE},
        ),
        (
            GroqProvider(KEY),
            "qwen/qwen3-32b",
            {"max_completion_tokens": 99, "reasoning_effort": "none", "seed": 7, "frequency_penalty": 1, **JSON_MODE},
        ),
        (
            provider(),
            "any",
            {
                "max_tokens": 99,
                "reasoning_effort": "none",
                "seed": 7,
                "logit_bias": {},
                "n": 1,
                "frequency_penalty": 1,
                **JSON_MODE,
            },
        ),
    ],
)
async def test_one_request_works_on_all_kinds(answer, made, model, sent):
    seen = answer(completion())
    await made.complete(ask(model=model, **ASKED))
    body = json.loads(seen[0].content)
    del body["messages"]
    assert body == {"model": model, **sent}


@pytest.mark.parametrize(("effort", "sent"), [("low", "default"), ("high", "default"), ("none", "none")])
async def test_groqs_other_models_know_two_efforts(answer, effort, sent):
    seen = answer(completion())
    await GroqProvider(KEY).complete(ask(model="qwen/qwen3-32b", reasoning_effort=effort))
    assert json.loads(seen[0].content)["reasoning_effort"] == sent


async def test_cerebras_answers_json_in_one_piece(answer):
    for json_mode in (True, False):
        seen = answer(completion("{}"))
        events = await collect(CerebrasProvider(KEY).stream(ask(json_mode=json_mode)))
        assert events[-1].content == "{}"
        assert ("stream" in json.loads(seen[0].content)) is not json_mode


async def test_what_is_not_set_is_not_sent(answer):
    seen = answer(completion())
    await provider(api_key=None).complete(ask())
    assert set(json.loads(seen[0].content)) == {"model", "messages"}
    assert "authorization" not in seen[0].headers


async def test_a_stream_asks_for_usage(answer):
    seen = answer(delta("hi", "stop"), stream=True)
    await collect(provider().stream(ask()))
    sent = json.loads(seen[0].content)
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})


async def test_the_providers_model_wins(answer):
    seen = answer(completion())
    response = await provider(model="mine").complete(ask(model="asked"))
    assert json.loads(seen[0].content)["model"] == response.model == "mine"


async def test_any_text_can_be_sent(answer):
    seen = answer(completion())
    odd = "nul \0, lone \ud800, fox 🦊, \u2028 line"
    await provider().complete(ask(odd))
    assert json.loads(seen[0].content)["messages"][1]["content"] == odd


# Keys


@pytest.mark.parametrize(
    ("vendor", "name", "base", "variable"),
    [
        (CerebrasProvider, "cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
        (GroqProvider, "groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    ],
)
async def test_vendor_keys(monkeypatch, answer, vendor, name, base, variable):
    monkeypatch.delenv(variable, raising=False)
    seen = answer(completion())
    without = vendor()
    assert (without.name, without.base_url, without.api_key) == (name, base, None)
    for call in (without.complete(ask()), collect(without.stream(ask()))):
        with pytest.raises(LLMMissingKeyError, match=variable) as caught:
            await call
        assert caught.value.retryable is False
    assert seen == []

    monkeypatch.setenv(variable, " from-env\n")
    assert without.api_key is None  # read at construction
    assert vendor().api_key == "from-env"
    assert vendor("explicit").api_key == "explicit"
    positional = vendor("k", "http://here/v1", "other")
    assert (positional.api_key, positional.base_url, positional.name) == ("k", "http://here/v1", "other")
    assert isinstance(positional, LLMProvider)
    assert isinstance(positional, StreamingProvider)


async def test_any_variable_can_hold_the_key(monkeypatch, answer):
    monkeypatch.setenv("ACME_KEY", KEY)
    seen = answer(completion())
    await provider(api_key=None, key_env="ACME_KEY").complete(ask())
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    with pytest.raises(LLMMissingKeyError, match="OTHER_KEY"):
        await provider(api_key=None, key_env="OTHER_KEY").complete(ask())


@pytest.mark.parametrize("key", ["two\nlines", "ключ"])
async def test_a_key_that_no_header_can_carry(answer, key):
    answer(completion())
    with pytest.raises(LLMAuthError) as caught:
        await provider(api_key=key).complete(ask())
    assert key not in str(caught.value)


def everything_about(error: BaseException) -> str:
    """All that a log, a debug page or a report could show: the chain of errors, and the variables of our frames."""
    shown = []
    link: BaseException | None = error
    while link is not None:
        shown += [repr(link), str(link), repr(link.args), repr(vars(link))]
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if frame.f_code.co_filename != __file__:  # the test knows the key
                shown += [repr(value) for value in frame.f_locals.values()]
        link = link.__cause__ or link.__context__
    return "\n".join(shown)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 401, "body": {"error": {"message": f"Incorrect API key provided: {KEY}."}}},
        {"status": 500, "body": {"message": f"oops {KEY}", "code": KEY}},
        {"status": 400, "body": {"detail": [{"msg": KEY, "header": f"Bearer {KEY}"}]}},
        {"status": 200, "body": {"error": f"bad key {KEY}"}},
        {"status": 403, "body": f"<html>{KEY}".encode()},
        {"raises": httpx.ConnectError(f"no route with {KEY}")},
        {"raises": RuntimeError(f"odd {KEY}")},
        {"status": 200, "body": event({"error": {"message": KEY}}), "stream": True},
    ],
    ids=["401", "500", "400", "error under 200", "html", "transport", "odd exception", "error event"],
)
async def test_no_error_shows_the_key(answer, wrong):
    answer(**wrong)
    for call in (provider().complete(ask()), collect(provider().stream(ask()))):
        with pytest.raises(LLMProviderError) as caught:
            await call
        assert KEY not in everything_about(caught.value)


def test_no_repr_shows_the_key():
    for made in (CerebrasProvider(KEY), GroqProvider(KEY), provider()):
        assert KEY not in repr(made)


# Errors


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
    """The engine contract: an answer without choices or text is retryable, whatever the reason."""
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


# Answers


@pytest.mark.parametrize(
    ("message", "content", "reasoning"),
    [
        ({"content": "  a fox \n"}, "a fox", None),
        (
            {"content": [{"type": "text", "text": "a "}, {"type": "text", "text": "fox"}, {"type": "image"}]},
            "a fox",
            None,
        ),
        ({"content": ["a ", "fox", None]}, "a fox", None),
        ({"content": [{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "a fox"}]}, "a fox", None),
        ({"content": [{"type": "thinking", "text": "hm"}, {"text": "a fox"}]}, "a fox", None),
        ({"content": "<think>hm</think>\n a fox"}, "a fox", "hm"),
        ({"content": "<THINK>hm</Think>a fox"}, "a fox", "hm"),
        ({"content": "a <think>hm</think>fox"}, "a fox", "hm"),
        ({"content": "a <think>x</think>red <think>y</think>fox"}, "a red fox", "xy"),
        ({"content": "unopened</think>a fox"}, "a fox", "unopened"),
        ({"content": "a fox <think>unclosed"}, "a fox", "unclosed"),
        ({"content": "a < b <thinker>"}, "a < b <thinker>", None),
        ({"content": "a fox", "reasoning": "why"}, "a fox", "why"),
        ({"content": "a fox", "reasoning_content": "why"}, "a fox", "why"),
        ({"content": "a fox", "reasoning": None, "error": None}, "a fox", None),
    ],
)
async def test_content_and_reasoning(answer, message, content, reasoning):
    answer({"choices": [{"message": message, "finish_reason": "stop"}], "error": None})
    for response in (await provider().complete(ask()), (await collect(provider().stream(ask())))[-1]):
        assert (response.content, response.reasoning) == (content, reasoning)
        assert response.finish_reason == "stop"


@pytest.mark.parametrize(
    ("fields", "usage"),
    [
        ({}, None),
        ({"usage": None}, None),
        ({"usage": {"prompt_tokens": 5, "completion_tokens": 7}}, Usage(5, 7)),
        (
            {
                "usage": {
                    "prompt_tokens": 5,
                    "completion_tokens": 7,
                    "prompt_tokens_details": {"cached_tokens": 3},
                    "completion_tokens_details": {"reasoning_tokens": 2},
                }
            },
            Usage(5, 7, 3, 2),
        ),
        ({"usage": {"prompt_tokens": "many", "completion_tokens": True, "prompt_tokens_details": 1}}, Usage()),
        ({"x_groq": {"usage": {"prompt_tokens": 5}}}, Usage(5)),
    ],
)
async def test_usage(answer, fields, usage):
    answer(completion(**fields))
    assert (await provider().complete(ask())).usage == usage
    answer(delta("a fox", "stop") + event({"choices": [], **fields}), stream=True)
    assert (await collect(provider().stream(ask())))[-1].usage == usage


# Streams


DONE = event("[DONE]")


@pytest.mark.parametrize(
    "body",
    [
        delta("a ") + delta("red fox") + delta(finish="stop") + DONE,
        delta("a ") + delta("red fox", "stop"),  # no [DONE]
        delta("a red fox") + DONE,  # no finish reason
        b": OPENROUTER PROCESSING\n\n" + delta("a red fox", "stop") + b": bye\n\n" + DONE,
        delta(" \n a red") + delta(" fox \n") + delta(" ", "stop") + DONE,
        event({"choices": []}) + event({"choices": None}) + event({}) + delta("a red fox", "stop") + DONE,
        b"data: {broken\n\n" + delta("a red fox", "stop") + b"data: \xff\n\n" + DONE,
        b'data:{"choices":[{"delta":{"content":"a red fox"},"finish_reason":"stop"}]}\r\n\r\ndata:[DONE]\r\n\r\n',
        b'event: message\nid: 1\ndata: {"choices":[{"delta":\ndata: {"content":"a red fox"}}]}\n\n' + DONE,
        delta("a red fox", "stop").rstrip(b"\n"),  # the blank line behind the last event is missing
        delta([{"type": "text", "text": "a red"}, " fox"]) + DONE,
        delta("<thi") + delta("nk>hm") + delta(" so</th") + delta("ink>\n\n") + delta("a red fox", "stop"),
        delta(reasoning="hm ") + delta(reasoning_content="so") + delta("a red fox", "stop"),
        delta("a red fox<think>unclosed", "stop"),
        event({"choices": [{"delta": None}]}) + event([1]) + event(7) + delta("a red fox", "stop"),
        delta("a red fox", "stop") + event({"choices": [], "x_groq": {"usage": {"prompt_tokens": 1}}}),
    ],
)
async def test_streams(answer, body):
    answer(body, stream=True)
    events = await collect(provider().stream(ask()))
    assert text_of(events) == events[-1].content == "a red fox"
    assert all(piece == Thinking() or piece.text for piece in events[:-1])
    assert isinstance(events[-1], LLMResponse)


async def test_a_held_back_angle_bracket_comes_out_at_the_end(answer):
    answer(delta("a <") + delta("thi", "stop"), stream=True)
    assert text_of(await collect(provider().stream(ask()))) == "a <thi"


async def test_streamed_reasoning_is_kept_apart(answer):
    answer(delta(reasoning="one ") + delta("<think>two</think>a fox", "stop"), stream=True)
    assert (await collect(provider().stream(ask())))[-1].reasoning == "one two"


async def test_thinking_that_was_never_opened_is_not_in_the_response(answer):
    answer(delta("thoughts") + delta("</think>a fox", "stop"), stream=True)
    assert (await collect(provider().stream(ask())))[-1].content == "a fox"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", LLMTransportError),
        (delta("a half"), LLMTransportError),
        (delta("a half") + b'data: {"choices": [{"delta"', LLMTransportError),
        (b"data: <html>\n\n", LLMTransportError),
        (delta("a half") + event({"error": {"message": "died"}, "status_code": 500}), LLMServerError),
        (event({"error": "died"}), LLMServerError),
        (b'event: error\ndata: {"message": "died"}\n\n', LLMServerError),
        (delta("a half", "stop") + event({"choices": [], "x_groq": {"error": "over capacity"}}), LLMServerError),
        (delta(finish="stop") + DONE, LLMEmptyError),
        (delta(reasoning="hm") + delta(finish="length") + DONE, LLMTruncatedError),
        (delta("<think>hm") + DONE, LLMEmptyError),
        (DONE, LLMEmptyError),
    ],
)
async def test_broken_streams_are_never_a_success(answer, body, error):
    answer(body, stream=True)
    events: list = []
    with pytest.raises(LLMProviderError) as caught:
        await collect(provider().stream(ask()), events)
    assert type(caught.value) is error
    assert caught.value.retryable is True
    assert not any(isinstance(found, LLMResponse) for found in events)


# Thinking, cut anywhere

PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "<th", "ink>", "<", "/", "a", " ", "fox\n", "<THINK>", "é🦊"])
)


@given(PIECES, st.data())
def test_thinking_is_filtered_alike_however_it_is_cut(pieces, data):
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    whole, parts = ReasoningFilter(), ReasoningFilter()
    expected = whole.feed(text) + whole.close()
    edges = [0, *cuts, len(text)]
    got = "".join(parts.feed(text[start:end]) for start, end in pairwise(edges)) + parts.close()
    assert (got, parts.thoughts) == (expected, whole.thoughts)


@given(PIECES)
def test_no_thinking_is_left(pieces):
    answer, _ = split_reasoning("".join(pieces))
    assert "</think>" not in answer.lower()
    assert answer == answer.strip()


def test_a_request_is_not_changed_by_a_call():
    request = ask()
    assert request == LLMRequest(list(request.messages), "default-model")
