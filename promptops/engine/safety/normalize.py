"""Normalizing a text: `normalize()` reads disguised text as a person does, in a series of steps.

The result is lower-case words with single spaces between them. Terms are searched for in it, and models are trained on
it and score it. Every step leaves ordinary text as it is, and no step raises on any string. Judging does not belong
here.
"""

from __future__ import annotations

import itertools
import math
import re
import string
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib.resources import files

_DATA = files("promptops.engine.safety") / "data"

_ASCII_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co"}
_BLANKS = {"\u115f", "\u1160", "\u17b4", "\u17b5", "\u2800", "\u3164", "\uffa0"}
"""Letters and signs that show nothing although others of their category do."""
_TAGS = re.compile("\U0001f3f4[\U000e0020-\U000e007f]{1,6}|([\U000e0020-\U000e007e]{3,})")
"""Letters that people cannot see and language models read. Up to six of them after a black flag select a flag."""
_MARK_CATEGORIES = {"Mn", "Me"}

_WORD = re.compile(r"[^\W_]+")
_WORDS = re.compile(r"\w+")
_FOREIGN_WORD = re.compile(r"[^\W_]*[^\x00-\x7f\W_][^\W_]*")
_ASCII_LETTER = re.compile(r"[A-Za-z]")
_MARKERS = re.compile(r"</s>|__label__")
_MARKED_WORD = re.compile(rf"[a-z]+(?:(?:{_MARKERS.pattern})[a-z]+)+")
_ONE = r"(?:[^\W_]|[@$])"
_BETWEEN = r"(?:[^\w@$]|_)"
_START = r"(?<![^\W_])(?<![@$!|+€])"
_END = r"(?![^\W_])(?![@$]|[!|+€]\w|[^\w\s]\w)"
_SPREAD = re.compile(rf"{_START}{_ONE}({_BETWEEN}{{1,3}}){_ONE}(?:\1{_ONE})+{_END}")
_ALL_SPREAD = re.compile(rf"{_START}{_ONE}({_BETWEEN})(?:{_ONE}\1)*{_ONE}{_END}")
_SIGNS_BETWEEN = re.compile(rf"{_START}[a-z]([|+])(?:[a-z]\1)+[a-z](?![^\W_])(?![@$!|+€])")
_SIGN_AND_GAP = re.compile(r"(?<![^\W_])([a-z])[^\w\s@$!|+€]\s(?=[a-z](?![^\W_]))")
_WIDE_GAP = re.compile(r"\S\s{2,}\S")
_LONGEST_WORD = 14
_LEET_SPOT = re.compile(r"[a-z][0-9@$!|+€]|[0-9@$!|+€][a-z]")
_LEET_WORD = re.compile(r"[a-z0-9@$!|+€]+")
_MEASURE = re.compile(
    r"\d+(?:st|nd|rd|th|s|k|d|p|x|m|h|g|l|v|w|am|pm|fps|hz|khz|mm|cm|km|kg|mg|ml|mph|kmh|kb|mb|gb|tb|px|ft|in|min|sec)"
)
_LEET = str.maketrans("0345678@$9+2€", "oeasgtbasgtze")
_LEET_SIGNS = frozenset("@$!€")
_STROKES = "1!|"
"""Signs that replace i or l."""
_DRAWN_OUT = re.compile(r"([a-z])\1{2,}")
_TRIPLES = [letter * 3 for letter in string.ascii_lowercase]
_LONGEST = 20
"""Letters of the longest word that is looked for in text without gaps."""

_LATIN_NAME = re.compile(r"LATIN (?:SMALL |CAPITAL )?LETTER (?:SMALL CAPITAL )?([A-Z])(?: WITH .*)?")
_DRAWN_LETTERS = {
    first + index: letter
    for first in (0x1F1E6, 0x1F150, 0x1F170)
    for index, letter in enumerate(string.ascii_lowercase)
}
"""Letters that are drawn as flags in pairs, or light on dark circles and squares; NFKC does not change them."""

