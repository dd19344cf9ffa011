"""Which texts are in a language that the model cannot read: a gate by letters and by frequent words.

Only languages are told apart here. What becomes of a text is up to `guard`, which never lets the gate overrule a text
that it blocks. `data/languages.tsv` has the frequent words; they were written for this project.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from promptops.engine.safety.normalize import english_ranks, words

BLOCK_WORDS = 12
"""A long text is also looked at in blocks of so many words: a paragraph of Spanish between English ones counts."""
BLOCK_EVIDENCE = 3.0
"""What a block needs to count, in words: names and titles ("Día de los Muertos") have less."""
ENOUGH = 2.0
"""What a text needs, in words, where it has any English."""
FREQUENT_RANK, RARE_RANK = 3_000, 4_000
"""English words of a lower rank than the first are full evidence of English, and none of another language; those from
the second on are half a piece of evidence of the language whose list has them."""
_IN_NAMES = """
al au auf con da das de del der des di du e ein eine el en est et il la las le les los mit na o para por pour que sur
un una und von y
"""
IN_NAMES = frozenset(_IN_NAMES.split())
"""Small words that English texts have in names only (Los Angeles, da Vinci): half a piece of evidence each."""
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
"""First and last code point of the letters of a script, and the language that a text in it is called."""
WITHOUT_GAPS = frozenset({"Chinese", "Japanese", "Thai"})
"""These write no gaps between words; two letters count as one."""

_Weights = tuple[tuple[str, float], ...]


@dataclass
class _Evidence:
    """What the words of a text say: points for English, and for each other language."""

    english: float = 0.0
    unknown: int = 0
    count: int = 0
    listed: float = 0.0
    languages: dict[str, float] | None = None

    def best(self) -> tuple[str, float]:
        """The language with the most points, "" where two have as many, and its points."""
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
    found: str | None = None
    for start in range(0, len(text), BLOCK_WORDS):
        pause()
        block = _evidence(text[start : start + BLOCK_WORDS])
        if found is None:
            found = _decide(block, BLOCK_EVIDENCE)
        _add(whole, block)
    named = _decide(whole, ENOUGH)
    return found if named is None else named


def frequent_words(language: str) -> Collection[str]:
    """Return the frequent words of a language, normalized; of all languages for ""."""
    lists = _lists()
    return lists.get(language, frozenset()) if language else frozenset().union(*lists.values())


def load_languages() -> None:
    """Read the tables, so that the first text need not wait for them."""
    _table()


def _decide(evidence: _Evidence, enough: float) -> str | None:
    """The language that the evidence speaks for, or None."""
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
    """The language that the letters of a word stand for, if they are of another script, and its points."""
    found = {name for letter in set(word) for first, last, name in SCRIPTS if first <= ord(letter) <= last}
    if not found:
        return None
    name = "Japanese" if "Japanese" in found else min(found)  # Japanese has Chinese letters, too
    return name, max(1.0, len(word) / 2) if name in WITHOUT_GAPS else 1.0


@cache
def _lists() -> dict[str, frozenset[str]]:
    """The frequent words of each language, as `normalize` reads them."""
    lines = (files("promptops.engine.safety") / "data" / "languages.tsv").read_text(encoding="utf-8").splitlines()
    found: dict[str, set[str]] = {}
    for line in lines[1:]:
        language, listed = line.split("\t")
        found.setdefault(language, set()).update(word for each in listed.split() for word in words(each))
    return {language: frozenset(each) for language, each in found.items()}


@cache
def _table() -> dict[str, tuple[float, _Weights]]:
    """Every word that says something: its points for English, and for other languages."""
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
