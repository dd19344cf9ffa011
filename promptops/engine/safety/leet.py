"""Reading digits and signs as the letters that they imitate (k1ll, n4k3d)."""

from __future__ import annotations

import itertools
import re

from promptops.engine.safety.wordlist import english_ranks

_LEET_SPOT = re.compile(r"[a-z][0-9@$!|+€]|[0-9@$!|+€][a-z]|[a-z][(<^%#][a-z]")
_LEET_WORD = re.compile(r"[a-z0-9@$!|+€]+(?:[(<^%#]+[a-z0-9@$!|+€]+)*")
_ANY_WORD = re.compile(rf"(?:[(<^%#](?!\S*[)>]))?{_LEET_WORD.pattern}")
_MEASURE = re.compile(
    r"\d+(?:st|nd|rd|th|s|k|d|p|x|m|h|g|l|v|w|am|pm|fps|hz|khz|mm|cm|km|kg|mg|ml|mph|kmh|kb|mb|gb|tb|px|ft|in|min|sec)"
)
_LEET = str.maketrans("0345678@$9+2€(<^%#", "oeasgtbasgtzeccaxh")
LEET_SIGNS = frozenset("@$!€")
_STROKES = "1!|"
"""Signs that replace i or l."""


def undo_leet(text: str) -> str:
    """Replace digits and signs in words by the letters they imitate (k1ll, n4k3d), but not in measures (4k, 3d)."""
    if not _LEET_SPOT.search(text):
        return text
    read = _LEET_WORD.sub(lambda match: _unleet(match[0]), text)
    # If several words are written like this, the numbers and measures between them are words, too (1 70 3x).
    before, after = text.split(), read.split()
    undone = sum(was != now for was, now in zip(before, after, strict=True))
    if undone >= 2 and undone * 4 >= len(after):
        read = _ANY_WORD.sub(lambda match: _unleet(match[0], numbers=True), text)
    return read


def _unleet(word: str, numbers: bool = False) -> str:
    if numbers and word in ("!", "|"):
        return "i"
    core = word if numbers and _readings(word)[0] else word.rstrip("!|+(<^%#")
    if core.isalpha() or not (numbers or _LEET_SPOT.search(core)) or (_MEASURE.fullmatch(core) and not numbers):
        return word
    if not core or (core[0] in "!|+" and (inner := core.lstrip("!|+")) and inner in english_ranks()):
        return word
    known, first = _readings(core)
    if known:
        return known
    # Not a known word: digits, @ and $ hardly ever separate words, the other signs often do.
    if numbers:
        return first if sum(char.isalpha() for char in core) * 2 >= len(core) else _unleet(word)
    stays = re.search(r"[!|+€(<^%#]", core) or core.rstrip("0123456789").isalpha()
    return word if stays else first


def _readings(core: str) -> tuple[str | None, str]:
    """Return the most frequent known word that `core` can be, and its first reading."""
    plain = core.translate(_LEET)
    places = [index for index, char in enumerate(plain) if char in _STROKES]
    if len(places) <= 4:
        choices = list(itertools.product("il", repeat=len(places)))
    else:
        choices = [("i",) * len(places), ("l",) * len(places)]
    readings = []
    for choice in choices:
        letters = list(plain)
        for place, letter in zip(places, choice, strict=True):
            letters[place] = letter
        readings.append("".join(letters))
    ranks = english_ranks()
    return min((read for read in readings if read in ranks), key=ranks.__getitem__, default=None), readings[0]
