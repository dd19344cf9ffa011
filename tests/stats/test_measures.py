"""The measures of answers, compared with figures that were counted by hand."""

import pytest

from promptops.stats.measures import content_words, fold, measure, repetition, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("...!?", []),
        ("Two red FOXES, slow-motion", ["two", "red", "foxes", "slow", "motion"]),
        ("snake_case", ["snake", "case"]),
        ("ﬁne", ["fine"]),  # a ligature
        ("Straße", ["strasse"]),
        ("cafe\u0301", ["café"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("हिन्दी में।", ["हिन्दी", "में"]),
        ("雪の狐", ["雪の", "の狐"]),
        ("雪", ["雪"]),
        ("fox狐が", ["fox", "狐が"]),
        ("🦊 fox", ["fox"]),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    "family",
    [
        "fox foxes",
        "run runs running",
        "dance dances danced dancing",
        "cry cries cried crying",
        "berry berries",
        "movie movies",
        "tie ties tied",
        "glass glasses",
        "fall falls falling",
        "pass passes passed passing",
        "house houses",
        "potato potatoes",
    ],
)
def test_forms_of_a_word_are_folded_alike(family):
    assert len({fold(word) for word in family.split()}) == 1


@pytest.mark.parametrize("pair", ["bed bee", "red ring", "king kin", "sing sin", "bus bush", "string star", "ox oxen"])
def test_different_words_are_folded_differently(pair):
    one, other = pair.split()
    assert fold(one) != fold(other)


def test_content_words_exclude_stop_words():
    assert content_words("A photo of the two red foxes in a forest") == {"two", "red", "fox", "forest"}
    assert content_words("Show me a video of it, please") == set()
    assert content_words("狐") == {"狐"}


@pytest.mark.parametrize(
    ("prompt", "answer", "share"),
    [
        ("a red fox in snow", "A fox runs through the snow.", 2 / 3),
        ("a red fox in snow", "An owl at night.", 0),
        ("two foxes running", "Two red foxes run; two foxes rest.", 1),
        ("the", "A fox.", None),
        (None, "A fox.", None),
        ("a red fox", "", 0),
    ],
)
def test_the_share_of_the_subject_that_is_kept(prompt, answer, share):
    assert measure(prompt, answer).subject_kept == (pytest.approx(share) if share is not None else None)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", None),
        ("one two", None),
        ("one two three", 0),
        ("one two three four", 0),
        ("a b c a b c", 1 / 4),  # abc, bca, cab, abc
        ("ha ha ha ha ha ha", 3 / 4),
    ],
)
def test_the_share_of_repeated_trigrams(text, share):
    assert repetition(words(text)) == (pytest.approx(share) if share is not None else None)


def test_alternatives_are_measured_one_by_one():
    measures = measure("a red fox", "1. A red fox\n2. A red owl", alternatives=["A red fox", "A red owl"])
    assert measures.subject_kept == pytest.approx((1 + 1 / 2) / 2)
    assert measures.repetition == 0
    assert (measures.characters, measures.words) == (25, 8)


def test_the_longest_answer_is_measured_in_linear_time():
    for text in ("word " * 100_000, "x" * 500_000, "狐" * 200_000):
        assert measure(text[:16_000], text).words >= 1