# Lower-case letters of other scripts that readers take for Latin ones in running text. Unicode's list of confusable
# characters compares exact shapes, so it does not have them.
_LOOKALIKES = str.maketrans("квмнптяиьъζηκτωελπ", "kbmhntrubbznktwein")


def normalize(text: str) -> str:
    """Return the words of `text` as a reader sees them: in lower case, separated by single spaces; "" without words."""
    return " ".join(words(text))


def words(text: str, pause: Callable[[], object] = lambda: None) -> list[str]:
    """Return the words of `normalize(text)`; `pause` is called between the steps."""
    for step in _PLAIN_STEPS if text.isascii() else _ALL_STEPS:
        pause()
        text = step(text)
    pause()
    return _cut(text)


_PIECE = 400
_BREAKS = [re.compile(pattern) for pattern in (r"(?<=\S\S)\s+(?=\S\S)", r"\s{2,}", r"\s")]
"""Places to cut a text, the best first: between words, not inside a word with spaced-out letters."""


def read_words(text: str, pause: Callable[[], object] = lambda: None) -> list[str]:
    """Return the words of a long `text`, normalized piece by piece; pieces end between words if possible."""
    if len(text) <= _PIECE * 2:
        return words(text, pause)
    normalized, start = [], 0
    while start < len(text):
        end = start + _PIECE
        if end < len(text):
            cuts = (pattern.search(text, end, end + _PIECE) for pattern in _BREAKS)
            end = next((cut.end() for cut in cuts if cut), end)
        normalized += words(text[start:end], pause)
        start = end
    return normalized


def _cut(text: str) -> list[str]:
    """Return the words of `text` without reading disguises. (Twice as fast as a pattern without the underscore.)"""
    return _WORDS.findall(text.replace("_", " "))


def drop_hidden(text: str) -> str:
    """Remove control characters, lone surrogates, private and zero-width characters; line ends become spaces.

    Removed characters leave no gap, so they cannot cut a word in two. Text in invisible letters is added at the end.
    """
    if text.isascii():
        return _ASCII_CONTROLS.sub("", text)
    if tagged := " ".join(match[1] or "" for match in _TAGS.finditer(text)):
        text += " " + "".join(chr(ord(letter) % 0xE0000) for letter in tagged)
    category = unicodedata.category
    return "".join(
        " " if char.isspace() else char
        for char in text
        if char.isspace() or (category(char) not in _HIDDEN_CATEGORIES and char not in _BLANKS)
    )


def fold_forms(text: str) -> str:
    """Replace full-width, circled, mathematical and ligature forms by their plain characters (NFKC)."""
    return unicodedata.normalize("NFKC", text).translate(_DRAWN_LETTERS)


def drop_marks(text: str) -> str:
    """Remove accents and other marks over, under or through a letter."""
    if text.isascii():
        return text
    category = unicodedata.category
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if category(c) not in _MARK_CATEGORIES)
    return unicodedata.normalize("NFKC", bare)


def fold_confusables(text: str) -> str:
    """Replace letters of other scripts that look Latin by Latin ones, in words that imitate Latin ones.

    These words are folded: those with Latin letters, too; those in which every letter looks Latin; and, in a text with
    other Latin letters, those that then read as an English word. So texts in Cyrillic or Greek mostly stay unchanged.
    """
    if text.isascii():
        return text
    latin = _ASCII_LETTER.search(text) is not None

    def fold(match: re.Match[str]) -> str:
        word, table = match[0], _confusables()
        # Small letters first: few of them look Latin, while most Cyrillic capitals do.
        small = word.casefold().translate(table)
        if small.isascii() or not latin:
            return small if small.isascii() else word
        large = word.translate(table).casefold().translate(table)
        likely = large.translate(_LOOKALIKES)
        if _ASCII_LETTER.search(word):
            return likely if likely.isascii() else large
        return likely if likely in english_ranks() else word

    return _FOREIGN_WORD.sub(fold, text)


