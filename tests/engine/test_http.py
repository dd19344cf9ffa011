"""The HTTP layer against a real loopback server: times, broken connections, large bodies, addresses."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
import tracemalloc

import pytest

from promptops.engine import (
    LLMInterruptedError,
    LLMMalformedError,
    LLMProviderError,
    LLMResponse,
    LLMTimeoutError,
    LLMTransportError,
    TextChunk,
    base_address,
    close_client,
    complete_chain,
    http,
    run_chain,
)
from tests.engine.helpers import (
    GOOD,
    STREAM_END,
    STREAM_HEAD,
    FakeProvider,
    answer_with,
    ask,
    call_server,
    closed_port,
    collect,
    completion,
    delta,
    event,
    hang,
    http_answer,
    loopback,
    part,
    provider,
    quickest,
    stream_head,
    text_of,
)


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a body one byte at a time, without end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def drip_events(writer: asyncio.StreamWriter) -> None:
    """Send a stream of comments without end and without text."""
    writer.write(STREAM_HEAD)
    while True:
        writer.write(part(b": PROCESSING\n\n"))
        await writer.drain()
        await asyncio.sleep(0.01)


# Time


@pytest.mark.parametrize(
    "respond",
    [
        answer_with(then=hang()),
        answer_with(b"HTTP/1.1 200 OK\r\nContent-", then=hang()),
        answer_with(b"HTTP/1.1 503 X\r\nContent-Length: 10\r\n\r\n", then=hang()),
        drip,
        drip_events,
    ],
    ids=["silent", "half a header", "error without its body", "dripping body", "dripping stream"],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_run_ends_with_its_deadline_and_closes_its_sockets(respond, stream):
    async with loopback(respond) as server:

        async def run() -> None:
            with pytest.raises(LLMTimeoutError) as caught:
                await collect(
                    run_chain(ask(), [provider(server.url)], timeout_ms=150, delivery="stream" if stream else "whole")
                )
            assert caught.value.attempts[0].error_kind == "timeout"
            await server.wait_closed()

        assert 0.145 <= await quickest(run, good=0.2) <= 0.2


async def test_after_a_timeout_the_fallback_gets_its_share():
    async with loopback(drip) as slow, loopback(answer_with(GOOD)) as good:
        started = time.monotonic()
        response = await complete_chain(ask(), [provider(slow.url), provider(good.url, name="good")], timeout_ms=1000)
        assert response.provider == "good"
        assert 0.495 <= time.monotonic() - started < 1
        await slow.wait_closed()


@pytest.mark.parametrize(("own", "asked"), [(60, None), (None, 60), (60, 5000), (5000, 60)])
async def test_a_provider_alone_keeps_its_limits(own, asked):
    async with loopback(answer_with(then=hang())) as server:
        started = time.monotonic()
        with pytest.raises(LLMTimeoutError, match=r"acme did not answer within 0\.06 s") as caught:
            await provider(server.url, timeout_ms=own).complete(ask(timeout_ms=asked))
        assert 0.055 <= time.monotonic() - started < 4
        assert caught.value.retryable is True
        await server.wait_closed()


async def test_a_refused_connection_is_no_timeout():
    with pytest.raises(LLMTransportError, match="connection was refused") as caught:
        await provider(f"http://127.0.0.1:{closed_port()}/v1").complete(ask())
    assert caught.value.retryable is True
    await close_client()


async def test_a_host_that_does_not_exist():
    with pytest.raises(LLMTransportError, match="could not be reached"):
        await provider("http://does-not-exist.invalid/v1").complete(ask())
    await close_client()


@pytest.mark.parametrize(
    "raw",
    [b"", b"HTTP/1.1 200 OK\r\n", b"garbage\r\n\r\n", GOOD[:-5], b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}"],
    ids=["hangs up", "cut header", "no HTTP", "cut body", "bad length"],
)
async def test_a_broken_connection_is_a_transport_error(raw):
    async with loopback(answer_with(raw, close=True)) as server:
        for stream in (False, True):
            with pytest.raises(LLMProviderError) as caught:
                await collect(
                    run_chain(ask(), [provider(server.url)], timeout_ms=1000, delivery="stream" if stream else "whole")
                )
            assert (caught.value.kind, caught.value.retryable) == ("transport", True)
        assert len(server.requests) == 2  # a fresh connection that breaks is not tried again


async def test_a_cut_stream_falls_back_before_text_and_fails_after_it():
    async with loopback(answer_with(STREAM_HEAD, part(b": hi\n\n"), close=True)) as early:
        events = await collect(run_chain(ask(), [provider(early.url), FakeProvider("b")], timeout_ms=1000))
        assert events[-1].response.provider == "b"
    async with loopback(answer_with(STREAM_HEAD, part(delta("a half")), close=True)) as late:
        events = []
        with pytest.raises(LLMInterruptedError):
            await collect(run_chain(ask(), [provider(late.url), FakeProvider("b")], timeout_ms=1000), events)
        assert text_of(events) == "a half"


async def test_a_stalled_stream_is_interrupted_at_the_deadline():
    async with loopback(answer_with(STREAM_HEAD, part(delta("a half")), then=hang())) as server:

        async def run() -> None:
            with pytest.raises(LLMInterruptedError):
                await collect(run_chain(ask(), [provider(server.url)], timeout_ms=150))
            await server.wait_closed()

        assert 0.145 <= await quickest(run, good=0.2) <= 0.2


@pytest.mark.parametrize("close", [True, False])
async def test_a_stream_that_is_over_but_does_not_end_is_a_success(close):
    then = None if close else hang()
    async with loopback(answer_with(STREAM_HEAD, part(delta("a fox", "stop")), then=then, close=close)) as server:
        started = time.monotonic()
        events = await collect(run_chain(ask(), [provider(server.url)], timeout_ms=5000))
        assert events[-1].response.content == "a fox"
        assert time.monotonic() - started < 1.8  # less than `DOUBT_SECONDS`
        await server.wait_closed()


async def test_text_arrives_while_the_stream_runs():
    go_on = asyncio.Event()

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + part(delta("a ")))
        await go_on.wait()
        writer.write(part(delta("fox", "stop")) + part(event("[DONE]")) + STREAM_END)

    async with loopback(respond) as server:
        seen = []
        async for happened in run_chain(ask(), [provider(server.url)], timeout_ms=2000):
            seen.append(happened)
            if isinstance(happened, TextChunk):
                go_on.set()
        assert [happened.text for happened in seen if isinstance(happened, TextChunk)] == ["a", " fox"]


async def test_canceling_closes_the_socket():
    async with loopback(answer_with(STREAM_HEAD, part(delta("a half")), then=hang())) as server:
        attempts: list = []
        reading = asyncio.ensure_future(
            collect(run_chain(ask(), [provider(server.url)], timeout_ms=9000, attempts=attempts))
        )
        while not server.requests:  # noqa: ASYNC110 - the server's own state, in a test
            await asyncio.sleep(0.005)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await server.wait_closed()
        assert [attempt.outcome for attempt in attempts] == ["canceled"]


async def test_a_body_that_is_far_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(http, "MAX_BODY_BYTES", 100_000)
    bomb = gzip.compress(b" " * 10_000_000)
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(bomb), bomb)
    endless = STREAM_HEAD + part(b"data: " + b"x" * 200_000)
    for raw in (http_answer(b" " * 200_000), packed, endless):
        async with loopback(answer_with(raw)) as server:
            with pytest.raises(LLMMalformedError, match="more than") as caught:
                await collect(run_chain(ask(), [provider(server.url)], timeout_ms=3000))
            assert caught.value.retryable is True


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip"])
async def test_a_bomb_takes_no_memory(encoding):
    bomb = gzip.compress(b" " * 250_000_000)
    if encoding != "gzip":
        bomb = gzip.compress(bomb)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n\r\n"
    async with loopback(answer_with(head.encode() + bomb)) as server:
        tracemalloc.start()
        try:
            with pytest.raises(LLMProviderError, match=r"more than 4 MiB|was not asked for"):
                await provider(server.url).complete(ask())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 * http.MAX_BODY_BYTES


@pytest.mark.parametrize("moved_to", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254"])
async def test_a_name_that_was_moved_to_a_metadata_service_is_not_called(monkeypatch, moved_to):
    """A name that was allowed when it was saved is checked again, with its address, for each connection."""
    looked_up = socket.getaddrinfo

    def moved(host, port, *args, **kwargs):
        return looked_up(moved_to if host == "moved.example" else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", moved)
    with pytest.raises(LLMTransportError, match=r"was not called: .*(metadata service|link-local)"):
        await provider("http://moved.example:8080").complete(ask())


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/v1", "http://2852039166/v1", "http://metadata.google.internal"]
)
async def test_a_metadata_service_is_not_called_though_it_was_saved_before(url):
    with pytest.raises(LLMTransportError, match="was not called"):
        await provider(url).complete(ask())


async def test_a_packed_answer_is_read():
    packed = gzip.compress(json.dumps(completion()).encode())
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with loopback(answer_with(head + packed)) as server:
        assert (await provider(server.url).complete(ask())).content == "a red fox"


@pytest.mark.parametrize("size", [9_000, 60_000])
async def test_a_long_header_is_read(size):
    """Gateways send long policies, cookies and metadata."""
    head = stream_head(Content_Security_Policy="x" * size)
    got, _ = await call_server(head + delta("a fox", "stop") + event("[DONE]"))
    assert isinstance(got, LLMResponse), got


@pytest.mark.parametrize("stream", [True, False])
async def test_a_header_that_is_far_too_long_is_named(stream):
    got, _ = await call_server(stream_head(Content_Security_Policy="x" * 100_000), stream=stream)
    assert isinstance(got, LLMTransportError)
    assert str(got) == "acme sent a header longer than 64 KiB"


# Addresses


@pytest.mark.parametrize(
    "suffix", ["/v1", "/v1/", "/v1/chat/completions", "/v1/chat/completions/", "/v1/Chat/Completions"]
)
async def test_the_whole_address_may_be_given_as_base(suffix):
    _, requests = await call_server(GOOD, stream=False, suffix=suffix)
    assert [request.path for request in requests] == ["/v1/chat/completions"]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://a/v1/chat/completions", "http://a/v1"),
        (" http://a/v1/chat/completions// ", "http://a/v1"),
        ("http://a/v1", "http://a/v1"),
        ("http://a/v1/", "http://a/v1/"),
        ("http://a/chat/completions/v1", "http://a/chat/completions/v1"),
        ("http://a/v1/chat/completions?api-version=1", "http://a/v1?api-version=1"),
        ("http://a/v1?api-version=1", "http://a/v1?api-version=1"),
        ("", ""),
    ],
)
def test_base_addresses(url, base):
    assert base_address(url) == base


async def test_a_query_stays_behind_the_address():
    for suffix in ("/v1?api-version=1", "/v1/?api-version=1", "/v1/chat/completions?api-version=1"):
        _, requests = await call_server(GOOD, stream=False, suffix=suffix)
        assert [request.path for request in requests] == ["/v1/chat/completions?api-version=1"]
