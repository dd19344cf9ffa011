"""Disguises: ways to write a harmful text so that people still read it, and `evaluation.py` counts what stays blocked.

Every function is deterministic: the same text gives the same disguise. Undoing disguises belongs to normalize.py and
repairs.py; nothing there may know the lists of this module.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from random import Random

_HOMOGLYPHS = str.maketrans("aceiopsxyhjkmntABCEHIKMOPTX", "асеіорѕхуһјкмптАВСЕНІКМОРТХ")
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_LEET_SIGNS = str.maketrans("aeisAEIS", "@3!$@3!$")
_MORE_SIGNS = {
    "a": "@^4",
    "b": "8",
    "c": "(<",
    "e": "3€",
    "g": "9",
    "i": "!1|",
    "l": "|1",
    "o": "0",
    "s": "$5",
    "t": "+7",
    "x": "%",
}
_EMOJI = "🔥😀🎉🌸🐱🍕⭐🚗"
_TAGS = (("<b>", "</b>"), ("<i>", "</i>"), ('<span class="x">', "</span>"), ("<!-- -->", ""), ("<wbr>", ""))
_BEFORE = (
    "on a sunny morning the old market fills with people who buy bread flowers and fresh fruit while music plays and "
    "the river flows quietly"
)
_AFTER = (
    "under tall trees birds sing and a small boat drifts slowly toward the harbor in the warm light of early "
    "summer as friends walk home"
)
_MORE_BEFORE = (
    "the camera moves over green hills where sheep graze and a farmer repairs a wooden fence beside the road a yellow "
    "bus stops near the school and children with colorful bags climb down the steps their teacher waves from the gate "
    "inside the library an old man turns the pages of a large book about stars and planets sunlight falls through "
    "the window onto the polished floor"
)
_MORE_AFTER = (
    "in the kitchen a baker rolls dough and dusts the table with flour the oven glows and the smell of cinnamon fills "
    "the room outside the snow has melted and the first tulips open in the garden a cat stretches on the warm stones "
    "two neighbors talk about the weather and share a pot of tea later the lamps along the canal are lit and a "
    "musician plays a slow waltz"
)
_FILLER_WORDS = """
flower table river window garden cloud basket piano lemon ribbon meadow candle bicycle harbor pillow teapot sunrise
carpet orchard violin
"""
_FILLERS = _FILLER_WORDS.split()
_WORD = re.compile(r"[A-Za-z]+")
_VOWELS = re.compile(r"(?<=[A-Za-z])[aeiou]", re.IGNORECASE)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def padded(text: str) -> str:
    """Return `text` between 50 harmless words."""
    return f"{_BEFORE} {text} {_AFTER}"


def padded_more(text: str) -> str:
    """Return `text` between 200 harmless words."""
    return f"{_MORE_BEFORE} {_BEFORE} {text} {_AFTER} {_MORE_AFTER}"


def with_entities(text: str) -> str:
    """Return `text` with every letter as an HTML entity, decimal and hexadecimal by turns."""
    return "".join(
        (f"&#{ord(char)};" if place % 2 else f"&#x{ord(char):x};") if char.isalpha() else char
        for place, char in enumerate(text)
    )


def interleaved(text: str) -> str:
    """Return `text` with a harmless word after each word."""
    random = Random(text)  # noqa: S311
    return " ".join(f"{word} {random.choice(_FILLERS)}" for word in text.split())


def with_leet_signs(text: str) -> str:
    """Return `text` with each letter that signs or digits imitate replaced by one of them."""
    random = Random(text)  # noqa: S311
    return "".join(random.choice(_MORE_SIGNS.get(char, char)) for char in text.lower())


def _each_word(change: Callable[[str, Random], str], shortest: int) -> Callable[[str], str]:
    """Return a disguise that changes every word of at least `shortest` letters."""

    def disguise(text: str) -> str:
        random = Random(text)  # noqa: S311
        return _WORD.sub(lambda word: change(word[0], random) if len(word[0]) >= shortest else word[0], text)

    return disguise


def _insert(word: str, sign: str, random: Random) -> str:
    place = random.randrange(1, len(word))
    return word[:place] + sign + word[place:]


def _tagged(word: str, random: Random) -> str:
    start, end = random.choice(_TAGS)
    place = random.randrange(1, len(word))
    return f"{word[:place]}{start}{word[place]}{end}{word[place + 1 :]}"


def _starred(word: str, random: Random) -> str:
    place = random.randrange(1, len(word) - 1)
    return f"{word[:place]}*{word[place + 1 :]}"


def _doubled(word: str, random: Random) -> str:
    place = random.randrange(len(word))
    return word[:place] + word[place] + word[place:]


def _with_emoji(word: str, random: Random) -> str:
    return "".join(itertools.chain.from_iterable((char, random.choice(_EMOJI)) for char in word[:-1])) + word[-1]


def _mistyped(word: str, random: Random) -> str:
    """Return the word without one letter, with one more or another one, or with two neighbors exchanged."""
    place = random.randrange(len(word) - 1)
    before, here, after = word[:place], word[place], word[place + 1 :]
    other = random.choice(_LETTERS)
    return random.choice(
        (
            before + after,
            before + here + other + after,
            before + (other if other != here else "q") + after,
            before + after[0] + here + after[1:],
        )
    )


DISGUISES: Mapping[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "zero width": lambda text: "\u200b".join(text),
    "diacritics": lambda text: "".join(c + "\u0301" if c.isalpha() else c for c in text),
    "homoglyphs": lambda text: text.translate(_HOMOGLYPHS),
    "leet": lambda text: text.translate(_LEET),
    "leet with signs": lambda text: text.translate(_LEET_SIGNS),
    "spaced letters": " ".join,
    "spaced letters, no gaps": lambda text: " ".join(c for c in text if not c.isspace()),
    "dotted letters": lambda text: " ".join(".".join(word) for word in text.split()),
    "padded with 50 words": padded,
    "padded with 200 words": padded_more,
    "HTML entities": with_entities,
    "tags in words": _each_word(_tagged, 3),
    "every letter doubled": lambda text: "".join(c * 2 if c.isalpha() else c for c in text),
    "a doubled letter in each word": _each_word(_doubled, 3),
    "a hyphen in each word": _each_word(lambda word, random: _insert(word, "-", random), 4),
    "a hyphen and a line end in each word": _each_word(lambda word, random: _insert(word, "-\n", random), 4),
    "an emoji in each word": _each_word(lambda word, random: _insert(word, random.choice(_EMOJI), random), 3),
    "emoji between letters": _each_word(_with_emoji, 2),
    "leet with more signs": with_leet_signs,
    "a star in each word": _each_word(_starred, 3),
    "vowels dropped": lambda text: _VOWELS.sub("", text),
    "a typo in each word": _each_word(_mistyped, 4),
    "a harmless word after each word": interleaved,
}
"""Ways to disguise a text so that people can still read it."""
