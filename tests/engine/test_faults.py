"""Faults that the chain must survive, on real sockets: attempts made, time taken, sockets closed, nothing leaked."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptops.engine import (
    HealthRegistry,
    HedgePolicy,
    LLMAuthError,
    LLMBadRequestError,
    LLMContextLengthError,
    LLMInterruptedError,
    LLMProviderError,
    LLMRefusedError,
    LLMResponse,
    LLMServerError,
    LLMTimeoutError,
    OpenAICompatibleProvider,
    Prices,
    RunDone,
    TextChunk,
    complete_chain,
    http,
    run_chain,
)
from promptops.engine.health import FAILURES_TO_OPEN, OPEN_SECONDS
from promptops.engine.providers.assembly import StreamedAnswer
from tests.engine.helpers import (
    STREAM_END,
    STREAM_HEAD,
    Loopback,
    Respond,
    answer_with,
    ask,
    collect,
    completion,
    delta,
    event,
    hang,
    http_answer,
    loopback,
    part,
    quickest,
    text_of,
)

KEY = "sk-very-secret-4711"
GOOD = http_answer(completion())
GOOD_STREAM = STREAM_HEAD + part(delta("a red fox", "stop")) + part(event("[DONE]")) + STREAM_END
SLACK = 0.25
"""What a busy machine may add to a time that is asserted."""


def at(server: Loopback, name: str = "bad", **fields) -> OpenAICompatibleProvider:
    return OpenAICompatibleProvider(server.url, **{"name": name, "api_key": KEY, **fields})


@pytest.fixture(autouse=True)
async def nothing_leaks() -> AsyncIterator[None]:
    """No task, socket or thread is left when a test is over; `loopback` itself fails when its side stays open."""
    tasks, sockets, threads = asyncio.all_tasks(), open_sockets(), threading.active_count()
    yield
    await http.close_client()
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() - tasks - {asyncio.current_task()} == set()
    assert (open_sockets() - sockets, threading.active_count()) == (set(), threads)


def open_sockets() -> set[str]:
    """This process's sockets, as far as the system tells."""
    found = set()
    for file in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # the one that listed the folder is closed by now
            found.add(os.readlink(file))
    return {name for name in found if name.startswith("socket:")}


@asynccontextmanager
async def servers(*responds: Respond) -> AsyncIterator[list[Loopback]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(loopback(respond)) for respond in responds]


def head(status: int = 200, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode()


def refused(status: int, body: object, **headers: str) -> bytes:
    raw = http_answer(body, status)
    first, rest = raw.split(b"\r\n", 1)
    return first + b"\r\n" + head(**headers).split(b"\r\n", 1)[1].rstrip(b"\r\n") + b"\r\n" + rest


def dripping(first: bytes, drop: bytes) -> Respond:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.005)

    return respond


def resetting(first: bytes = b"") -> Respond:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.transport.abort()

    return respond


# Faults after which the fallback answers: (what the server does, the attempt's error kind)

CHUNKED = head(Content_Type="application/json", Transfer_Encoding="chunked")
LENGTH = head(Content_Type="application/json", Content_Length="100000")
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
        stream = True  # what only a stream can do
    good_answer = answer_with(GOOD_STREAM if stream else GOOD)
    async with servers(respond, good_answer) as (bad, good):
        before, started = asyncio.all_tasks(), time.monotonic()
        # Only the timeouts use up time: half of this, the share of the first of two.
        timeout_ms = 400 if kind == "timeout" else 2000
        providers = [at(bad), at(good, "good")]
        events = await collect(
            run_chain(ask(), providers, timeout_ms=timeout_ms, delivery="stream" if stream else "whole")
        )
        response = events[-1].response
        took = time.monotonic() - started
        assert (response.content, response.provider, response.fallback_used) == ("a red fox", "good", True)
        assert [(attempt.provider, attempt.outcome, attempt.error_kind) for attempt in response.attempts] == [
            ("bad", "failed", kind),
            ("good", "succeeded", None),
        ]
        assert (len(bad.requests), len(good.requests)) == (1, 1)
        assert text_of(events) in ("", "a red fox")
        assert took <= (0.2 + SLACK if kind == "timeout" else 1.0)
        if kind == "timeout":
            await bad.wait_closed(0.3)
        assert len(asyncio.all_tasks() - before) <= 4  # the servers' own


# Faults after which nobody else is asked: (answer, error, what the message keeps)


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
async def test_an_answer_that_nobody_asked_for_reaches_no_run(together):
    """A server that answers one request twice would be one answer behind for as long as its connection is kept."""

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
    """The server takes no more than its buffers hold: the upload itself hangs."""
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
        assert response.attempts[0].latency_ms == pytest.approx(150, abs=SLACK * 1000)


# Time


