"""Answers in the shapes of real servers: streams and whole answers that differ from OpenAI's."""

from __future__ import annotations

import json
import time

import pytest

from promptops.engine import LLMProviderError, LLMResponse
from promptops.engine.providers import assembly
from promptops.engine.providers.assembly import StreamedAnswer
from promptops.engine.providers.reading import MAX_PARTS
from tests.engine.helpers import call_server, completion, delta, event, http_answer, stream_head

DONE = event("[DONE]")
WORDS = ["A", "red", "fox", "runs", "through", "deep", "snow", "at", "dawn", "while", "the", "camera", "follows"]
BOTH = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def with_choices(*choices: dict[str, object]) -> bytes:
    return event({"choices": list(choices)})


def piece(text: str, index: int | None = 0, kind: str = "delta", finish: str | None = None) -> dict[str, object]:
    place = {} if index is None else {"index": index}
    return {**place, kind: {"content": text}, "finish_reason": finish}


# Finish reasons in every chunk


@pytest.mark.parametrize("pause", [0.08, 0.3])
async def test_text_behind_a_finish_reason_is_read(pause):
    """Gemini's gateways send "stop" with every chunk. The second pause is longer than `LINGER_SECONDS`."""
    pieces = [part for word in WORDS[:6] for part in (delta(word + " ", "stop"), 0.05 if word == WORDS[0] else pause)]
    got, _ = await call_server([stream_head(), *pieces, delta("", "stop") + DONE])
    assert isinstance(got, LLMResponse), got
    assert (got.content, got.finish_reason) == (" ".join(WORDS[:6]), "stop")


async def test_a_finish_reason_before_the_first_text_is_no_end():
    got, _ = await call_server([stream_head(), delta("", "stop"), 0.4, delta("A red fox", "stop") + DONE])
    assert isinstance(got, LLMResponse), got
    assert got.content == "A red fox"


@pytest.mark.parametrize("ends", [DONE, delta("", "stop")], ids=["done", "finish reason"])
async def test_silence_after_the_end_is_the_end(ends):
    started = time.monotonic()
    got, _ = await call_server([stream_head(), delta("A red fox") + ends, 3.0])
    assert isinstance(got, LLMResponse), got
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize("nothing", ["null", "", "None", "FINISH_REASON_UNSPECIFIED"])
async def test_a_word_for_none_is_no_finish_reason(nothing):
    got, _ = await call_server([stream_head(), delta("A red ", nothing), 0.4, delta("fox", nothing) + DONE])
    assert isinstance(got, LLMResponse), got
    assert (got.content, got.finish_reason) == ("A red fox", None)
    cut, _ = await call_server([stream_head(), delta("A red ", nothing)])
    assert isinstance(cut, LLMProviderError)
    assert cut.kind == "transport"


# Content types


@BOTH
@pytest.mark.parametrize("content_type", ["text/plain; charset=utf-8", "application/json", "", "text/event-stream"])
async def test_a_stream_is_known_by_its_body(content_type, stream):
    says = [stream_head(content_type), delta("A red "), delta("fox", "stop") + DONE]
    got, _ = await call_server(says, stream=stream)
    assert isinstance(got, LLMResponse), got
    assert got.content == "A red fox"


@BOTH
@pytest.mark.parametrize("begins", [b": comment\n\n", b"event: x\n", b"id: 1\n", b"retry: 5\n", b"\n\n", b"data:"])
async def test_a_stream_may_begin_with_any_of_its_lines(begins, stream):
    first = delta("A red fox", "stop")
    body = begins + (first.removeprefix(b"data:") if begins == b"data:" else first)
    got, _ = await call_server(stream_head("text/plain") + body, stream=stream)
    assert isinstance(got, LLMResponse), got


@BOTH
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", "", "text/plain"])
async def test_a_whole_answer_is_known_by_its_body(content_type, stream):
    got, _ = await call_server(stream_head(content_type) + json.dumps(completion()).encode(), stream=stream)
    assert isinstance(got, LLMResponse), got
    assert got.content == "a red fox"


@BOTH
@pytest.mark.parametrize("tail", [b"\n\n[DONE]", b"\ndata: [DONE]\n\n", b"[DONE]\n", b"\n"])
async def test_json_followed_by_done(tail, stream):
    got, _ = await call_server(http_answer(json.dumps(completion()).encode() + tail), stream=stream)
    assert isinstance(got, LLMResponse), got
    assert got.content == "a red fox"


@BOTH
async def test_one_event_a_line_without_data(stream):
    """Newline-delimited JSON."""
    lines = b"\n".join(delta(word + " ").removeprefix(b"data: ").strip() for word in WORDS)
    for ends in (b"\n[DONE]", b"\n" + delta("", "stop").removeprefix(b"data: ")):
        got, _ = await call_server(http_answer(lines + ends), stream=stream)
        assert isinstance(got, LLMResponse), got
        assert got.content == " ".join(WORDS)
    cut, _ = await call_server(http_answer(lines), stream=stream)
    assert isinstance(cut, LLMProviderError)


@BOTH
@pytest.mark.parametrize(
    "body", [b"error: no", b"internal problem", b"dead", b"<html>", b'{"choices": [', b"true", b""]
)
async def test_a_body_that_is_neither_is_malformed(body, stream):
    got, _ = await call_server(http_answer(body, content_type="text/plain"), stream=stream)
    assert isinstance(got, LLMProviderError)
    assert got.kind == "malformed"


# Byte order marks


