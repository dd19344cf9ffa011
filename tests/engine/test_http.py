"""The HTTP layer against a real loopback server: time, cut connections, the pool, server-sent events."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import logging
import socket
import subprocess
import sys
import time
import tracemalloc
import warnings
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptops.engine import (
    AttemptFailed,
    LLMInterruptedError,
    LLMMalformedError,
    LLMProviderError,
    LLMResponse,
    LLMTimeoutError,
    LLMTransportError,
    OpenAICompatibleProvider,
    RunDone,
    TextChunk,
    base_address,
    close_client,
    complete_chain,
    http,
    run_chain,
    use_transport,
)
from promptops.engine.event_stream import EventParser
from tests.engine.helpers import (
    STREAM_END,
    STREAM_HEAD,
    FakeProvider,
    answer_with,
    ask,
    call_server,
    collect,
    completion,
    delta,
    event,
    hang,
    http_answer,
    loopback,
    part,
    quickest,
    stream_head,
    text_of,
)

KEY = "sk-very-secret-4711"
GOOD = http_answer(completion())


def at(url: str, **fields) -> OpenAICompatibleProvider:
    return OpenAICompatibleProvider(url, **{"name": "acme", "api_key": KEY, **fields})


async def drip(writer: asyncio.StreamWriter) -> None:
    """A body that comes a byte at a time and never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def drip_events(writer: asyncio.StreamWriter) -> None:
    """A stream that keeps the connection busy with comments and never says anything."""
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
                    run_chain(ask(), [at(server.url)], timeout_ms=150, delivery="stream" if stream else "whole")
                )
            assert caught.value.attempts[0].error_kind == "timeout"
            await server.wait_closed(0.2)

        assert 0.145 <= await quickest(run, good=0.2) <= 0.2


async def test_after_a_timeout_the_fallback_gets_its_share():
    async with loopback(drip) as slow, loopback(answer_with(GOOD)) as good:
        started = time.monotonic()
        response = await complete_chain(ask(), [at(slow.url), at(good.url, name="good")], timeout_ms=300)
        assert response.provider == "good"
        assert time.monotonic() - started == pytest.approx(0.15, abs=0.1)
        await slow.wait_closed(0.2)


@pytest.mark.parametrize(("own", "asked"), [(60, None), (None, 60), (60, 5000), (5000, 60)])
async def test_a_provider_alone_keeps_its_limits(own, asked):
    async with loopback(answer_with(then=hang())) as server:
        started = time.monotonic()
        with pytest.raises(LLMTimeoutError, match="acme did not answer within 60 ms") as caught:
            await at(server.url, timeout_ms=own).complete(ask(timeout_ms=asked))
        assert time.monotonic() - started == pytest.approx(0.06, abs=0.1)
        assert caught.value.retryable is True
        await server.wait_closed(0.2)


# Broken connections


def closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


async def test_a_refused_connection_is_no_timeout():
    with pytest.raises(LLMTransportError, match="connection was refused") as caught:
        await at(f"http://127.0.0.1:{closed_port()}/v1").complete(ask())
    assert caught.value.retryable is True
    await close_client()


async def test_a_host_that_does_not_exist():
    with pytest.raises(LLMTransportError, match="could not be reached"):
        await at("http://does-not-exist.invalid/v1").complete(ask())
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
                    run_chain(ask(), [at(server.url)], timeout_ms=1000, delivery="stream" if stream else "whole")
                )
            assert (caught.value.kind, caught.value.retryable) == ("transport", True)
        assert len(server.requests) == 2  # a fresh connection that breaks is not tried again


async def test_a_cut_stream_before_text_falls_over_and_after_text_fails():
    async with loopback(answer_with(STREAM_HEAD, part(b": hi\n\n"), close=True)) as early:
        events = await collect(run_chain(ask(), [at(early.url), FakeProvider("b")], timeout_ms=1000))
        assert events[-1].response.provider == "b"
    async with loopback(answer_with(STREAM_HEAD, part(delta("a half")), close=True)) as late:
        events = []
        with pytest.raises(LLMInterruptedError):
            await collect(run_chain(ask(), [at(late.url), FakeProvider("b")], timeout_ms=1000), events)
        assert text_of(events) == "a half"


async def test_a_stalled_stream_is_interrupted_at_the_deadline():
    async with loopback(answer_with(STREAM_HEAD, part(delta("a half")), then=hang())) as server:

        async def run() -> None:
            with pytest.raises(LLMInterruptedError):
                await collect(run_chain(ask(), [at(server.url)], timeout_ms=150))
            await server.wait_closed(0.2)

        assert 0.145 <= await quickest(run, good=0.2) <= 0.2


@pytest.mark.parametrize("close", [True, False])
async def test_a_stream_that_is_over_but_does_not_end_is_a_success(close):
    then = None if close else hang()
    async with loopback(answer_with(STREAM_HEAD, part(delta("a fox", "stop")), then=then, close=close)) as server:
        started = time.monotonic()
        events = await collect(run_chain(ask(), [at(server.url)], timeout_ms=5000))
        assert events[-1].response.content == "a fox"
        assert time.monotonic() - started < 0.5
        await server.wait_closed(0.2)


