"""Misspelled harmful words, and texts with filling between the words, read with the shipped model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptops.engine.safety import evaluation
from promptops.engine.safety.disguises import DISGUISES
from promptops.engine.safety.guard import SHIPPED, SafetyGuard, SafetyModel, VerdictDecision
from promptops.engine.safety.normalize import words
from promptops.engine.safety.repairs import HarmfulWords, is_derived, is_one_edit
from promptops.engine.safety.windows import interleaved_places
from promptops.engine.safety.wordlist import english_ranks

HARMFUL = HarmfulWords({"murder": 4.0, "kill": 5.0, "killing": 4.0, "thugs": 1.0, "behead": 3.0, "rape": 5.0})
GUARD = SafetyGuard(SafetyModel.from_manifest(SHIPPED / "current.json"))
MODEL = GUARD._model.get()[0]
NAME_LIST = """
olivia theodore matteo kilian killian priya anjali hiroshi bjorn giuseppe ximena wojciech agnieszka schroeder krueger
mancini rodriguez nguyen takahashi okafor adeyemi diallo fischer hoffmann esposito kobayashi mackenzie nevaeh kinsley
"""
NAMES = NAME_LIST.split()


@pytest.mark.parametrize(
    ("word", "read"),
    [
        ("mrdr", "murder"),
        ("kllng", "killing"),
        ("murdder", "murder"),
        ("mruder", "murder"),
        ("mrder", "murder"),
        ("murdeer", "murder"),
        ("murdez", "murder"),
        ("m*rder", "murder"),
        ("k*ll", "kill"),
        ("d*g", "dog"),
        ("mu**er", "murder"),
        ("m***er", "m***er"),
        ("kiln", "kiln"),
        ("chugs", "chugs"),  # one letter from thugs, but not with the same first letter
        ("zurder", "zurder"),
        ("murderesque" * 9, "murderesque" * 9),
        ("убийца", "убийца"),
    ],
)
def test_unlisted_words_are_read_as_the_harmful_words_they_misspell(word, read):
    assert HARMFUL.read(word) == read


def test_a_text_with_many_misspelled_words_is_read_boldly():
    assert HARMFUL.read("hte") == "hte"
    assert [HARMFUL.read(word, True) for word in ("peolpe", "klil", "zurder", "smn", "my", "cn")] == [
        "people",
        "kill",
        "murder",
        "someone",
        "my",
        "can",
    ]


def test_listed_words_and_names_are_never_read_as_others():
    for word in list(english_ranks())[::7]:
        assert MODEL._known(word) == word
    assert [name for name in NAMES if MODEL._harmful.read(name) != name] == []


def test_ordinary_texts_are_read_as_they_are():
    """Of 123,240 words of prompts and questions."""
    changed = [
        word
        for item in evaluation.read_sets(evaluation.SETS)
        for word in words(item.text)
        if MODEL._harmful.read(word) != word
    ]
    assert len(changed) <= 40
    interleaved = [item for item in evaluation.read_sets(evaluation.SETS) if interleaved_places(words(item.text))]
    assert len(interleaved) / 3970 < 0.35  # most are short; reading every second word blocks none of them


def test_derived_words():
    assert is_derived("armrest")
    assert is_derived("walkable")
    assert not is_derived("murdder")


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_one_edit(word, other):
    letters = "abc"
    edits = {word[:i] + word[i + 1 :] for i in range(len(word))}
    edits |= {word[:i] + a + word[i:] for i in range(len(word) + 1) for a in letters}
    edits |= {word[:i] + a + word[i + 1 :] for i in range(len(word)) for a in letters}
    edits |= {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)}
    assert is_one_edit(word, other) == (other in edits - {word})


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=40), st.booleans())
def test_reading_any_word_raises_nothing(word, boldly):
    assert (HARMFUL.read(word, boldly) != "") == (word != "")


def test_every_second_word():
    text = words("how flower do cloud i lemon kill table the river man")
    assert [text[at] for at in interleaved_places(text)] == ["how", "do", "i", "kill", "the", "man"]
    assert interleaved_places(words("a fox runs through the snow and it is cold in the forest")) == []
    assert interleaved_places([]) == []


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80), st.sampled_from(sorted(DISGUISES)))
def test_disguises_take_any_text(text, name):
    assert GUARD.check(DISGUISES[name](text)).decision in VerdictDecision
    assert DISGUISES[name](text) == DISGUISES[name](text)
