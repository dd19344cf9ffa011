"""Answers of a megabyte that are slow to read: the time grows linearly with the length."""

from __future__ import annotations

import time

import pytest

from promptops.engine.answers import marked, parse_alternatives, read_answer

SIZE = 1_000_000
SECONDS = 15.0
"""The limit. Each answer takes 0.1 to 2 s on an idle core, and would take minutes in quadratic time."""

UNITS = [
    *("<", "[", '"', "“", "`", "*", "1", "1.\n", "```\n", "<think>", "</think>", "<|channel|>x<|message|>", "<prompt>"),
    *(
        "\n",
        " ",
        '{"a":',
        '["a",',
        "a:",
        "- a\n",
        "'x', ",
        "**a**\nb\n",
        "let me know ",
        "I'm sorry, ",
        "Option 1: ",
        "> ",
        "<br>",
        "✨",
        " <br>",
        "| a ",
        "\\n",
        "<p>",
    ),
]


@pytest.mark.parametrize("unit", UNITS)
def test_a_megabyte_is_read_in_time(unit):
    written = ("A fox " + unit * (SIZE // len(unit) + 1))[:SIZE]
    started = time.process_time()
    text = read_answer(written, "text").text
    parse_alternatives(written, 3)
    assert "".join(piece for piece, _ in marked(written, text)) == written
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize("unit", ["a", "ab", "a\n", "a ", "ab\nb"])
def test_marking_is_bounded_for_texts_that_nearly_match(unit):
    written = unit * (SIZE // len(unit))
    for read in ("b" + written[: SIZE // 2], written[: SIZE // 2] + "b", "\n".join(["zz"] * 100_000)):
        started = time.process_time()
        assert "".join(piece for piece, _ in marked(written, read)) == written
        assert time.process_time() - started < SECONDS
