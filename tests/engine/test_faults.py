"""One fault of a provider, on real sockets: the attempts, the times, the sockets, and no leak."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import AsyncExitStack

import pytest

from promptops.engine import (
    HealthRegistry,
    LLMAuthError,
    LLMBadRequestError,
    LLMContextLengthError,
    LLMRefusedError,
    OpenAICompatibleProvider,
    complete_chain,
    run_chain,
)
from tests.engine.fault_servers import (
    GOOD_STREAM,
    LENGTH,
    at,
    dripping,
    head,
    resetting,
    servers,
)
from tests.engine.helpers import (
    GOOD,
    KEY,
    STREAM_END,
    STREAM_HEAD,
    answer_with,
    ask,
    collect,
    completion,
    delta,
    event,
    hang,
    http_answer,
    part,
    text_of,
)

pytestmark = pytest.mark.usefixtures("nothing_leaks")

# Faults after which the fallback answers: (the responder, the attempt's error kind)

CHUNKED = head(Content_Type="application/json", Transfer_Encoding="chunked")

THOUGHTS = part(delta(reasoning="hm", finish="length"))


RETRYABLE = {
    "never accepts a byte": (answer_with(then=hang()), "timeout"),
    "drips its header": (dripping(b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n"), "timeout"),
    "drips its body": (dripping(LENGTH, b" "), "timeout"),
    "drips chunks": (dripping(CHUNKED, part(b" ")), "timeout"),
    "drips comments": (dripping(STREAM_HEAD, part(b": PROCESSING\n\n")), "timeout"),
    "drips empty events": (dripping(STREAM_HEAD, part(delta(""))), "timeout"),
    "thinks for ever": (dripping(STREAM_HEAD, part(delta(reasoning="hm "))), "timeout"),
    "hangs up": (answer_with(close=True), "transport"),
    "resets the connection": (resetting(), "transport"),
    "resets it in the body": (resetting(GOOD[:-5]), "transport"),
    "hangs up in the header": (answer_with(b"HTTP/1.1 200", close=True), "transport"),
    "hangs up in the body": (answer_with(GOOD[:-5], close=True), "transport"),
    "hangs up between chunks": (answer_with(CHUNKED, part(b'{"choices"'), close=True), "transport"),
    "sends a bad chunk": (answer_with(CHUNKED, b"zz\r\n", close=True), "transport"),
    "speaks no HTTP": (answer_with(b"SSH-2.0-OpenSSH_9.2\r\n", close=True), "transport"),
    "sends endless headers": (answer_with(head(X="y" * 100_000)), "transport"),
    "tells two lengths": (answer_with(GOOD.replace(b"X\r\n", b"X\r\nContent-Length: 3\r\n", 1)), "transport"),
    "switches the protocol": (answer_with(head(101, Upgrade="x", Connection="upgrade"), close=True), "malformed"),
    "packs its body wrongly": (
        answer_with(http_answer(b"no gzip").replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1)),
        "transport",
    ),
    "429": (answer_with(http_answer({"message": "slow down"}, 429)), "rate_limited"),
    "503 while it loads": (answer_with(http_answer({"error": {"message": "Loading model"}}, 503)), "server"),
    "429 without its body": (answer_with(head(429, Content_Length="10"), then=hang()), "rate_limited"),
    "503 cut in its body": (answer_with(head(503, Content_Length="10"), b"{", close=True), "server"),
    "498": (answer_with(http_answer({"error": {"message": "capacity"}}, 498)), "server"),
    "502 as HTML": (answer_with(http_answer("<html>Bad gateway</html>", 502, "text/html")), "server"),
    "empty content": (answer_with(http_answer(completion(""))), "empty"),
    "null content": (answer_with(http_answer(completion(None))), "empty"),
    "message null": (answer_with(http_answer({"choices": [{"message": None}]})), "empty"),
    "only thinking": (answer_with(http_answer(completion("<think>hm</think>"))), "empty"),
    "cut by the limit": (answer_with(http_answer(completion(None, "length", usage={"prompt_tokens": 9}))), "truncated"),
    "error under 200": (answer_with(http_answer({"error": {"message": "overloaded", "code": 502}})), "server"),
    "error in its choice": (
        answer_with(http_answer({"choices": [{"message": {"content": "a half"}, "error": {"message": "died"}}]})),
        "server",
    ),
    "stopped by an error": (answer_with(http_answer(completion("a half", "error"))), "server"),
    "aborted": (answer_with(http_answer(completion("a half", "abort"))), "server"),
    "a list": (answer_with(http_answer([])), "malformed"),
    "no choices": (answer_with(http_answer({"choices": []})), "malformed"),
    "HTML under 200": (answer_with(http_answer("<html>Welcome</html>", 200, "text/html")), "malformed"),
    "cut JSON": (answer_with(http_answer(b'{"choices": [{"mess')), "malformed"),
    "no body": (answer_with(http_answer(b"")), "malformed"),
    "a redirect": (answer_with(http_answer({}, 307)), "malformed"),
    "an empty stream": (answer_with(STREAM_HEAD, STREAM_END), "transport"),
    "a stream without text": (answer_with(STREAM_HEAD, part(delta(finish="stop")), STREAM_END), "empty"),
    "a stream that only thinks": (
        answer_with(STREAM_HEAD, part(delta(reasoning="hm", finish="length")), STREAM_END),
        "truncated",
    ),
    "an error event first": (answer_with(STREAM_HEAD, part(event({"error": "died"})), STREAM_END), "server"),
    "an error event and text behind it": (
        answer_with(STREAM_HEAD, part(event({"error": "died"}) + delta("a half", "stop")), STREAM_END),
        "server",
    ),
    "a stream cut before text": (answer_with(STREAM_HEAD, part(b": hi\n\n"), close=True), "transport"),
    "a stream stalled before text": (answer_with(STREAM_HEAD, part(delta(reasoning="hm")), then=hang()), "timeout"),
    "a stream of broken lines": (answer_with(STREAM_HEAD, part(b"data: {oops\n\n"), STREAM_END), "transport"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", RETRYABLE)
async def test_the_fallback_answers(fault, stream):
    respond, kind = RETRYABLE[fault]
    if (
        (not stream and "stream" in fault)
        or fault in ("drips comments", "drips empty events")
        or fault.startswith("an error event")
    ):
        stream = True  # faults that only a stream can have
    good_answer = answer_with(GOOD_STREAM if stream else GOOD)
    async with servers(respond, good_answer) as (bad, good):
        before, started = asyncio.all_tasks(), time.monotonic()
        # Only the timeouts use up time: the first provider's own limit.
        providers = [at(bad, timeout_ms=200 if kind == "timeout" else None), at(good, "good")]
        events = await collect(run_chain(ask(), providers, timeout_ms=8000, delivery="stream" if stream else "whole"))
        response = events[-1].response
        took = time.monotonic() - started
        assert (response.content, response.provider, response.fallback_used) == ("a red fox", "good", True)
        assert [(attempt.provider, attempt.outcome, attempt.error_kind) for attempt in response.attempts] == [
            ("bad", "failed", kind),
            ("good", "succeeded", None),
        ]
        assert (len(bad.requests), len(good.requests)) == (1, 1)
        assert text_of(events) in ("", "a red fox")
        assert took < 3  # less than the share of the first provider
        if kind == "timeout":
            await bad.wait_closed()
        assert len(asyncio.all_tasks() - before) <= 4  # the servers' own


# Faults after which no other provider is called: (status, body, error, a part of the message)


@pytest.mark.parametrize(
    ("status", "body", "error", "keeps"),
    [
        (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}, LLMAuthError, "Incorrect API key"),
        (400, {"error": {"message": "Violates policy", "code": "content_filter"}}, LLMRefusedError, "Violates policy"),
        (400, {"message": "context length is 8192 tokens"}, LLMContextLengthError, "8192"),
        (422, {"error": {"message": "bad field"}}, LLMBadRequestError, "bad field"),
    ],
)
async def test_the_run_stops(status, body, error, keeps, caplog):
    caplog.set_level(logging.DEBUG)
    async with servers(answer_with(http_answer(body, status)), answer_with(GOOD)) as (bad, good):
        health = HealthRegistry()
        with pytest.raises(error, match=keeps) as caught:
            await complete_chain(ask(), [at(bad), at(good, "good")], timeout_ms=2000, health=health)
        assert (len(bad.requests), len(good.requests), len(caught.value.attempts)) == (1, 0, 1)
        assert health.view("bad").misconfigured is (status == 401)
        shown = f"{caught.value!r} {caught.value.attempts} {health.view('bad')} {caplog.text}"
        assert KEY not in shown


async def test_a_wrong_key_falls_back_where_the_operator_chose_it():
    health = HealthRegistry()
    async with servers(answer_with(http_answer({"error": KEY}, 401)), answer_with(GOOD)) as (bad, good):
        providers = [at(bad, fall_back_on=frozenset({"auth"})), at(good, "good")]
        response = await complete_chain(ask(), providers, timeout_ms=2000, health=health)
        assert (response.provider, health.view("bad").misconfigured) == ("good", True)
        assert KEY not in f"{health.view('bad')} {response}"


async def test_a_prompt_that_is_too_long_goes_to_a_larger_context_only():
    too_long = answer_with(http_answer({"error": {"message": "no", "code": "context_length_exceeded"}}, 400))
    async with servers(too_long, answer_with(GOOD), answer_with(GOOD)) as (bad, small, large):
        providers = [
            at(bad, context_tokens=8),
            at(small, "small", context_tokens=4),
            at(large, "large", context_tokens=9),
        ]
        response = await complete_chain(ask(), providers, timeout_ms=2000)
        assert (response.provider, len(small.requests)) == ("large", 0)


async def test_an_answer_used_up_by_thinking_is_asked_for_once_more_with_a_larger_limit():
    async def respond(writer: asyncio.StreamWriter) -> None:
        enough = server.requests[-1].body["max_tokens"] >= 1024
        writer.write(GOOD if enough else http_answer(completion(None, "length")))

    async with servers(respond) as (server,):
        response = await complete_chain(ask(max_tokens=256), [at(server)], timeout_ms=2000)
        assert [request.body["max_tokens"] for request in server.requests] == [256, 1024]
        assert [attempt.error_kind for attempt in response.attempts] == ["truncated", None]
        assert (response.content, response.fallback_used) == ("a red fox", False)


async def test_content_that_is_a_list_is_joined():
    parts = [{"type": "text", "text": "a red "}, "fox", {"type": "image_url"}, None]
    async with servers(answer_with(http_answer(completion(parts)))) as (server,):
        assert (await complete_chain(ask(), [at(server)], timeout_ms=2000)).content == "a red fox"


@pytest.mark.parametrize("before", [100, 103])
async def test_a_hint_before_the_answer_is_no_answer(before):
    async with servers(answer_with(head(before) + GOOD)) as (server,):
        assert (await complete_chain(ask(), [at(server)], timeout_ms=2000)).content == "a red fox"


@pytest.mark.parametrize("together", [True, False])
async def test_an_unrequested_answer_reaches_no_run(together):
    """If a server answers one request twice, the next request on that connection must not get the second answer."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        number = len(server.requests)
        writer.write(http_answer(completion(f"answer {number}")))
        if number == 1:
            await asyncio.sleep(0 if together else 0.02)
            writer.write(http_answer(completion("answer 1 once more")))

    async with servers(respond) as (server,):
        answers = []
        for _ in range(3):
            answers.append((await complete_chain(ask(), [at(server)], timeout_ms=2000)).content)
            await asyncio.sleep(0.04)
        assert answers == ["answer 1", "answer 2", "answer 3"]
        assert (len(server.requests), server.connections) == (3, 2)


async def test_a_request_that_is_never_read():
    """The server reads nothing, so the upload itself hangs once the buffers are full."""
    async with AsyncExitStack() as stack:
        full = socket.socket()
        stack.callback(full.close)
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        full.bind(("127.0.0.1", 0))
        full.listen()
        (good,) = await stack.enter_async_context(servers(answer_with(GOOD)))
        deaf = OpenAICompatibleProvider(f"http://127.0.0.1:{full.getsockname()[1]}/v1", name="deaf", timeout_ms=150)
        response = await complete_chain(ask("x" * 8_000_000), [deaf, at(good, "good")], timeout_ms=5000)
        assert [attempt.error_kind for attempt in response.attempts] == ["timeout", None]
        assert 145 <= response.attempts[0].latency_ms < 2000  # less than its share