@pytest.mark.parametrize("cut", [None, 1, 2, 3, 5])
async def test_a_byte_order_mark_before_a_stream(cut):
    raw = b"\xef\xbb\xbf" + delta("A red ")
    first = [raw] if cut is None else [raw[:cut], 0.02, raw[cut:]]
    got, _ = await call_server([stream_head(), *first, delta("fox", "stop") + DONE])
    assert isinstance(got, LLMResponse), got
    assert got.content == "A red fox"


@BOTH
async def test_a_byte_order_mark_before_json(stream):
    got, _ = await call_server(http_answer(b"\xef\xbb\xbf" + json.dumps(completion()).encode()), stream=stream)
    assert isinstance(got, LLMResponse), got
    assert got.content == "a red fox"


# Messages and choices


@pytest.mark.parametrize(
    "events",
    [
        [piece("A red ", kind="message"), piece("fox", kind="message", finish="stop")],
        [piece("A red fox", kind="message", finish="stop")],
        [piece("A red", kind="message"), piece("A red fox", kind="message", finish="stop")],  # all of the text so far
        [piece("A red "), piece("fox"), piece("A red fox", kind="message", finish="stop")],  # and once more at the end
        [piece("A red "), {"index": 0, "message": {"content": "fox"}, "delta": {}, "finish_reason": "stop"}],
        [piece("A red fox"), {"index": 0, "delta": None, "message": None, "finish_reason": "stop"}],
    ],
)
async def test_a_message_in_place_of_a_delta(events):
    got, _ = await call_server(stream_head() + b"".join(with_choices(one) for one in events) + DONE)
    assert isinstance(got, LLMResponse), got
    assert got.content == "A red fox"


async def test_words_that_repeat_themselves_stay():
    events = [piece("ha", kind="message"), piece("ha", kind="message"), piece("!", kind="message", finish="stop")]
    got, _ = await call_server(stream_head() + b"".join(with_choices(one) for one in events) + DONE)
    assert isinstance(got, LLMResponse), got
    assert got.content == "haha!"


async def test_only_the_first_of_several_choices_counts_in_a_stream():
    together = with_choices(piece("A wolf ", 1), piece("A red ", 0))
    apart = with_choices(piece("howls", 1, finish="length")) + with_choices(piece("fox", 0, finish="stop"))
    got, _ = await call_server(stream_head() + together + apart + with_choices(piece("late", 2)) + DONE)
    assert isinstance(got, LLMResponse), got
    assert (got.content, got.finish_reason, got.truncated) == ("A red fox", "stop", False)


@pytest.mark.parametrize("first", [0, None, "0"])
async def test_only_the_first_of_several_choices_counts_in_a_whole_answer(first):
    other = {"index": 1, "message": {"content": "A wolf"}, "finish_reason": "length"}
    mine = {"index": first, "message": {"content": "A red fox"}, "finish_reason": "stop"}
    got, _ = await call_server(http_answer({"choices": [other, mine]}), stream=False)
    assert isinstance(got, LLMResponse), got
    assert (got.content, got.truncated) == ("A red fox", False)


async def test_a_lone_choice_counts_whatever_its_index():
    choice = {"index": 1, "message": {"content": "A red fox"}, "finish_reason": "stop"}
    got, _ = await call_server(http_answer({"choices": [choice]}), stream=False)
    assert isinstance(got, LLMResponse), got


# Results


@BOTH
async def test_the_answer_as_written_is_kept_beside_the_answer_as_read(stream):
    written = "<think>snow?</think>\n A red fox \n"
    pieces = b"".join(delta(written[at : at + 4]) for at in range(0, len(written), 4))
    says = stream_head() + pieces + delta("", "stop") + DONE if stream else http_answer(completion(written))
    got, _ = await call_server(says, stream=stream)
    assert isinstance(got, LLMResponse), got
    assert (got.content, got.raw, got.reasoning) == ("A red fox", written, "snow?")


# Time


def seconds_for(events: list[dict[str, object]]) -> float:
    answer = StreamedAnswer()
    started = time.process_time()
    for one in events:
        answer._event(one)
    return time.process_time() - started


@pytest.mark.parametrize(
    "choice",
    [piece("a "), piece("a", kind="message"), piece(" "), {"delta": {"reasoning": "hm"}}, {"delta": {"refusal": "n"}}],
    ids=["text", "messages", "white space", "reasoning", "refusal"],
)
def test_many_small_pieces_take_linear_time(choice):
    few, many = ([{"choices": [choice]}] * count for count in (4_000, 32_000))
    seconds_for(few)
    assert min(seconds_for(many) for _ in range(3)) < 30 * max(min(seconds_for(few) for _ in range(3)), 0.002)


# Hostile bodies


@BOTH
async def test_a_document_of_very_many_values_is_not_parsed(stream):
    """Parsing 4 MB of empty lists would block the event loop for two seconds; `benchmarks bombs` measures it."""
    more = "[" + "[]," * MAX_PARTS + "1]"
    body = f'{{"choices": [{{"message": {{"content": "A fox"}}}}], "more": {more}}}'
    got, _ = await call_server(http_answer(body), stream=stream)
    assert isinstance(got, LLMProviderError)
    assert got.kind == "malformed"


async def test_a_stream_of_very_many_events_is_given_up(monkeypatch):
    monkeypatch.setattr(assembly, "MAX_EVENTS", 300)
    got, _ = await call_server([stream_head(), event({}) * 500 + delta("A fox", "stop") + DONE])
    assert isinstance(got, LLMProviderError)
    assert (got.kind, "more than 300 events" in str(got)) == ("malformed", True)
