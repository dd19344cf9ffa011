"""Numbers as pages show them."""

import pytest

from promptops.texts.formats import odds


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "no"),
        (0.00021, "about 1 of 4,800"),
        (0.0069, "about 1 of 140"),
        (0.1, "about 1 of 10"),
        (0.3, "about 3 of 10"),
        (0.6389, "about 6 of 10"),
        (0.97, "more than 9 of 10"),
        (1, "all"),
    ],
)
def test_shares_as_people_say_them(share, words):
    assert odds(share) == words
