"""Reading words that markup, hyphens or pictures cut in two: entities, tags, and pieces that form one word.

Nothing inside a tag is lost: a tag can hide words from people, and language models read them.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence

from promptops.engine.safety.wordlist import LONGEST, english_ranks

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31}(?=;));?")
_ENTITY_DEPTH = 3
"""Times that a text is decoded: an entity's own ampersand can be an entity, too."""

_NAMES = (
    "a|abbr|b|big|body|br|center|cite|code|del|div|em|font|h[1-6]|head|html|i|img|ins|kbd|li|mark|ol|p|pre|q|s|small|"
    "span|strike|strong|sub|sup|table|td|th|tr|u|ul|wbr"
)
_TAG = (
    rf"<(?:!--[^<>]{{0,300}}--|[/a-z][^<>]{{0,300}})>|\[/?(?:{_NAMES}|color|size|url)(?:=[^\[\]]{{0,99}})?\]|__label__"
)
_TAGS = re.compile(rf"(?:{_TAG}|__label__)+")
_NAME = re.compile(rf"[<\[]/?(?:{_NAMES})\b|\[/?(?:color|size|url)|__label__")
_ATTRIBUTE = re.compile(r"\b(?:alt|class|color|dir|height|href|id|lang|name|rel|size|src|style|target|title|width)\s*=")
_CUT = "<>"
"""Stands where a tag was. It has no letters, and nothing removes it before the pieces around it are joined."""

_PICTURES = "[\u2022\u2100-\u2bff\ufe0f\U0001f000-\U0001faff]{1,4}"
_MARKS = rf"(?:{_CUT})+|{_PICTURES}"
_STRONG = re.compile(rf"{_MARKS}|[-\u2010]\s{{0,3}}")
"""Separators that stand in words, and not between them."""
_LETTERS_APART = re.compile(r"[a-z](?:(?!<>)[ -`{-~\u2010]{1,3}[a-z])+")
_WEAK = r"\*\*|[~^`_.,:;/\\#%=(){}\[\]\"]{1,3}"
_BETWEEN = re.compile(rf"{_STRONG.pattern}|{_WEAK}")
_PIECES = re.compile(rf"(?<![a-z])[a-z]+(?:(?:{_BETWEEN.pattern})[a-z]+)+")
_ORDINARY_RANK = 6_000
"""Words of a higher rank may be pieces of other words (ki, ll)."""


def decode_entities(text: str, pause: Callable[[], object] = lambda: None) -> str:
    """Replace HTML entities by their characters; `pause` is called before each.

    Named ones need their semicolon, so that ordinary text (R&B, this&that) stays as it is.
    """

    def decode(match: re.Match[str]) -> str:
        pause()
        return html.unescape(match[0])

    for _ in range(_ENTITY_DEPTH):
        if "&" not in text:
            break
        text = _ENTITY.sub(decode, text)
    return text


def drop_tags(text: str) -> str:
    """Replace tags by a mark that `join_pieces` reads. The words in a tag inside a word go to the end of the text.

    `__label__` and `</s>`, which have a meaning for fastText, are tags.
    """
    if "<" not in text and "[" not in text and "__label__" not in text:
        return text
    hidden = []

    def drop(match: re.Match[str]) -> str:
        rest = _ATTRIBUTE.sub(" ", _NAME.sub(" ", match[0]))
        if match.start() and text[match.start() - 1].isalpha() and text[match.end() : match.end() + 1].isalpha():
            hidden.append(rest)
            return _CUT
        return f" {rest} "

    return " ".join([_TAGS.sub(drop, text), *dict.fromkeys(hidden)])


def join_pieces(text: str) -> str:
    """Join the pieces of words that signs cut in two (mur-der, ki<b>ll, ki🔥ll), if they form a known word."""
    return _PIECES.sub(_join, text)


def _join(match: re.Match[str]) -> str:
    if _LETTERS_APART.fullmatch(match[0]):
        return match[0]  # letters apart, which join_letters reads with a view of the whole text
    separators = [*_BETWEEN.findall(match[0]), ""]
    pieces = _BETWEEN.split(match[0])
    ranks = english_ranks()
    joined_words, at = [], 0
    while at < len(pieces):
        joined, end = pieces[at], at + 1
        for stop in range(at + 2, min(at + LONGEST, len(pieces)) + 1):
            joined += pieces[stop - 1]
            if joined in ranks and _is_one_word(joined, pieces[at:stop], separators[at : stop - 1]):
                end = stop
        joined_words.append("".join(pieces[at:end]))
        joined_words.append(separators[end - 1])
        at = end
    if len(joined_words) > 2 and _is_unknown_word(joined_words[::2], separators):
        return "".join(pieces)
    return "".join(joined_words)


def _is_one_word(joined: str, pieces: Sequence[str], separators: Sequence[str]) -> bool:
    ranks = english_ranks()
    if all(_STRONG.fullmatch(separator) for separator in separators):
        # A word is as likely as its rank is low (Zipf's law), so two words are the product of both.
        return math.log(ranks[joined] + 10) < sum(math.log(ranks.get(piece, len(ranks)) + 10) for piece in pieces)
    return any(ranks.get(piece, len(ranks)) > _ORDINARY_RANK or piece in _LETTERS for piece in pieces)


def _is_unknown_word(pieces: Sequence[str], separators: Sequence[str]) -> bool:
    """Return true for pieces of a word that is not in the list (fu-cking): none of them can be a word of its own."""
    ranks = english_ranks()
    ordinary = [piece for piece in pieces if piece not in _LETTERS and ranks.get(piece, len(ranks)) <= _ORDINARY_RANK]
    if any("-" in separator for separator in separators):
        return not ordinary and any(piece not in ranks for piece in pieces)
    marks = all(_STRONG.fullmatch(separator) for separator in separators[:-1])
    return marks and len(ordinary) < len(pieces) and all(len(piece) < 4 for piece in ordinary)


_LETTERS = frozenset("bcdefghjklmnopqrstuvwxyz")
