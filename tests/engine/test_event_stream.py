"""The parser of server-sent events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptops.engine.event_stream import EventParser


def parse(chunks: list[bytes]) -> list[str]:
    parser = EventParser()
    return [data for chunk in chunks for data in parser.feed(chunk)] + parser.close()


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