async def test_text_arrives_while_the_stream_runs():
    go_on = asyncio.Event()

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + part(delta("a ")))
        await go_on.wait()
        writer.write(part(delta("fox", "stop")) + part(event("[DONE]")) + STREAM_END)

    async with loopback(respond) as server:
        seen = []
        async for happened in run_chain(ask(), [at(server.url)], timeout_ms=2000):
            seen.append(happened)
            if isinstance(happened, TextChunk):
                go_on.set()
        assert [found.text for found in seen if isinstance(found, TextChunk)] == ["a", " fox"]


async def test_canceling_closes_the_socket():
    async with loopback(answer_with(STREAM_HEAD, part(delta("a half")), then=hang())) as server:
        attempts: list = []
        reading = asyncio.ensure_future(collect(run_chain(ask(), [at(server.url)], timeout_ms=9000, attempts=attempts)))
        while not server.requests:  # noqa: ASYNC110 - the server's own state, in a test
            await asyncio.sleep(0.005)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await server.wait_closed(0.2)
        assert [attempt.outcome for attempt in attempts] == ["canceled"]


async def test_a_body_that_is_far_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(http, "MAX_BODY_BYTES", 100_000)
    bomb = gzip.compress(b" " * 10_000_000)
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(bomb), bomb)
    endless = STREAM_HEAD + part(b"data: " + b"x" * 200_000)
    for raw in (http_answer(b" " * 200_000), packed, endless):
        async with loopback(answer_with(raw)) as server:
            with pytest.raises(LLMMalformedError, match="more than") as caught:
                await collect(run_chain(ask(), [at(server.url)], timeout_ms=3000))
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
                await at(server.url).complete(ask())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 * http.MAX_BODY_BYTES