def drop_markers(text: str) -> str:
    """Remove the words that have a meaning for fastText: the end of a text, and labels.

    They separate words, except where the letters on both sides form one word (ki</s>ll).
    """
    if "</s>" not in text and "__label__" not in text:
        return text
    return _MARKERS.sub(" ", _MARKED_WORD.sub(lambda match: _unmark(_MARKERS.split(match[0])), text))


def _unmark(pieces: list[str]) -> str:
    """Join adjacent pieces to the longest words they form; pieces that form none stay as they are."""
    joined_words, at = [], 0
    while at < len(pieces):
        word, end = pieces[at], at + 1
        joined = word
        for place in range(at + 1, len(pieces)):
            joined += pieces[place]
            if len(joined) > _LONGEST:
                break
            if joined in english_ranks():
                word, end = joined, place + 1
        joined_words.append(word)
        at = end
    return " ".join(joined_words)


def join_letters(text: str) -> str:
    """Join spaced-out letters (n.u.d.e, n u d e) into the words they spell; numbers stay apart.

    If the gaps between the words are lost, too, the most likely words are chosen.
    """

    def join(match: re.Match[str]) -> str:
        letters = match[0].replace(match[1], "")
        if sum(letter.isalpha() for letter in letters) < 2:
            return match[0]
        run = undo_leet(letters)
        # A short run is one word if something else separates the words: another sign, or wider gaps.
        whole = len(run) <= _LONGEST_WORD and (gaps or not match[1].isspace())
        return run if whole else " ".join(split_run(run))

    if "|" in text or "+" in text:
        text = _SIGNS_BETWEEN.sub(lambda match: match[0].replace(match[1], "."), text)
    gaps = _WIDE_GAP.search(text) is not None
    pieces = _cut(text)
    singles = sum(len(word) == 1 for word in pieces)
    if "@" in text or "$" in text:
        singles += sum(word in ("@", "$") for word in text.split())
    if singles < 3:
        return text
    if singles <= len(pieces) / 2:
        return _SPREAD.sub(join, text)
    # The whole text is spaced out: short words, too. Wider gaps, or gaps without a sign (k. i. l. l h. e. r), separate
    # words.
    text = _SIGN_AND_GAP.sub(r"\1", text)
    text = _SPREAD.sub(join, _ALL_SPREAD.sub(join, text))
    after = _cut(text)
    left = sum(len(word) == 1 and word.isalpha() and word not in "ai" for word in after)
    return _join_all(pieces) if left * 4 > len(after) and not _LEET_SIGNS.intersection(text) else text


def _join_all(pieces: list[str]) -> str:
    """Join spaced-out letters whatever separates them; no gap shows where a word ends."""
    read: list[str] = []
    for is_single, run in itertools.groupby(pieces, lambda word: len(word) == 1):
        letters = list(run)
        if is_single and sum(letter.isalpha() for letter in letters) * 2 > len(letters):
            read += split_run(undo_leet("".join(letters)))
        else:
            read += letters
    return " ".join(read)


def split_run(letters: str) -> list[str]:
    """Return the likeliest English words that `letters` spell without gaps, or the letters unchanged if none fit."""
    rank = english_ranks()
    if letters in rank or not (letters.isascii() and letters.isalpha()):
        return [letters]
    # Choose the cheapest cut: a word costs the logarithm of its rank, as if frequencies followed Zipf's law.
    unknown = math.log(len(rank)) * 1.5
    costs, starts = [0.0], [0]
    for end in range(1, len(letters) + 1):
        best, start = costs[end - 1] + unknown, end - 1
        for begin in range(max(0, end - _LONGEST), end):
            place = rank.get(letters[begin:end])
            # Lists of tokens have single letters, but only "a", "i" and the ends of 's and n't are words.
            if place is None or (end - begin == 1 and letters[begin] not in "aist"):
                continue
            cost = costs[begin] + math.log(place + 10)
            if cost < best:
                best, start = cost, begin
        costs.append(best)
        starts.append(start)
    backwards: list[str] = []
    end = len(letters)
    while end:
        backwards.append(letters[starts[end] : end])
        end = starts[end]
    loose = sum(len(word) == 1 and word not in "ai" for word in backwards)
    return [letters] if loose * 4 > len(letters) else backwards[::-1]


