"""Differences between two texts: correct, and fast for any input."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptops.texts import diffs
from promptops.texts.diffs import MAX_STEPS, Budget, DiffLine, Fold, Gap, Piece, diff_lines, fold, marked, summary


def shown(old: str, new: str) -> list[tuple[str, str]]:
    """Return the lines as (mark, text), with removed words as [-removed-] and added words as {+added+}."""
    wrap = {"equal": "{}", "insert": "{{+{}+}}", "delete": "[-{}-]"}
    return [
        (line.mark, "".join(wrap[piece.kind].format(piece.text) for piece in line.pieces))
        for line in diff_lines(old, new)
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", []),
        ("a", "a", [("", "a")]),
        ("", "new text", [("+", "{+new text+}")]),
        ("old text", "", [("−", "[-old text-]")]),
        ("a\nb\nc", "a\nc", [("", "a"), ("−", "[-b-]"), ("", "c")]),
        ("a\nc", "a\nb\nc", [("", "a"), ("+", "{+b+}"), ("", "c")]),
        ("keep the subject", "keep the whole subject", [("±", "keep the {+whole +}subject")]),
        # Two changed words with a space between them are one change.
        (
            "we add soft light here now",
            "we add hard shade here now",
            [("±", "we add [-soft light-]{+hard shade+} here now")],
        ),
        # Lines with few common words are not one changed line.
        ("a fox in snow", "the sea at night", [("−", "[-a fox in snow-]"), ("+", "{+the sea at night+}")]),
        # A line inserted before a changed one does not change the pairing.
        (
            "Answer with the prompt alone.",
            "Be short.\nAnswer with one prompt alone.",
            [("+", "{+Be short.+}"), ("±", "Answer with [-the-]{+one+} prompt alone.")],
        ),
        ("<b>&", "<b>&amp;", [("±", "<b>&{+amp;+}")]),
        ("line\n", "line", [("", "line"), ("−", "")]),
    ],
)
def test_diff_lines(old: str, new: str, expected: list[tuple[str, str]]) -> None:
    assert shown(old, new) == expected


words = st.lists(st.sampled_from(["a", "b", "the", "fox", " ", "  ", "\n", "\n\n", ".", "é", "🦊", "<", "\r"])).map(
    "".join
)


def sides(lines: list[DiffLine]) -> tuple[str, str]:
    return (
        "\n".join(line.old for line in lines if line.kind != "insert"),
        "\n".join(line.new for line in lines if line.kind != "delete"),
    )


@settings(deadline=None)
@given(words, words)
def test_each_side_can_be_read_back(old: str, new: str) -> None:
    assert sides(diff_lines(old, new)) == (old, new)


@settings(deadline=None)
@given(words, words)
def test_each_side_can_be_read_back_with_the_budget_spent(old: str, new: str) -> None:
    """Huge texts use anchors instead of difflib."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diffs, "MAX_STEPS", 3)
        assert sides(diff_lines(old, new)) == (old, new)


def test_anchors_find_the_unique_lines_when_difflib_costs_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffs, "MAX_STEPS", 0)
    assert shown("x\none\nx\ntwo\nx", "y\none\ny\ntwo\ny")[2] == ("", "one")


def test_fold_hides_unchanged_runs_and_keeps_the_context() -> None:
    old = [str(n) for n in range(20)]
    new = [*old[:10], "ten", *old[11:]]
    rows = fold(diff_lines("\n".join(old), "\n".join(new)), context=2)
    assert [row.label if isinstance(row, Fold) else row.mark + row.new for row in rows] == [
        "8 unchanged lines", "8", "9", "−", "+ten", "11", "12", "7 unchanged lines",
    ]  # fmt: skip
    assert [line.new for line in rows[0].lines] == old[:8]


def test_fold_shows_a_single_unchanged_line() -> None:
    assert fold([DiffLine("equal", (Piece("equal", "a"),))]) == [DiffLine("equal", (Piece("equal", "a"),))]


def test_fold_counts_the_lines_it_does_not_show() -> None:
    rows = fold(diff_lines("", "\n".join(str(n) for n in range(5000))))
    assert len(rows) == diffs.MAX_ROWS + 1
    assert rows[-1] == Fold("4,000 more lines are not shown")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a", "a", "No changes"),
        ("keep this", "keep that and this", "1 line changed"),
        ("", "a\nb", "2 lines added"),
        ("keep this\nx", "keep this too\ny", "1 line changed, 1 added, 1 removed"),
    ],
)
def test_summary(old: str, new: str, expected: str) -> None:
    assert summary(diff_lines(old, new)) == expected


def segments(line: DiffLine) -> list[str]:
    return [f"<{part.label}>" if isinstance(part, Gap) else part.text for part in line.segments]