@pytest.mark.parametrize("moved_to", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254"])
async def test_a_name_that_was_moved_to_a_metadata_service_is_not_called(monkeypatch, moved_to):
    """The name passed when it was saved; the address is checked again when the connection is opened."""
    looked_up = socket.getaddrinfo

    def moved(host, port, *args, **kwargs):
        return looked_up(moved_to if host == "moved.example" else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", moved)
    with pytest.raises(LLMTransportError, match=r"was not called: .*(metadata service|link-local)"):
        await at("http://moved.example:8080").complete(ask())


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/v1", "http://2852039166/v1", "http://metadata.google.internal"]
)
async def test_a_metadata_service_is_not_called_though_it_was_saved_before(url):
    with pytest.raises(LLMTransportError, match="was not called"):
        await at(url).complete(ask())


async def test_a_packed_answer_is_read():
    packed = gzip.compress(json.dumps(completion()).encode())
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with loopback(answer_with(head + packed)) as server:
        assert (await at(server.url).complete(ask())).content == "a red fox"


@pytest.mark.parametrize("size", [9_000, 60_000])
async def test_a_long_header_is_read(size):
    """Gateways send policies, cookies and metadata."""
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


# The pool


async def test_connections_are_kept_and_used_again():
    stream = STREAM_HEAD + part(delta("a fox", "stop")) + part(event("[DONE]")) + STREAM_END
    raw = [GOOD, stream, http_answer({"error": "busy"}, 503), stream, GOOD]

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(raw[len(server.requests) - 1])

    async with loopback(respond) as server:
        for _ in raw:
            await collect(run_chain(ask(), [at(server.url), FakeProvider("b")], timeout_ms=2000))
        assert (len(server.requests), server.connections) == (5, 1)


async def test_a_kept_connection_that_was_dropped_meanwhile_costs_nothing():
    """The server answers the first request on a connection and hangs up on the second."""

    async def respond(writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 2:
            writer.transport.abort()
        else:
            writer.write(GOOD)

    async with loopback(respond) as server:
        for _ in range(2):
            assert (await at(server.url).complete(ask())).content == "a red fox"
        assert (len(server.requests), server.connections) == (3, 2)


async def test_many_calls_at_once():
    async with loopback(answer_with(GOOD)) as server:
        responses = await asyncio.gather(*(at(server.url).complete(ask()) for _ in range(100)))
        assert {response.content for response in responses} == {"a red fox"}


async def test_what_a_server_may_not_do():
    """It can neither set a cookie nor send the key elsewhere by a redirect."""
    async with loopback(answer_with(GOOD)) as elsewhere:
        moved = f"HTTP/1.1 307 X\r\nLocation: {elsewhere.url}/chat/completions\r\nContent-Length: 0\r\n"
        async with loopback(answer_with(f"{moved}Set-Cookie: a=b; Path=/\r\n\r\n".encode())) as server:
            for _ in range(2):
                with pytest.raises(LLMMalformedError):
                    await at(server.url).complete(ask())
            assert "cookie" not in server.requests[1].headers
        assert elsewhere.requests == []


async def test_the_environment_cannot_redirect_a_key(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with loopback(answer_with(GOOD)) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
        await at(server.url).complete(ask())
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_one_client_per_loop():
    mine = http.transport()
    assert http.transport() is mine

    async def in_another_loop() -> httpx.AsyncBaseTransport:
        return http.transport()

    other = await asyncio.to_thread(asyncio.run, in_another_loop())
    assert other is not mine
    assert other in http._transports.values()
    await close_client()
    assert mine.is_closed
    assert http.transport() is not mine  # opened anew
    assert other not in http._transports.values()  # its loop was closed meanwhile
    assert other.is_closed
    await close_client()
    await close_client()


def test_clients_of_dead_loops_go_in_silence(caplog):
    async def use() -> str:
        async with loopback_for_thread() as server:
            return (await at(server.url).complete(ask())).content

    def loopback_for_thread():
        return loopback(answer_with(GOOD))

    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.WARNING):
        warnings.simplefilter("always")
        assert [asyncio.run(use()) for _ in range(3)] == ["a red fox"] * 3
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert caplog.records == []


async def test_the_seam_takes_any_transport_and_gives_back_the_old_client():
    before = http.transport()
    with use_transport(lambda: httpx.MockTransport(lambda request: httpx.Response(200, json=completion("mocked")))):
        assert (await at("http://nowhere.test/v1").complete(ask())).content == "mocked"
    assert http.transport() is before
    await close_client()


def run_python(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", source], capture_output=True, text=True, timeout=30
    )


def test_the_ca_bundle_is_read_once_per_process():
    done = run_python("""
import asyncio, ssl
reads = []
read = ssl.SSLContext.load_verify_locations
def counting(*args, **kwargs):
    reads.append(1)
    return read(*args, **kwargs)
ssl.SSLContext.load_verify_locations = counting
from promptops.engine import CerebrasProvider, GroqProvider, LLMMessage, LLMRequest, close_client
reads.clear()
async def call():
    for vendor in (CerebrasProvider, GroqProvider):
        for _ in range(3):
            try:
                await vendor("key", "https://127.0.0.1:9/v1").complete(LLMRequest([LLMMessage("user", "x")], "m"))
            except Exception as error:
                assert error.kind == "transport", error
    await close_client()
for _ in range(3):
    asyncio.run(call())
print(len(reads))
""")
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_script_that_forgets_to_close_ends_in_silence():
    done = run_python("""
import asyncio
from promptops.engine import LLMMessage, LLMRequest, OpenAICompatibleProvider
async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    body = b'{"choices": [{"message": {"content": "hi"}}]}'
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print((await OpenAICompatibleProvider(url).complete(LLMRequest([LLMMessage("user", "x")], "m"))).content)
    server.close()
asyncio.run(main())
""")
    assert (done.stdout, done.returncode) == ("hi\n", 0)
    assert "lient session" not in done.stderr
    assert "Traceback" not in done.stderr


async def test_errors_of_a_real_server_end_in_one_that_names_all():
    async with loopback(answer_with(http_answer({"message": "busy"}, 503))) as server:
        providers = [at(server.url, name="one"), at(server.url, name="two")]
        events: list = []
        with pytest.raises(LLMProviderError, match="two answered with status 503: busy") as caught:
            await collect(run_chain(ask(), providers, timeout_ms=1000), events)
        assert [(attempt.provider, attempt.status) for attempt in caught.value.attempts] == [("one", 503), ("two", 503)]
        assert [found.falling_back for found in events if isinstance(found, AttemptFailed)] == [True, False]
        assert not any(isinstance(found, RunDone) for found in events)


# Server-sent events


def parse(chunks: list[bytes]) -> list[str]:
    parser = EventParser()
    return [found for chunk in chunks for found in parser.feed(chunk)] + parser.close()


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: one\n\ndata: two\n\n", ["one", "two"]),
        (b"data:one\r\n\r\ndata:  two\r\r", ["one", " two"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b": comment\nevent: x\nid: 1\nretry: 5\ndata: one\n\n", ["one"]),
        (b"\n\n\n: only comments\n\n", []),
        (b"data: unfinished", ["unfinished"]),
        (b"data: unfinished\r", ["unfinished"]),
        (b"data\n\ndata: x\n\n", ["x"]),
        ("data: fox 🦊\n\n".encode(), ["fox 🦊"]),
        (b"data: \xff\n\n", ["\ufffd"]),
        ("data: a\u2028b\x0bc\n\n".encode(), ["a\u2028b\x0bc"]),
        (b"", []),
    ],
)
def test_events(raw, events):
    assert parse([raw]) == events
    assert parse([bytes([byte]) for byte in raw]) == events


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.data(),
)
def test_events_are_the_same_however_the_bytes_are_cut(texts, end, data):
    raw = "".join(f"data: {text}{end}{end}" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    edges = [0, *cuts, len(raw)]
    assert parse([raw[start:stop] for start, stop in pairwise(edges)]) == texts


PIECES = [
    b"data:",
    b"data: ",
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b":",
    b"event: x",
    b"{}",
    b"\xf0\x9f",
    "\U0001f98a".encode(),
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=25).map(b"".join))
def test_any_bytes_are_the_same_events_wherever_they_are_cut(raw):
    events = parse([raw])
    for cut in range(len(raw) + 1):
        assert parse([raw[:cut], raw[cut:]]) == events
    assert parse([bytes([byte]) for byte in raw]) == events
