"""The operators' terms: finding allow and deny terms in normalized words.

guard.py decides what a match means. Settings and pages about terms belong to `promptops.safety`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from promptops.engine.safety.normalize import words
from promptops.engine.safety.verdicts import SafetyCategory


class Terms:
    """A set of terms, indexed by their first word, that is searched for in normalized words."""

    def __init__(self, terms: Iterable[tuple[str, SafetyCategory | None]]) -> None:
        self._by_first: dict[str, list[tuple[list[str], bool, SafetyCategory | None]]] = {}
        self._open: dict[str, SafetyCategory | None] = {}  # beginnings of single words
        readings = ((list(term), text, category) for text, category in terms for term in _term_readings(text))
        for term, text, category in readings:
            entry = (term, text.rstrip().endswith("*"), category)
            if len(term) == 1 and entry[1]:
                self._open[term[0]] = category
            else:
                self._by_first.setdefault(term[0], []).append(entry)
        self._lengths = sorted({len(beginning) for beginning in self._open}, reverse=True)

    def _match(self, text: Sequence[str], at: int) -> tuple[list[str], SafetyCategory | None] | None:
        """Return the longest term that begins at this word."""
        word = text[at]
        beginnings = (word[:length] for length in self._lengths if length <= len(word))
        beginning = next((each for each in beginnings if each in self._open), None)
        best = ([beginning], self._open[beginning]) if beginning else None
        for term, is_open, category in self._by_first.get(word, ()):
            part = text[at : at + len(term)]
            whole = part[:-1] == term[:-1] and len(part) == len(term)
            same = whole and (part[-1].startswith(term[-1]) if is_open else part[-1] == term[-1])
            if same and (best is None or len(term) > len(best[0])):
                best = (term, category)
        return best

    def take_out(
        self, text: list[str], pause: Callable[[], object] = lambda: None
    ) -> tuple[list[str], tuple[str, ...]]:
        """Return the words without the terms, and the terms that were in them.

        An empty word replaces each term, so that the words on both sides of it do not form a new phrase.
        """
        if not (self._by_first or self._open):
            return text, ()
        rest: list[str] = []
        removed: list[str] = []
        at = 0
        while at < len(text):
            pause()
            if match := self._match(text, at):
                rest.append("")
                removed.append(" ".join(match[0]))
                at += len(match[0])
            else:
                rest.append(text[at])
                at += 1
        return rest, tuple(removed)

    def first_in(
        self, text: Sequence[str], pause: Callable[[], object] = lambda: None
    ) -> tuple[str, SafetyCategory | None] | None:
        """Return the first term in the words, with its category."""
        if not (self._by_first or self._open):
            return None
        for at in range(len(text)):
            pause()
            if match := self._match(text, at):
                return " ".join(match[0]), match[1]
        return None


@lru_cache(maxsize=8192)
def _term_readings(text: str) -> tuple[tuple[str, ...], ...]:
    """Return each way to read a term: alone, beside Latin words, and as one word if its letters are spaced out.

    Cached because every release builds all terms again and changes few of them.
    """
    alone = tuple(words(text))
    joined = ("".join(alone),) if len(alone) > 1 and all(len(word) == 1 for word in alone) else ()
    cases = () if text.isascii() else (text, text.lower(), text.upper(), text.title())
    beside = (tuple(words(f"latin {form}")[1:]) for form in cases)
    return tuple(reading for reading in dict.fromkeys((alone, joined, *beside)) if reading)
