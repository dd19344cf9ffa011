"""A change in one line: the number of words, and the first passage."""

import pytest

from promptops.texts.word_changes import MOST_WORDS, word_change


@pytest.mark.parametrize(
    ("old", "new", "counts", "passage"),
    [
        ("a calm fox", "a calm fox", (0, 0), ""),
        ("a calm fox", "a  calm\nfox", (0, 0), ""),
        ("a calm fox", "a quick fox", (1, 1), "=a |-calm |+quick |=fox"),
        ("a fox", "a red fox", (1, 0), "=a |+red |=fox"),
        ("a red fox", "a fox", (0, 1), "=a |-red |=fox"),
        ("", "A fox.\nIt trots.", (4, 0), "+A fox. It trots."),
        ("A fox.", "", (0, 2), "-A fox."),
        ("Stop.", "Stop!", (0, 0), "=Stop|-.|+!"),
        ("one two three", "one 2 three and 4", (3, 1), "=one |-two |+2 |=three and 4"),
        ("雪 红 狐", "雪 白 狐", (1, 1), "=雪 |-红 |+白 |=狐"),
    ],
)
def test_a_change_in_words(old, new, counts, passage):
    change = word_change(old, new)
    marks = {"equal": "=", "delete": "-", "insert": "+"}
    assert (change.added, change.removed) == counts
    assert "|".join(marks[piece.kind] + piece.text for piece in change.passage) == passage


def test_a_long_change_in_words_is_cut_off_and_bounded():
    words = [f"word{number}" for number in range(20_000)]
    change = word_change(" ".join(words), " ".join(words[::-1]))
    assert (change.added, change.removed) == (20_000, 20_000)  # too long to compare
    assert [piece.text.count("word") for piece in change.passage] == [MOST_WORDS, MOST_WORDS]
    assert all(piece.text.endswith("… ") for piece in change.passage)
