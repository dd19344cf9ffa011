"""Reasoning is removed alike, however the text is cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from promptops.engine.answers import ReasoningFilter, split_reasoning

PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "<th", "ink>", "<", "/", "a", " ", "fox\n", "<THINK>", "é🦊"])
)


@given(PIECES, st.data())
def test_thinking_is_filtered_alike_however_it_is_cut(pieces, data):
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    whole, parts = ReasoningFilter(), ReasoningFilter()
    expected = whole.feed(text) + whole.close()
    edges = [0, *cuts, len(text)]
    got = "".join(parts.feed(text[start:end]) for start, end in pairwise(edges)) + parts.close()
    assert (got, parts.thoughts) == (expected, whole.thoughts)


@given(PIECES)
def test_no_thinking_is_left(pieces):
    answer, _ = split_reasoning("".join(pieces))
    assert "</think>" not in answer.lower()
    assert answer == answer.strip()
