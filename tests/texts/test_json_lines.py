"""JSON on several lines."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptops.texts.json_lines import INDENT, MAX_DEPTH, indented

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(VALUES) | st.dictionaries(st.text(), VALUES), st.sampled_from([None, 1, 8]))
def test_it_is_what_an_indented_dump_is(value, indent):
    assert indented(json.dumps(value, indent=indent, ensure_ascii=False)) == json.dumps(
        value, indent=INDENT, ensure_ascii=False
    )


@given(st.text(alphabet='{}[],:" \\\nab1', max_size=60))
def test_it_changes_no_character_but_space(text):
    assert "".join(indented(text).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("A fox.", "A fox."),
        ("", ""),
        ('{"a": "x y', '{\n  "a": "x y'),
        ('[{"a": [1, 2', '[\n  {\n    "a": [\n      1,\n      2'),
        ("{} then [1]", "{} then [\n  1\n]"),
    ],
)
def test_a_text_that_is_cut_off_or_no_json_is_shown_as_far_as_it_goes(text, lines):
    assert indented(text) == lines


def test_many_brackets_make_no_huge_text():
    assert len(indented("[" * 4_000)) <= 4_000 * (2 + INDENT * MAX_DEPTH)
