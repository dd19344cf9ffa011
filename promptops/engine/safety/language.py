"""The language gate: finds texts in languages that a model cannot read, by their letters and frequent words.

This module only tells languages apart. guard.py decides about the text, and a block always wins over the gate.
`data/languages.tsv` has the frequent words; they were written for this project.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from promptops.engine.safety.normalize import words
from promptops.engine.safety.wordlist import english_ranks

BLOCK_WORDS = 12
"""Words of a block. A long text is also checked block by block, so a Spanish paragraph between English ones counts."""
BLOCK_EVIDENCE = 3.0
"""The evidence that a block needs, in words. Names and titles ("Día de los Muertos") have less."""
ENOUGH = 2.0
"""The evidence that a text needs, in words, if it has any English."""
FREQUENT_RANK, RARE_RANK = 3_000, 4_000
"""English words with a rank below the first are full evidence of English and none of another language. Those from the
second on count half for the language whose list has them."""
_IN_NAMES = """
al au auf con da das de del der des di du e ein eine el en est et il la las le les los mit na o para por pour que sur
un una und von y
"""
IN_NAMES = frozenset(_IN_NAMES.split())
"""Small words that English texts have only in names (Los Angeles, da Vinci); each counts half."""
SCRIPTS = (
    (0x0370, 0x03FF, "Greek"),
    (0x0400, 0x052F, "Russian or another language in Cyrillic letters"),
    (0x0590, 0x05FF, "Hebrew"),
    (0x0600, 0x077F, "Arabic or another language in its letters"),
    (0x0900, 0x097F, "Hindi or another language in its letters"),
    (0x0E00, 0x0E7F, "Thai"),
    (0x3040, 0x30FF, "Japanese"),
    (0x3400, 0x9FFF, "Chinese"),
    (0xAC00, 0xD7AF, "Korean"),
)
"""The first and last code point of a script's letters, and the language that verdicts name for it."""
WITHOUT_GAPS = frozenset({"Chinese", "Japanese", "Thai"})
"""Languages without gaps between words; two letters count as one word."""

_Weights = tuple[tuple[str, float], ...]


@dataclass
class _Evidence:
    """The points that the words of a text give to English and to each other language."""

    english: float = 0.0
    unknown: int = 0
    count: int = 0
    listed: float = 0.0
    languages: dict[str, float] | None = None

    def best(self) -> tuple[str, float]:
        """Return the language with the most points ("" for a tie), and its points."""
        if not self.languages:
            return "", 0.0
        points = max(self.languages.values())
        names = [name for name, value in self.languages.items() if value == points]
        return names[0] if len(names) == 1 else "", points


def foreign_language(text: Sequence[str], pause: Callable[[], object] = lambda: None) -> str | None:
    """Return the language of normalized words that are not English: "" if it is unclear; None for English.

    `pause` is called between blocks of the words.
    """
    if len(text) <= 2 * BLOCK_WORDS:
        return _decide(_evidence(text), ENOUGH)
    whole = _Evidence(languages={})
    of_block: str | None = None
    for start in range(0, len(text), BLOCK_WORDS):
        pause()
        block = _evidence(text[start : start + BLOCK_WORDS])
        if of_block is None:
            of_block = _decide(block, BLOCK_EVIDENCE)
        _add(whole, block)
    of_whole = _decide(whole, ENOUGH)
    return of_block if of_whole is None else of_whole


def frequent_words(language: str) -> Collection[str]:
    """Return the frequent words of a language, normalized; of all languages for ""."""
    lists = _lists()
    return lists.get(language, frozenset()) if language else frozenset().union(*lists.values())


def listed_languages() -> tuple[str, ...]:
    """Return the languages whose frequent words are listed, in the order of the list."""
    return tuple(_lists())


def load_languages() -> None:
    """Read the tables, so that the first text does not wait for them."""
    _table()


def _decide(evidence: _Evidence, enough: float) -> str | None:
    """Return the language that the evidence supports, or None."""
    name, points = evidence.best()
    if points >= enough and points > evidence.english:
        return name
    if enough > ENOUGH or evidence.count < 3 or points < 1:
        return None
    # Short texts have few frequent words: most other words must be unknown, or none of them English.
    mostly = evidence.listed >= 1.5 and evidence.listed + evidence.unknown >= 0.8 * evidence.count
    if (mostly and evidence.unknown) or (evidence.english == 0 and points > 1):
        return name
    return None


def _evidence(text: Sequence[str]) -> _Evidence:
    table = _table()
    languages: dict[str, float] = {}
    english, unknown, count, listed = 0.0, 0, 0, 0.0
    for word in text:
        entry = table.get(word)
        if entry is None:
            if word.isdecimal():
                continue
            if not word.isascii() and (script := _script(word)):
                name, points = script
                languages[name] = languages.get(name, 0.0) + points
            else:
                unknown += 1
        else:
            weight, weights = entry
            english += weight
            if weights:
                listed += 0.5 if word in IN_NAMES else 1.0
                for name, points in weights:
                    languages[name] = languages.get(name, 0.0) + points
        count += 1
    return _Evidence(english, unknown, count, listed, languages)


def _add(whole: _Evidence, block: _Evidence) -> None:
    whole.english += block.english
    whole.unknown += block.unknown
    whole.count += block.count
    whole.listed += block.listed
    languages = whole.languages if whole.languages is not None else {}
    for name, points in (block.languages or {}).items():
        languages[name] = languages.get(name, 0.0) + points


def _script(word: str) -> tuple[str, float] | None:
    """Return the language of a word in another script, and its points; None for Latin letters."""
    names = {name for letter in set(word) for first, last, name in SCRIPTS if first <= ord(letter) <= last}
    if not names:
        return None
    name = "Japanese" if "Japanese" in names else min(names)  # Japanese has Chinese letters, too
    return name, max(1.0, len(word) / 2) if name in WITHOUT_GAPS else 1.0


@cache
def _lists() -> dict[str, frozenset[str]]:
    """Return the frequent words of each language, normalized."""
    lines = (files("promptops.engine.safety") / "data" / "languages.tsv").read_text(encoding="utf-8").splitlines()
    lists: dict[str, set[str]] = {}
    for line in lines[1:]:
        language, listed = line.split("\t")
        lists.setdefault(language, set()).update(word for each in listed.split() for word in words(each))
    return {language: frozenset(each) for language, each in lists.items()}


@cache
def _table() -> dict[str, tuple[float, _Weights]]:
    """Return every word that is evidence: its points for English, and for other languages."""
    ranks = english_ranks()
    table: dict[str, tuple[float, _Weights]] = {
        word: (1.0 if rank < FREQUENT_RANK else 0.5, ()) for word, rank in ranks.items()
    }
    owners: dict[str, list[str]] = {}
    for language, listed in _lists().items():
        for word in listed:
            owners.setdefault(word, []).append(language)
    for word, languages in owners.items():
        rank = ranks.get(word)
        points = 1.0 if rank is None else 0.5 if rank >= RARE_RANK or word in IN_NAMES else 0.0
        english = 0.0 if points else 1.0 if rank is not None and rank < 300 else 0.5
        table[word] = (english, tuple((language, points) for language in languages))
    return table
