"""Patterns find what Python's `re` finds, in linear work, and refuse what cannot be searched so."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptops.engine.contracts.patterns import MAX_MOVES, Pattern

PARTS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", r"\b", "^", "$", "x", r"\s", "ab"])
PATTERNS = st.recursive(
    PARTS,
    lambda inner: st.one_of(
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("({})*".format, inner),
        st.builds("(?:{})+?".format, inner),
        st.builds("(?:{})?".format, inner),
        st.builds("(?:{}){{1,3}}".format, inner),
        st.builds("{}{}".format, inner, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None)
@given(PATTERNS, st.text("ab1 x_\u00e4", max_size=8))
def test_a_pattern_finds_what_re_finds(text, subject):
    assert Pattern(text).found_in(subject) == bool(re.search(text, subject)), text


@pytest.mark.parametrize(
    ("text", "subject", "is_found"),
    [
        ("^a$", "a\n", False),  # as in JavaScript
        ("狐", "雪地里的狐狸", True),
        (r"^\S.*\.$", "A fox runs.", True),
        (r"^\S.*\.$", "A fox runs", False),
        (r"\bcut\b", "a cut.", True),
        (r"\Bcut", "uncut", True),
        ("", "", True),
        ("^(?:[a-z]+-)*[a-z]+$", "slow-zoom-in", True),
        ("a{3}", "aa", False),
        ("[^\\W\\d]", "5", False),
        (r"\/", "a/b", True),
    ],
)
def test_patterns(text, subject, is_found):
    assert Pattern(text).found_in(subject) is is_found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r"(a)\1", "a back reference"),
        ("(?<=a)b", "a look ahead or behind"),
        ("(?>a)", "an atomic group"),
        ("a*+", "a possessive repetition"),
        ("(a)?(?(1)b)", "a condition"),
        ("(?i)a", "a flag"),
        ("(?i:a)", "a flag"),
        ("(", "is invalid"),
        (r"\p{L}", "is invalid"),
        ("((a{99}){99}){99}", "more than 1000 steps"),
        ("(?:a?){2000}", "more than 1000 steps"),
        ("(" * 200, "is invalid"),
    ],
)
def test_a_pattern_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        Pattern(text)


@pytest.mark.parametrize("text", ["(a+)+$", "(a|aa)*$", "(a|a)*$", "^(([a-z])+.)+[A-Z]$", ".*.*.*=.*", "(a*)*b"])
def test_patterns_that_hang_re_are_searched_in_linear_work(text):
    def work(length: int) -> int:
        spent = [0]

        def spend(units: int) -> None:
            spent[0] += units

        Pattern(text).found_in("a" * length + "!", spend)
        return spent[0]

    assert work(20_000) <= 2 * work(10_000)


def test_a_pattern_with_many_states_forgets_them():
    pattern = Pattern("(a|b)*a(a|b){20}c")
    subject = "".join("ab"[(number * number // 7) % 2] for number in range(40_000))
    assert not pattern.found_in(subject)
    assert pattern._stored <= MAX_MOVES
    assert pattern.found_in(subject + "a" * 21 + "c")