def test_long_unchanged_stretches_of_a_line_are_folded() -> None:
    words = [f"w{n}" for n in range(1000)]
    changed = [*words[:400], "new", *words[401:700], *words[701:]]
    (line,) = diff_lines(" ".join(words), " ".join(changed))
    first, before, _, _, after, second, *_, last = segments(line)
    assert (first, second, last) == ("<376 unchanged words>", "<250 unchanged words>", "<275 unchanged words>")
    assert before.split() == words[376:400]
    assert after.split() == words[401:425]
    assert "".join(part.text for part in line.segments) == "".join(piece.text for piece in line.pieces)
    assert "".join(part.text for part in line.new_segments) == line.new
    gaps = [part.number for part in line.segments if isinstance(part, Gap)]
    assert len(set(gaps)) == len(gaps)


def test_a_long_line_beside_a_change_keeps_its_beginning() -> None:
    (line,) = diff_lines("word " * 500, "word " * 500)
    assert segments(line)[1:] == ["<475 unchanged words>"]
    (short,) = diff_lines("word " * 20, "word " * 20)
    assert segments(short) == ["word " * 20]


@settings(deadline=None)
@given(words, words)
def test_folding_inside_a_line_loses_nothing(old: str, new: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diffs, "LONG_STRETCH", 6)
        patch.setattr(diffs, "STRETCH_CONTEXT", 2)
        for line in diff_lines(old, new):
            assert "".join(part.text for part in line.segments) == "".join(piece.text for piece in line.pieces)


def _long_texts() -> dict[str, tuple[str, str]]:
    chance = random.Random(7)
    vocabulary = [f"word{n}" for n in range(2000)] + ["the", "a", "of"] * 200

    def prose(lines: int, count: int) -> list[str]:
        return [" ".join(chance.choices(vocabulary, k=count)) for _ in range(lines)]

    numbers = [f"l{n}" for n in range(8000)]
    mixed = chance.sample(numbers, len(numbers))
    few = [f"x{n}" for n in range(120)]
    return {
        "one line of 9,000 words": (prose(1, 9000)[0], prose(1, 9000)[0]),
        "nothing in common": ("a\n" * 32_000, "b\n" * 32_000),
        "two lines taking turns": ("a\nb\n" * 16_000, "b\na\n" * 16_000),
        "few lines shuffled": ("\n".join(chance.choices(few, k=16_000)), "\n".join(chance.choices(few, k=16_000))),
        "all lines moved": ("\n".join(numbers), "\n".join(mixed)),
        "every second line changed": (
            "\n".join(f"k{n}\na" for n in range(5000)),
            "\n".join(f"k{n}\nb" for n in range(5000)),
        ),
        "every line edited": (
            "\n".join(f"alpha beta gamma {n} d e f g" for n in range(2200)),
            "\n".join(f"alpha beta gamma {n} d e f h" for n in range(2200)),
        ),
    }


@pytest.mark.parametrize(("old", "new"), _long_texts().values(), ids=_long_texts().keys())
def test_texts_of_64_kib_stay_quick(old: str, new: str) -> None:
    """It took under 200 ms of processor time on 2 cores; difflib without bounds takes minutes."""
    started = time.process_time()
    lines = diff_lines(old, new)
    fold(lines)
    assert time.process_time() - started < 1.5
    assert sides(lines) == (old, new)


def test_a_small_change_in_a_long_line_is_found() -> None:
    text = " ".join(f"word{n % 700}" for n in range(8000))
    changed = text.replace("word5 ", "other ", 1)
    (line,) = diff_lines(text, changed)
    assert [piece.text for piece in line.pieces if piece.kind != "equal"] == ["word5", "other"]


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("a red fox", "a blue fox", "a [blue] fox"),
        ("a fox", "a fox", "a fox"),
        ("", "a  fox\n", "[a  fox]\n"),
        ("a fox", "", ""),
        ("a fox", "a quick brown fox", "a [quick brown] fox"),
        ("a fox.", "  a\nfox!", "  a\nfox[!]"),
    ],
)
def test_new_words_are_marked(old: str, new: str, shown: str) -> None:
    pieces = marked(old, new, Budget(MAX_STEPS))
    assert "".join(f"[{piece.text}]" if piece.kind == "insert" else piece.text for piece in pieces) == shown
    assert "".join(piece.text for piece in pieces) == new
    # With the budget spent the result is coarser, but never wrong.
    assert "".join(piece.text for piece in marked(old, new, Budget(0))) == new


def test_as_few_words_as_possible_are_marked() -> None:
    chance = random.Random(1)

    def longest(old: str, new: str) -> int:
        """Return the length by the textbook's table."""
        table = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
        for i, one in enumerate(old):
            for j, other in enumerate(new):
                table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
        return table[-1][-1]

    for _ in range(500):
        old, new = ("".join(chance.choices("abc,", k=chance.randrange(12))) for _ in range(2))
        pieces = marked(" ".join(old), " ".join(new), Budget(MAX_STEPS))
        unmarked = "".join(piece.text for piece in pieces if piece.kind == "equal").replace(" ", "")
        rest = iter(old)
        assert all(letter in rest for letter in unmarked)
        assert len(unmarked) == longest(old, new)
