"""Reading misspelled harmful words: as the model's words that they most likely are (mrdr, murdder, m*rder, mruder).

Only words that nobody lists are read differently, so ordinary words stay as they are. The harmful words come from the
model's own scores. Disguises that any word can have belong to normalize.py.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Iterator, Mapping
from functools import cache

from promptops.engine.safety.wordlist import english_ranks

_SHORTEST_TYPO = 6
"""Letters of the shortest harmful word that a typo is read as. Short words have too many neighbors."""
_VERY_HARMFUL = 3.0
"""Words with this weight may have one letter less."""
_SHORTEST_BOLD_TYPO = 4
_SHORTEST_SKELETON = 2
"""Consonants of the shortest harmful word that is read without its vowels."""
_TIMES_RARER = 40
"""A harmful word is read in spite of an ordinary one that is at most this many times as frequent."""
_FREQUENT = 500
"""Words of a lower rank are never abbreviations."""
_LONGEST = 24
"""Longer words are not looked up."""
_ENDINGS = ("s", "es", "d", "ed", "r", "er", "y", "ly", "ing", "able")
_VOWELS = str.maketrans("", "", "aeiou")


class HarmfulWords:
    """A model's harmful words with their weights, indexed by the ways to misspell them."""

    def __init__(self, weights: Mapping[str, float], pause: Callable[[], object] = lambda: None) -> None:
        self._weights = dict(weights)
        self._skeletons: dict[str, str] = {}
        self._shorter: dict[str, list[str]] = {}
        _ordinary_skeletons()  # so that the first text does not wait for them
        for word, weight in self._weights.items():
            pause()
            skeleton = without_vowels(word)
            best = self._skeletons.get(skeleton)
            if len(skeleton) >= _SHORTEST_SKELETON and (best is None or weight > self._weights[best]):
                self._skeletons[skeleton] = word
            if len(word) >= _SHORTEST_BOLD_TYPO:
                for key in (word, *_one_less(word)):
                    self._shorter.setdefault(key, []).append(word)

    def read(self, word: str, boldly: bool = False) -> str:
        """Return the harmful word that an unlisted `word` most likely is; `word` itself if there is none.

        In a text with many unlisted words, read `boldly`: short words and first letters have typos, too, and ordinary
        words are read, because a harmful word needs them beside it.
        """
        rank = english_ranks().get(word)
        if "*" in word:
            return self._unstarred(word)
        if rank is not None and rank > _FREQUENT and boldly and 1 < len(word) < 4 and word == word.translate(_VOWELS):
            # An abbreviation, or a word without its vowels (rp, cn).
            longer = self._unvoweled(word, boldly)
            return longer if longer and english_ranks().get(longer, 0) < rank else word
        if rank is not None or len(word) > _LONGEST or not word.isascii():
            return word
        return self._undoubled(word, boldly) or self._unvoweled(word, boldly) or self._mistyped(word, boldly) or word

    def _unstarred(self, word: str) -> str:
        """Return the harmful word, or else the most frequent listed one, that `word` is with letters as its stars."""
        if word.count("*") > 2 or len(word) > _LONGEST:
            return word
        start, *rest = word.split("*")
        fillings = itertools.product(string.ascii_lowercase, repeat=len(rest))
        words = ["".join((start, *itertools.chain(*zip(filling, rest, strict=True)))) for filling in fillings]
        if harmful := [each for each in words if each in self._weights]:
            return max(harmful, key=self._weights.__getitem__)
        ranks = english_ranks()
        return min((each for each in words if each in ranks), key=ranks.__getitem__, default=word)

    def _is_far_from_others(self, harmful: str) -> bool:
        shortest = _SHORTEST_TYPO if self._weights[harmful] < _VERY_HARMFUL else _SHORTEST_TYPO - 1
        return len(harmful) >= shortest

    def _undoubled(self, word: str, boldly: bool) -> str | None:
        harmful = next((short for short in undoubled(word) if short in self._weights), None)
        return harmful or (listed_without_double(word) if boldly else None)

    def _unvoweled(self, word: str, boldly: bool) -> str | None:
        harmful = self._skeletons.get(word)
        if not boldly:
            return harmful
        ranks, ordinary = english_ranks(), _ordinary_skeletons().get(word)
        if harmful is None or ordinary is None:
            return harmful or ordinary
        return ordinary if ranks[ordinary] * _TIMES_RARER < ranks.get(harmful, len(ranks)) else harmful

    def _mistyped(self, word: str, boldly: bool) -> str | None:
        near = {match for key in (word, *_one_less(word)) for match in self._shorter.get(key, ())}
        if not boldly:
            near = {match for match in near if self._is_far_from_others(match) and _same_start(word, match)}
        near = {match for match in near if is_one_edit(word, match)}
        if near and (boldly or not is_derived(word)):
            return max(near, key=self._weights.__getitem__)
        return _ordinary(word) if boldly else None


