"""The connection pool: kept connections, event loops, and the end of the process."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import warnings

import httpx
import pytest

from promptops.engine import (
    AttemptFailed,
    LLMMalformedError,
    LLMProviderError,
    RunDone,
    close_client,
    http,
    run_chain,
    use_transport,
)
from tests.engine.helpers import (
    GOOD,
    KEY,
    STREAM_END,
    STREAM_HEAD,
    FakeProvider,
    answer_with,
    ask,
    closed_port,
    collect,
    completion,
    delta,
    event,
    http_answer,
    loopback,
    part,
    provider,
)


async def test_connections_are_kept_and_used_again():
    stream = STREAM_HEAD + part(delta("a fox", "stop")) + part(event("[DONE]")) + STREAM_END
    raw = [GOOD, stream, http_answer({"error": "busy"}, 503), stream, GOOD]

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(raw[len(server.requests) - 1])

    async with loopback(respond) as server:
        for _ in raw:
            await collect(run_chain(ask(), [provider(server.url), FakeProvider("b")], timeout_ms=2000))
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
            assert (await provider(server.url).complete(ask())).content == "a red fox"
        assert (len(server.requests), server.connections) == (3, 2)


async def test_many_calls_at_once():
    async with loopback(answer_with(GOOD)) as server:
        responses = await asyncio.gather(*(provider(server.url).complete(ask()) for _ in range(100)))
        assert {response.content for response in responses} == {"a red fox"}


async def test_what_a_server_may_not_do():
    """A server can neither set a cookie nor redirect the key to another server."""
    async with loopback(answer_with(GOOD)) as elsewhere:
        moved = f"HTTP/1.1 307 X\r\nLocation: {elsewhere.url}/chat/completions\r\nContent-Length: 0\r\n"
        async with loopback(answer_with(f"{moved}Set-Cookie: a=b; Path=/\r\n\r\n".encode())) as server:
            for _ in range(2):
                with pytest.raises(LLMMalformedError):
                    await provider(server.url).complete(ask())
            assert "cookie" not in server.requests[1].headers
        assert elsewhere.requests == []


async def test_the_environment_cannot_redirect_a_key(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with loopback(answer_with(GOOD)) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
        await provider(server.url).complete(ask())
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


def test_clients_of_closed_loops_are_dropped_without_warnings(caplog):
    async def use() -> str:
        async with loopback_for_thread() as server:
            return (await provider(server.url).complete(ask())).content

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
        assert (await provider("http://nowhere.test/v1").complete(ask())).content == "mocked"
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
        providers = [provider(server.url, name="one"), provider(server.url, name="two")]
        events: list = []
        with pytest.raises(LLMProviderError, match="two answered with status 503: busy") as caught:
            await collect(run_chain(ask(), providers, timeout_ms=1000), events)
        assert [(attempt.provider, attempt.status) for attempt in caught.value.attempts] == [("one", 503), ("two", 503)]
        assert [happened.falling_back for happened in events if isinstance(happened, AttemptFailed)] == [True, False]
        assert not any(isinstance(happened, RunDone) for happened in events)
