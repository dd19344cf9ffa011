"""Bodies in pieces: an answer is read alike, however its bytes are cut, and no raw exception leaves a provider."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from itertools import pairwise

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptops.engine import (
    LLMProviderError,
    LLMResponse,
    OpenAICompatibleProvider,
    http,
)
from promptops.engine.providers.assembly import StreamedAnswer
from tests.engine.helpers import (
    ask,
    completion,
    delta,
    event,
)

pytestmark = pytest.mark.usefixtures("nothing_leaks")


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
    """Return the result of a provider whose server sends a body in these parts."""
    headers = {"Content-Encoding": "gzip"} if packed else {}
    transport = httpx.MockTransport(lambda request: httpx.Response(status, headers=headers, stream=InParts(*parts)))
    with http.use_transport(lambda: transport):
        try:
            response = await OpenAICompatibleProvider("http://model.test/v1").complete(ask())
        except LLMProviderError as error:
            return error.kind, str(error)
    return ("answered", response.content)


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
                response = await OpenAICompatibleProvider("http://model.test/v1").complete(ask())
            except LLMProviderError:
                return
            assert isinstance(response, LLMResponse)

    asyncio.run(run())