def without_vowels(word: str) -> str:
    """Return the word without its vowels, except one at the beginning."""
    return word[:1] + word[1:].translate(_VOWELS)


@cache
def _ordinary_skeletons() -> dict[str, str]:
    """Return the most frequent listed word for each word without vowels."""
    skeletons: dict[str, str] = {}
    for word in english_ranks():
        if len(word) > 2:
            skeletons.setdefault(without_vowels(word), word)
    return skeletons


def _same_start(word: str, other: str) -> bool:
    """Return true unless a typo would have changed the first letter, which is rare and makes other words (hissing)."""
    return word[0] == other[0] or word[:2] == other[1::-1]


def is_derived(word: str) -> bool:
    """Return true for a word that two listed words form (armrest), or a listed one with an ending (wagging)."""
    ranks = english_ranks()
    if any(word[:place] in ranks and word[place:] in ranks for place in range(3, len(word) - 2)):
        return True
    for ending in _ENDINGS:
        stem = word.removesuffix(ending)
        if (
            stem != word
            and len(stem) > 2
            and (stem in ranks or stem + "e" in ranks or (stem[-1] == stem[-2] and stem[:-1] in ranks))
        ):
            return True
    return False


def _ordinary(word: str) -> str | None:
    """Return the most frequent listed word that one edit makes of `word`, if it has at least four letters."""
    if len(word) < _SHORTEST_BOLD_TYPO - 1:
        return None
    ranks = english_ranks()
    halves = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    edits = itertools.chain(
        (start + end[1:] for start, end in halves if end),
        (start + end[1] + end[0] + end[2:] for start, end in halves if len(end) > 1),
        (start + letter + end[1:] for start, end in halves if end for letter in string.ascii_lowercase),
        (start + letter + end for start, end in halves for letter in string.ascii_lowercase),
    )
    return min((edit for edit in edits if edit in ranks and len(edit) > 2), key=ranks.__getitem__, default=None)


def is_one_edit(word: str, other: str) -> bool:
    """Return true if one letter more, less or different, or two neighbors exchanged, make `other` of `word`."""
    if abs(len(word) - len(other)) > 1 or word == other:
        return False
    start = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    left, right = word[start:], other[start:]
    return (
        left[1:] == right[1:]
        or left[1:] == right
        or left == right[1:]
        or (left[:2] == right[1::-1] and left[2:] == right[2:])
    )


def _one_less(word: str) -> Iterator[str]:
    """Return the word without each of its letters."""
    return (word[:place] + word[place + 1 :] for place in range(len(word)))


def listed_without_double(word: str) -> str | None:
    """Return the most frequent listed word that is `word` with one doubled letter less."""
    ranks = english_ranks()
    return min((short for short in undoubled(word) if short in ranks), key=ranks.__getitem__, default=None)


def undoubled(word: str) -> Iterator[str]:
    """Return the word without one letter of each pair of the same letter; nothing for very long words."""
    if len(word) > _LONGEST:
        return iter(())
    return (word[:place] + word[place + 1 :] for place in range(len(word) - 1) if word[place] == word[place + 1])
