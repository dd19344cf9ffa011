"""Similarity of two texts."""

import pytest

from promptops.texts.similarity import ALMOST, resemblance, shingles

LONG = "You are a prompt enhancer. Rewrite the text of the user as one vivid shot of a film, in the present tense. "
CHINESE = "你是一位电影导演，请把用户的文字改写成一个生动的镜头。"


@pytest.mark.parametrize(
    ("one", "other", "almost"),
    [
        (LONG, LONG, True),
        (LONG, LONG.upper().replace(" ", "\n"), True),
        (LONG * 3, LONG * 3 + "Write in English.", True),
        (LONG, "You are a translator. Translate the text of the user into Spanish, and keep names.", False),
        (
            "你是一位电影导演，请把用户的文字改写成一个生动的镜头。",
            "你是一位电影导演，请把用户的文字改写成一个生动的画面。",
            True,
        ),
        ("你是一位电影导演", "请把文字翻译成英文", False),
        ("Hi", "Hi", True),
        ("Hi", "Ho", False),
        ("…", "!", True),
    ],
)
def test_texts_that_are_almost_the_same(one, other, almost):
    share = resemblance(shingles(one), shingles(other))
    assert 0 <= share <= 1
    assert (share >= ALMOST) == almost
