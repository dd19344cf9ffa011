"""The removed parts, marked in the original answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptops.engine.answers import marked, read_answer
from tests.engine.answers import corpus

ROWS = [*corpus.TEXTS, *corpus.UNCHANGED, *corpus.LINES, *corpus.EMBEDDED]


@pytest.mark.parametrize(
    ("written", "read", "pieces"),
    [
        ("A fox", "A fox", [("A fox", False)]),
        ("Prompt: A fox</s>", "A fox", [("Prompt: ", True), ("A fox", False), ("</s>", True)]),
        ("A fox? A fox", "A fox", [("A fox? ", True), ("A fox", False)]),
        (
            "<think>a</think>b<think>c</think> d",
            "b d",
            [("<think>a</think>", True), ("b", False), ("<think>c</think> ", True), ("d", False)],
        ),
        ("1. a<think>x</think>\n2. b", "1. a\n2. b", [("1. a", False), ("<think>x</think>\n", True), ("2. b", False)]),
        ("> a\n> b", "a\nb", [("> ", True), ("a", False), ("\n> ", True), ("b", False)]),
        (
            '{"prompt": "say \\"a\\" b"}',
            'say "a" b',
            [('{"prompt": "', True), ("say", False), (' \\"a\\" ', True), ("b", False), ('"}', True)],
        ),
        ("A fox", "", [("A fox", True)]),
        ("", "", []),
    ],
)
def test_the_pieces(written, read, pieces):
    assert marked(written, read) == pieces


@pytest.mark.parametrize("row", [row for row in ROWS if isinstance(row.right, str)], ids=lambda row: row.kind)
def test_what_is_not_removed_is_the_prompt(row):
    pieces = marked(row.written, read_answer(row.written, "text").text)
    assert "".join(text for text, _ in pieces) == row.written
    assert "".join(text for text, removed in pieces if not removed).split() == row.right.split()


@given(st.text("ab \n<>", max_size=40), st.text("ab \n<>", max_size=40))
def test_the_pieces_are_the_answer_whatever_is_read(written, read):
    pieces = marked(written, read)
    assert "".join(text for text, _ in pieces) == written
    assert all(text for text, _ in pieces)
