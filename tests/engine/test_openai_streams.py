"""The OpenAI-compatible path: streamed answers."""

from __future__ import annotations

import pytest

from promptops.engine import (
    LLMEmptyError,
    LLMProviderError,
    LLMResponse,
    LLMServerError,
    LLMTransportError,
    LLMTruncatedError,
    Thinking,
)
from tests.engine.helpers import ask, collect, delta, event, provider, text_of

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
    assert not any(isinstance(happened, LLMResponse) for happened in events)
