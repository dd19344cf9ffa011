"""The OpenAI-compatible path: the requests, the keys, and the content of an answer."""

from __future__ import annotations

import json
import traceback

import httpx
import pytest

from promptops.engine import (
    CerebrasProvider,
    GroqProvider,
    LLMAuthError,
    LLMMissingKeyError,
    LLMProvider,
    LLMProviderError,
    StreamingProvider,
    Usage,
)
from tests.engine.helpers import KEY, ask, collect, completion, delta, event, provider

# Requests


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
    """Return everything that a log or a debug page could show: the chain of errors, and the variables of our frames."""
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


async def test_a_request_is_not_changed_by_a_call(answer):
    answer(completion())
    request = ask()
    await provider(adaptations=frozenset({"system_in_user"})).complete(request)
    assert request == ask()
