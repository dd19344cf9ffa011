"""The text format of examples."""

import re

import pytest

from promptops.prompts.examples import MAX_PAIRS, read_examples

PAIR = "a fox\n=>\nA red fox."


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (None, []),
        ("", []),
        (" \n", []),
        (PAIR, [("a fox", "A red fox.")]),
        (f"{PAIR}\n---\n\nשועל\n=> \n狐。\n\n", [("a fox", "A red fox."), ("שועל", "狐。")]),
        (f"1\n\n2\n=>\n3\n---\t\n{PAIR}", [("1\n\n2", "3"), ("a fox", "A red fox.")]),
        ("a\r\n=>\r\nb", [("a", "b")]),
        # Only a whole line is a mark.
        ("a => b\n=>\n--- c\n----", [("a => b", "--- c\n----")]),
        ("\\---\n=>\n\\=>\n\\\\---\n\\n", [("---", "=>\n\\---\n\\n")]),
        ("a\n=>\nb {{ input }} \\{{", [("a", "b {{ input }} \\{{")]),
    ],
)
def test_pairs_are_read_in_order(text, pairs):
    assert list(read_examples(text)) == pairs


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a fox", "Example 1 has no line => between the user's text and the assistant's."),
        (f"{PAIR}\n---\n", "Example 2 is empty. Remove the line --- beside it."),
        ("=>\nb", "Example 1 has no text of the user."),
        ("a\n=>\n \n", "Example 1 has no text of the assistant."),
        ("a\n=>\nb\n=>\nc", r"Example 1 has more than one line =>. Write \=> for a line of a text."),
        ("\n---\n".join([PAIR] * (MAX_PAIRS + 1)), "There are 11 examples; at most 10 are allowed."),
        (f"a\n=>\n{'é' * 32_768}", "The examples are 65,541 bytes; at most 65,536 (64 KiB) are allowed."),
    ],
)
def test_a_mistake_is_named(text, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        read_examples(text)


def test_the_most_pairs_are_read():
    assert len(read_examples("\n---\n".join([PAIR] * MAX_PAIRS))) == MAX_PAIRS
