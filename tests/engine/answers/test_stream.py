"""Reasoning and end tokens in a stream that is cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptops.engine.answers import ReasoningFilter, split_reasoning
from promptops.engine.answers.tokens import TOKENS
from tests.engine.answers.corpus import TEXTS

PIECES = st.lists(
    st.one_of(
        st.sampled_from([*TOKENS, "<THINK>", "[THINK]", "[/THINK]"]),
        st.sampled_from(
            ["<", "<|", "|>", "[", "]", "◁", '"', "'", "a", " ", "\n", "final", "analysis", "think", "assistant"]
        ),
        st.text(max_size=3),
    ),
    max_size=14,
)


def streamed(pieces: list[str]) -> tuple[list[str], ReasoningFilter]:
    reasoning = ReasoningFilter()
    return [*map(reasoning.feed, pieces), reasoning.close()], reasoning


@given(PIECES, st.data())
def test_a_text_is_filtered_alike_wherever_it_is_cut(pieces, data):
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    cut = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
    (whole, whole_filter), (parts, parts_filter) = streamed([text]), streamed(cut)
    assert "".join(parts) == "".join(whole)
    assert parts_filter.thoughts == whole_filter.thoughts
    assert parts_filter.answer_start == whole_filter.answer_start


@given(PIECES)
def test_one_character_at_a_time_gives_the_same(pieces):
    text = "".join(pieces)
    assert "".join(streamed(list(text))[0]) == "".join(streamed([text])[0])


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize(
    "row", [row for row in TEXTS if row.kind in ("reasoning", "end token")], ids=lambda row: row.written
)
def test_the_answer_is_the_same_as_of_the_whole(row, size):
    pieces, reasoning = streamed([row.written[at : at + size] for at in range(0, len(row.written), size)])
    assert not any(token in piece.lower() for piece in pieces for token in TOKENS)
    if "Here is my" not in row.written and not row.written.startswith("analysis"):  # these show in the whole alone
        assert "".join(pieces)[reasoning.answer_start :].strip() == split_reasoning(row.written)[0] == row.right


def test_only_what_could_be_a_token_is_held_back():
    reasoning = ReasoningFilter()
    assert reasoning.feed("x < y, <y") == "x < y, <y"
    assert reasoning.feed(" <thi") == " "
    assert reasoning.feed("s is") == "<this is"
    assert reasoning.feed(" [TH") == " "
    assert reasoning.close() == "[TH"


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("<think>a</think>b<think>c</think>d", "bd"),
        ('<think>say "</think>" at the end</think>A fox', "A fox"),
        ("<seed:think>a</think>A fox", "A fox"),
        ("<think>never closed", ""),
        ("a</think>b</think>A fox", "A fox"),
        ("<|channel|>final<|message|>A fox<|return|>more", "A fox"),
        ("<|think|>a<|end|><|begin|>assistant<|content|>A fox<|end|>", "A fox"),
        ("plan<|end|><|start|>assistant<|channel|>final<|message|>A fox", "A fox"),
        ("A fox<|im_end|>\n<|im_start|>assistant\nA hare", "A fox"),
        ("<|im_start|>user\na fox<|im_end|>\n<|im_start|>assistant\nA red fox", "A red fox"),
        ("A fox <|unknown|> runs", "A fox <|unknown|> runs"),
        ("<|channel|>" + "x" * 100, ""),
        ("Thinking...\nSnow.\n...done thinking.\n\nA fox", "A fox"),
    ],
)
def test_shapes_of_reasoning(written, answer):
    assert split_reasoning(written)[0] == answer


def test_the_reasoning_is_kept():
    assert split_reasoning("<think>snow</think>A fox<thought>good</thought>") == ("A fox", "snowgood")
    assert split_reasoning("snow</think>A fox") == ("A fox", "snow")
    assert split_reasoning("Here is my thought process: snow. Here is my response: A fox") == ("A fox", " snow. ")
