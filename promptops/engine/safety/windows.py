"""The parts of a text that are scored beside the whole: its windows, and every second word of an interleaved text.

Scoring does not belong here.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptops.engine.safety.wordlist import english_ranks

WINDOW = 12
"""Texts of more words are also scored in windows."""
SIZES = ((WINDOW, 6), (6, 3))
"""Words in a window, and words from the start of one to the start of the next. Short windows find a few harmful words
among many harmless ones."""
PADDED = 2 * WINDOW
"""The worst windows of a text with more words than this are also read by the second stage."""
SMALL_RANK, SMALL_WORDS, SMALL_SHARE = 200, 2, 0.12
"""Small words have a lower rank than the first number. A text with filling words has at least the second number of
them, and the third as their share."""
INTERLEAVED_PART = 24
"""Words of a part of a text in which filling words are looked for."""


def interleaved_places(text: Sequence[str]) -> list[int]:
    """Return the places of every second word, if the words between look like filling; nothing for ordinary text.

    English has small words everywhere. If almost all of them are at even places, or almost all at odd ones, the other
    words were put in. The ends of contractions do not count, and a part of a text may begin with either kind.
    """
    ranks = english_ranks()
    whole = [at for at, word in enumerate(text) if word not in _ENDS_OF_WORDS]
    places: list[int] = []
    many = few = 0
    for start in range(0, len(whole), INTERLEAVED_PART):
        part = whole[start : start + INTERLEAVED_PART]
        small = [0, 0]
        for count, at in enumerate(part):
            small[count % 2] += ranks.get(text[at], SMALL_RANK) < SMALL_RANK
        many, few = many + max(small), few + min(small)
        places += part[0 if small[0] >= small[1] else 1 :: 2]
    return places if many >= SMALL_WORDS and many >= len(whole) * SMALL_SHARE and few * 10 <= many else []


_ENDS_OF_WORDS = frozenset(("s", "t", "m", "d", "ll", "re", "ve"))


def cut_windows(text: Sequence[str]) -> list[str]:
    """Return the whole text and, if it has more words than a window, its windows of both sizes."""
    if len(text) <= WINDOW:
        return [" ".join(text)]
    starts = ((start, size) for size, step in SIZES for start in range(0, len(text) - size + step, step))
    return [" ".join(text), *(" ".join(text[start : start + size]) for start, size in starts)]