def undo_leet(text: str) -> str:
    """Replace digits and signs in words by the letters they imitate (k1ll, n4k3d), but not in measures (4k, 3d)."""
    if not _LEET_SPOT.search(text):
        return text
    read = _LEET_WORD.sub(lambda match: _unleet(match[0]), text)
    # If several words are written like this, the numbers and measures between them are words, too (1 70 3x).
    before, after = text.split(), read.split()
    undone = sum(was != now for was, now in zip(before, after, strict=True))
    if undone >= 2 and undone * 4 >= len(after):
        read = _LEET_WORD.sub(lambda match: _unleet(match[0], numbers=True), read)
    return read


def _unleet(word: str, numbers: bool = False) -> str:
    if numbers and word in ("!", "|"):
        return "i"
    core = word.rstrip("!|+")
    if core.isalpha() or not (numbers or _LEET_SPOT.search(core)) or (_MEASURE.fullmatch(core) and not numbers):
        return word
    if not core or (core[0] in "!|+" and (inner := core.lstrip("!|+")) and inner in english_ranks()):
        return word
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
    if known := [read for read in readings if read in english_ranks()]:
        return min(known, key=english_ranks().__getitem__)
    # Not a known word: digits, @ and $ hardly ever separate words, the other signs often do.
    stays = numbers or re.search(r"[!|+€]", core) or core.rstrip("0123456789").isalpha()
    return word if stays else readings[0]


def shorten(text: str) -> str:
    """Shorten drawn-out words (nuuude) to as many repeated letters as form a known word, if any number does."""

    def short(match: re.Match[str]) -> str:
        if _DRAWN_OUT.search(match[0]):
            for repeated in (r"\1\1", r"\1"):
                if (word := _DRAWN_OUT.sub(repeated, match[0])) in english_ranks():
                    return word
        return match[0]

    return _WORD.sub(short, text) if any(letters in text for letters in _TRIPLES) else text


_READING = (drop_markers, join_letters, undo_leet, shorten)
_PLAIN_STEPS: tuple[Callable[[str], str], ...] = (drop_hidden, str.lower, *_READING)
_ALL_STEPS = (drop_hidden, fold_forms, drop_marks, fold_confusables, str.casefold, *_READING)


def load_tables() -> None:
    """Read the tables that `words` needs, which takes as long as a hundred texts, so that the first does not wait."""
    _confusables()
    english_ranks()


@cache
def _confusables() -> dict[int, str]:
    """Return code points and the Latin letters that they look like."""
    rows = (_DATA / "confusables.tsv").read_text(encoding="utf-8").splitlines()
    table = {int(code, 16): letter for code, letter, _ in (row.split("\t") for row in rows)}
    for code in (*range(0x80, 0x2B0), *range(0x1D00, 0x1E00), *range(0x2C60, 0x2C80), *range(0xA720, 0xA800)):
        # Strokes, hooks and small capitals: a character that Unicode names as a form of a Latin letter is that letter.
        if match := _LATIN_NAME.fullmatch(unicodedata.name(chr(code), "")):
            table.setdefault(code, match[1].lower())
    return table


@cache
def english_ranks() -> dict[str, int]:
    """Return English words and their ranks, the most frequent first, from 0."""
    lines = (_DATA / "words.txt").read_text(encoding="utf-8").split()
    return {word: rank for rank, word in enumerate(lines)}
