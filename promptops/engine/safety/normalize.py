"""Normalizing a text: `normalize()` reads disguised text as a person does, in a series of steps.

The result is lower-case words with single spaces between them. Terms are searched for in it, and models are trained on
it and score it. Every step leaves ordinary text as it is, and no step raises on any string. Judging does not belong
here.
"""

from __future__ import annotations

import itertools
import re
import string
import unicodedata
from collections.abc import Callable
from functools import cache

from promptops.engine.safety.leet import LEET_SIGNS, undo_leet
from promptops.engine.safety.markup import decode_entities, drop_tags, join_pieces
from promptops.engine.safety.wordlist import DATA, english_ranks, split_run

_ASCII_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co"}
_BLANKS = {"\u115f", "\u1160", "\u17b4", "\u17b5", "\u2800", "\u3164", "\uffa0"}
"""Letters and signs that show nothing although others of their category do."""
_TAGS = re.compile("\U0001f3f4[\U000e0020-\U000e007f]{1,6}|([\U000e0020-\U000e007e]{3,})")
"""Letters that people cannot see and language models read. Up to six of them after a black flag select a flag."""
_MARK_CATEGORIES = {"Mn", "Me"}

_WORD = re.compile(r"[^\W_]+")
_WORDS = re.compile(r"\w+")
_STARRED_WORDS = re.compile(r"\w+(?:(?<=[a-z])\*{1,2}(?=[a-z])\w+)*")
_FOREIGN_WORD = re.compile(r"[^\W_]*[^\x00-\x7f\W_][^\W_]*")
_ASCII_LETTER = re.compile(r"[A-Za-z]")
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
_DRAWN_OUT = re.compile(r"([a-z])\1{2,}")
_TWICE = re.compile(r"(?<![^\W_])[^\W_]*?([a-z])\1[^\W_]*")
_PAIR = re.compile(r"(?<![^\W_])([a-z])\1(?![^\W_])")
_LONGEST_DOUBLED = 40
_MANY_LETTERS = 8
"""Letters that shortening drops from a text in which all letters are doubled."""

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
    return _words(decode_entities(text, pause), pause)


def _words(text: str, pause: Callable[[], object]) -> list[str]:
    for step in _PLAIN_STEPS if text.isascii() else _ALL_STEPS:
        pause()
        text = step(text)
    pause()
    return _cut_starred(text)


_PIECE = 400
_BREAKS = [re.compile(pattern) for pattern in (r"(?<=\S\S)\s+(?=\S\S)", r"\s{2,}", r"\s")]
"""Places to cut a text, the best first: between words, not inside a word with spaced-out letters."""


def read_words(text: str, pause: Callable[[], object] = lambda: None) -> list[str]:
    """Return the words of a long `text`, normalized piece by piece; pieces end between words if possible."""
    text = decode_entities(text, pause)
    if len(text) <= _PIECE * 2:
        return _words(text, pause)
    normalized, start = [], 0
    while start < len(text):
        end = start + _PIECE
        if end < len(text):
            cuts = (pattern.search(text, end, end + _PIECE) for pattern in _BREAKS)
            end = next((cut.end() for cut in cuts if cut), end)
        normalized += _words(text[start:end], pause)
        start = end
    return normalized


def _cut(text: str) -> list[str]:
    """Return the words of `text` without reading disguises. (Twice as fast as a pattern without the underscore.)"""
    return _WORDS.findall(text.replace("_", " "))


def _cut_starred(text: str) -> list[str]:
    """Return the words of `text`; a star between letters can stand for one (k*ll), and only a model knows for which."""
    return _STARRED_WORDS.findall(text.replace("_", " ")) if "*" in text else _cut(text)


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
    pieces = _cut_starred(text)
    singles = sum(len(word) == 1 for word in pieces)
    if "@" in text or "$" in text:
        singles += sum(word in ("@", "$") for word in text.split())
    if singles < 3:
        return text
    if singles <= len(pieces) / 2:
        return _SPREAD.sub(join, text)
    before = text
    # The whole text is spaced out: short words, too. Wider gaps, or gaps without a sign (k. i. l. l h. e. r), separate
    # words.
    text = _SIGN_AND_GAP.sub(r"\1", text)
    text = _SPREAD.sub(join, _ALL_SPREAD.sub(join, text))
    after = _cut(text)
    left = sum(len(word) == 1 and word.isalpha() and word not in "ai" for word in after)
    return _join_all(_cut(before)) if left * 4 > len(after) and not LEET_SIGNS.intersection(text) else text


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


def shorten(text: str) -> str:
    """Shorten drawn-out words (nuuude), and words with every letter doubled (kkiillll), where a known word results."""
    shortened = _TWICE.sub(_short, text)
    if len(text) - len(shortened) < _MANY_LETTERS:
        return shortened
    return _PAIR.sub(r"\1", shortened)  # words of one letter (ii, aa), which are known words when doubled, too


def _short(match: re.Match[str]) -> str:
    word, ranks = match[0], english_ranks()
    if word in ranks or len(word) > _LONGEST_DOUBLED:
        return word
    if _DRAWN_OUT.search(word):
        for repeated in (r"\1\1", r"\1"):
            if (short := _DRAWN_OUT.sub(repeated, word)) in ranks:
                return short
    half = word[::2]
    return half if half == word[1::2] and (len(half) > 2 or half in ranks) else word


_READING = (drop_tags, join_pieces, join_letters, undo_leet, shorten)
_PLAIN_STEPS: tuple[Callable[[str], str], ...] = (drop_hidden, str.lower, *_READING)
_ALL_STEPS = (drop_hidden, fold_forms, drop_marks, fold_confusables, str.casefold, *_READING)


def load_tables() -> None:
    """Read the tables that `words` needs, which takes as long as a hundred texts, so that the first does not wait."""
    _confusables()
    english_ranks()


@cache
def _confusables() -> dict[int, str]:
    """Return code points and the Latin letters that they look like."""
    rows = (DATA / "confusables.tsv").read_text(encoding="utf-8").splitlines()
    table = {int(code, 16): letter for code, letter, _ in (row.split("\t") for row in rows)}
    for code in (*range(0x80, 0x2B0), *range(0x1D00, 0x1E00), *range(0x2C60, 0x2C80), *range(0xA720, 0xA800)):
        # Strokes, hooks and small capitals: a character that Unicode names as a form of a Latin letter is that letter.
        if match := _LATIN_NAME.fullmatch(unicodedata.name(chr(code), "")):
            table.setdefault(code, match[1].lower())
    return table