@pytest.mark.parametrize("respond", [dripping(LENGTH, b" "), answer_with(then=hang())], ids=["drip", "silence"])
@pytest.mark.parametrize("providers", [1, 3])
async def test_a_run_ends_with_its_deadline(respond, providers):
    async with servers(*[respond] * providers) as bad:

        async def run() -> None:
            with pytest.raises(LLMTimeoutError) as caught:
                await complete_chain(ask(), [at(server, f"p{n}") for n, server in enumerate(bad)], timeout_ms=150)
            assert len(caught.value.attempts) == providers
            for server in bad:
                await server.wait_closed(0.3)

        assert 0.145 <= await quickest(run, good=0.2) <= 0.2


async def test_a_listener_that_never_accepts():
    """A full backlog: the connection itself hangs."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        async with servers(answer_with(GOOD)) as (good,):
            dead = OpenAICompatibleProvider(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", name="dead")
            response = await complete_chain(ask(), [dead, at(good, "good")], timeout_ms=200)
            assert (response.provider, response.attempts[0].error_kind) == ("good", "timeout")
        for filler in fillers:
            filler.close()


# Rate limits


@pytest.mark.parametrize("seconds", [2, 3600])
async def test_retry_after_keeps_everybody_away(seconds):
    now = 1000.0
    health = HealthRegistry(clock=lambda: now)
    limited = answer_with(refused(429, {"error": "slow down"}, Retry_After=str(seconds)))
    async with servers(limited, answer_with(GOOD)) as (bad, good):
        providers, started = [at(bad), at(good, "good")], time.monotonic()
        await complete_chain(ask(), providers, timeout_ms=5000, health=health)
        now += seconds - 0.01
        runs = [complete_chain(ask(), providers, timeout_ms=5000, health=health) for _ in range(20)]
        assert {response.provider for response in await asyncio.gather(*runs)} == {"good"}
        assert (len(bad.requests), len(good.requests)) == (1, 21)
        assert time.monotonic() - started < 1.5  # nobody slept
        now += 0.02
        await complete_chain(ask(), providers, timeout_ms=5000, health=health)
        assert len(bad.requests) == 2


@pytest.mark.parametrize(("then", "close"), [(hang(), False), (None, True)], ids=["stalls", "breaks off"])
async def test_retry_after_counts_although_the_body_never_comes(then, close):
    health, started = HealthRegistry(), time.monotonic()
    limited = answer_with(head(429, Retry_After="7", Content_Length="10"), b"{", then=then, close=close)
    async with servers(limited, answer_with(GOOD)) as (bad, good):
        response = await complete_chain(ask(), [at(bad), at(good, "good")], timeout_ms=9000, health=health)
        assert [attempt.error_kind for attempt in response.attempts] == ["rate_limited", None]
        assert health.view("bad").cooldown_left_ms == pytest.approx(7000, abs=1000)
        assert time.monotonic() - started < 1 + SLACK
        await bad.wait_closed(0.3)


async def test_a_limit_that_is_used_up_spares_the_next_request():
    health = HealthRegistry()
    last = {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "2m59.56s"}
    async with servers(answer_with(refused(200, completion(), **last)), answer_with(GOOD)) as (first, good):
        providers = [at(first), at(good, "good")]
        answered = [await complete_chain(ask(), providers, timeout_ms=5000, health=health) for _ in range(2)]
        assert [response.provider for response in answered] == ["bad", "good"]
        assert health.view("bad").cooldown_left_ms == pytest.approx(179_560, abs=2000)


# Load


async def test_when_every_provider_is_down_the_calls_are_bounded_and_the_error_names_all():
    down = answer_with(http_answer({"message": "down"}, 503))
    async with servers(down, down, down) as bad:
        providers = [at(server, f"p{n}") for n, server in enumerate(bad)]
        for health in (None, HealthRegistry()):
            runs = [complete_chain(ask(), providers, timeout_ms=20_000, health=health) for _ in range(100)]
            errors = await asyncio.gather(*runs, return_exceptions=True)
            assert {type(error) for error in errors} == {LLMServerError}
            for error in errors if health is None else errors[:1]:
                assert [attempt.provider for attempt in error.attempts] == ["p0", "p1", "p2"]
            assert 3 <= sum(len(server.requests) for server in bad) <= 100 * 3 * 1.2
            for server in bad:
                server.requests.clear()


async def test_a_primary_that_is_down_for_a_minute_under_steady_load():
    """One run every 0.2 s of an injected clock, for two minutes; the primary is down for the first."""
    now = 0.0
    health = HealthRegistry(clock=lambda: now)
    asked_at: list[float] = []

    async def respond(writer: asyncio.StreamWriter) -> None:
        asked_at.append(now)
        writer.write(http_answer({"error": "down"}, 503) if now < 60 else GOOD)

    async with servers(respond, answer_with(GOOD)) as (primary, good):
        providers, served = [at(primary, "primary"), at(good, "good")], []
        while now < 120:
            served.append((now, (await complete_chain(ask(), providers, timeout_ms=5000, health=health)).provider))
            now += 0.2
        assert len(served) in (600, 601)
        down = [when for when in asked_at if when < 60]
        assert len(down) <= FAILURES_TO_OPEN + 60 / OPEN_SECONDS
        back = next(when for when, provider in served if provider == "primary")
        assert 60 <= back <= 60 + OPEN_SECONDS + 0.2
        assert {provider for when, provider in served if when > back} == {"primary"}


# Streams


HALF = STREAM_HEAD + part(delta("a half"))
DIED = part(event({"error": {"message": "died"}}))


@pytest.mark.parametrize(
    ("respond", "closes"),
    [
        (answer_with(HALF, close=True), True),
        (answer_with(HALF, STREAM_END), False),  # read to its end: the connection may be used again
        (answer_with(HALF, then=hang()), True),
        (answer_with(HALF, DIED, then=hang()), True),
        (answer_with(HALF, part(event({"choices": [], "x_groq": {"error": "over"}})), then=hang()), True),
        (answer_with(HALF, part(delta("", "content_filter")), STREAM_END), False),
        (resetting(HALF), True),
        (dripping(HALF, part(b": PROCESSING\n\n")), True),
        (answer_with(HALF, part(delta("", "error")), part(event("[DONE]")), STREAM_END), False),
        (answer_with(HALF, part(delta("", "abort")), STREAM_END), False),
    ],
    ids=[
        "cut",
        "ended without a word",
        "stalled",
        "error event",
        "groq error",
        "filtered",
        "reset",
        "dripping",
        "stopped by an error",
        "aborted",
    ],
)
async def test_a_stream_that_breaks_after_its_first_text_is_never_a_success(respond, closes):
    async with servers(respond, answer_with(GOOD_STREAM)) as (bad, good):
        events: list = []
        with pytest.raises(LLMInterruptedError) as caught:
            await collect(run_chain(ask(), [at(bad), at(good, "good")], timeout_ms=200), events)
        assert text_of(events) == "a half"
        assert not any(isinstance(found, RunDone) for found in events)
        assert (len(good.requests), [attempt.error_kind for attempt in caught.value.attempts]) == (0, ["interrupted"])
        if closes:
            await bad.wait_closed(0.3)


async def test_a_stream_without_done_is_a_success_when_it_says_that_it_is_over():
    async with servers(answer_with(STREAM_HEAD, part(delta("a fox", "stop")), STREAM_END)) as (server,):
        assert (await collect(run_chain(ask(), [at(server)], timeout_ms=2000)))[-1].response.content == "a fox"


# Going away


async def test_a_caller_that_goes_away_leaves_nothing():
    health = HealthRegistry()
    async with servers(answer_with(STREAM_HEAD, part(delta("a half")), then=hang())) as (server,):
        for _ in range(FAILURES_TO_OPEN + 1):
            attempts: list = []
            provider = at(server, prices=Prices(1.0, None, 1.0))
            chain = run_chain(ask(), [provider], timeout_ms=9000, attempts=attempts, health=health)
            async with aclosing(chain) as events:
                async for happened in events:
                    if isinstance(happened, TextChunk):
                        break
            await server.wait_closed(0.3)
            assert [(attempt.outcome, attempt.usage_estimated) for attempt in attempts] == [("canceled", True)]
            assert attempts[0].cost > 0
        assert (health.view("bad").state, health.view("bad").in_flight) == ("closed", 0)


async def test_the_loser_of_a_race_is_closed_and_counted_once():
    health, prices = HealthRegistry(), Prices(1.0, None, 1.0)
    async with servers(answer_with(then=hang()), answer_with(GOOD)) as (slow, good):
        response = await complete_chain(
            ask(),
            [at(slow, prices=prices), at(good, "good", prices=prices)],
            timeout_ms=5000,
            health=health,
            hedge=HedgePolicy(delay_ms=30, budget=1.0),
        )
        await slow.wait_closed(0.3)
        assert [(attempt.provider, attempt.outcome) for attempt in response.attempts] == [
            ("bad", "canceled"),
            ("good", "succeeded"),
        ]
        assert response.cost == pytest.approx(sum(attempt.cost for attempt in response.attempts))
        assert all(attempt.cost for attempt in response.attempts)
        assert (health.view("bad").state, health.view("bad").in_flight) == ("closed", 0)


async def test_the_timeline_of_an_attempt():
    async with servers(answer_with(GOOD)) as (server,):
        first, second = [(await complete_chain(ask(), [at(server)], timeout_ms=2000)).attempts[0] for _ in range(2)]
        for attempt in (first, second):
            assert 0 <= attempt.connect_ms <= attempt.latency_ms
            assert attempt.queued_ms == pytest.approx(0, abs=20)
        assert server.connections == 1


# Whatever the bytes


async def read(chunks: list[bytes]) -> tuple[str, bool, str | None, str | None]:
    async def body():
        for chunk in chunks:
            yield chunk

    answer = StreamedAnswer()
    text = "".join([piece async for piece in answer.read(body())])
    return text, answer.complete, answer.finish_reason, answer.error.text if answer.error else None


WHOLE = b"".join(
    [
        b": hi\r\n\r\n",
        delta("a <thi"),
        delta("nk>hm</think> r\u00e9d "),
        b"data: {oops\n\n",
        delta("fox \U0001f98a", "stop"),
        event("[DONE]"),
    ]
)


async def test_a_stream_cut_at_every_position_reads_the_same():
    expected = await read([WHOLE])
    assert expected == ("a  r\u00e9d fox \U0001f98a", True, "stop", None)
    for cut in range(len(WHOLE) + 1):
        assert await read([WHOLE[:cut], WHOLE[cut:]]) == expected


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_arbitrary_bytes_are_read_alike_however_they_are_cut(raw, cuts):
    edges = [0, *sorted(cuts), len(raw)]
    parts = [raw[start:end] for start, end in pairwise(edges)]
    assert asyncio.run(read([raw])) == asyncio.run(read(parts))


EVENTS = [delta("a fox"), delta(" <thi"), delta("nk>"), delta("</think>"), delta("", "stop"), event({"error": "no"})]
PIECES = [*EVENTS, event("[DONE]"), event({"choices": None, "usage": 1}), b"data: ", b"\n", b"\r", b": hi", b"\xff"]


@settings(deadline=None)  # up to 600 readings
@example(event({"error": "no"}) + event("[DONE]"))
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=5).map(b"".join))
def test_any_events_are_read_alike_wherever_they_are_cut(raw):
    async def check() -> None:
        expected = await read([raw])
        for cut in range(len(raw) + 1):
            assert await read([raw[:cut], raw[cut:]]) == expected

    asyncio.run(check())


class InParts(httpx.AsyncByteStream):
    def __init__(self, *parts: bytes) -> None:
        self.parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for one in self.parts:
            yield one


async def answer_of(*parts: bytes, status: int = 200, packed: bool = False) -> tuple[str, ...]:
    """What a provider makes of a body that comes in these parts."""
    headers = {"Content-Encoding": "gzip"} if packed else {}
    transport = httpx.MockTransport(lambda request: httpx.Response(status, headers=headers, stream=InParts(*parts)))
    with http.use_transport(lambda: transport):
        try:
            found = await OpenAICompatibleProvider("http://model.test/v1").complete(ask())
        except LLMProviderError as error:
            return error.kind, str(error)
    return ("answered", found.content)


SPOKEN = json.dumps(completion("a r\u00e9d fox \U0001f98a"), ensure_ascii=False).encode()
PACKED = gzip.compress(SPOKEN)


@pytest.mark.parametrize(
    ("body", "packed", "expected"),
    [
        (SPOKEN, False, "answered"),
        (SPOKEN[:-9], False, "malformed"),
        (PACKED, True, "answered"),
        (PACKED[:-20], True, "malformed"),
        (PACKED[:40] + b"xyz" + PACKED[43:], True, "transport"),
    ],
    ids=["whole", "broken off", "packed", "packed and broken off", "packed and damaged"],
)
async def test_a_body_cut_at_every_position_reads_the_same(body, packed, expected):
    whole = await answer_of(body, packed=packed)
    assert whole[0] == expected
    for cut in range(len(body) + 1):
        assert await answer_of(body[:cut], body[cut:], packed=packed) == whole
    assert await answer_of(*(bytes([byte]) for byte in body), packed=packed) == whole


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from([200, 400, 429, 500]), st.booleans())
def test_an_arbitrary_body_reads_the_same_wherever_it_is_cut(raw, status, packed):
    async def check() -> None:
        whole = await answer_of(raw, status=status, packed=packed)
        for cut in range(len(raw) + 1):
            assert await answer_of(raw[:cut], raw[cut:], status=status, packed=packed) == whole

    asyncio.run(check())


@given(st.binary(max_size=300), st.sampled_from([200, 400, 429, 500]))
def test_an_arbitrary_body_never_raises_anything_raw(raw, status):
    async def run() -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(status, content=raw))
        with http.use_transport(lambda: transport):
            try:
                found = await OpenAICompatibleProvider("http://model.test/v1").complete(ask())
            except LLMProviderError:
                return
            assert isinstance(found, LLMResponse)

    asyncio.run(run())
