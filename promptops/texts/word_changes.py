"""A change of a text in one line: how many words, and the first passage. Whole differences are in `diffs`."""

import re
from dataclasses import dataclass

from promptops.texts.diffs import VISIBLE, Budget, Piece, common_pairs

# A step takes about 0.15 microseconds, so these steps take less than 15 ms.
MAX_STEPS = 100_000
# The passage has this many words around it, and at most MOST_WORDS of each text.
WORDS_BEFORE, WORDS_AFTER, MOST_WORDS = 6, 24, 30


@dataclass(frozen=True, slots=True)
class WordChange:
    """The words that a change adds and removes, counted, and its first passage on one line, with words around it."""

    added: int
    removed: int
    passage: tuple[Piece, ...]


def word_change(old: str, new: str) -> WordChange:
    """Return the change between two texts in words. As few words as possible count.

    White space is not compared. Takes up to 15 ms; of longer texts, all between their equal ends counts as changed.
    """
    before, after = list(VISIBLE.finditer(old)), list(VISIBLE.finditer(new))
    olds, news = ([match.group() for match in matches] for matches in (before, after))
    start, end, pairs = common_pairs(olds, news, Budget(MAX_STEPS))
    kept_old, kept_new = {i for i, _ in pairs}, {j for _, j in pairs}
    removed = sum(i not in kept_old and olds[i][0].isalnum() for i in range(start, len(olds) - end))
    added = sum(j not in kept_new and news[j][0].isalnum() for j in range(start, len(news) - end))
    if start == len(olds) == len(news):
        return WordChange(0, 0, ())
    old_end, new_end = pairs[-1] if pairs else (len(olds) - end, len(news) - end)
    pieces = [
        Piece("equal", _passage(new, after, max(0, start - WORDS_BEFORE), start)),
        Piece("delete", _passage(old, before, start, old_end)),
        Piece("insert", _passage(new, after, start, new_end)),
        Piece("equal", _passage(new, after, new_end, new_end + WORDS_AFTER)),
    ]
    return WordChange(added, removed, tuple(piece for piece in pieces if piece.text))


def _passage(text: str, words: list[re.Match[str]], first: int, end: int) -> str:
    """Return these words of a text on one line with the space after them, cut off if they are many."""
    if first >= min(end, len(words)):
        return ""
    cut = min(end, first + MOST_WORDS)
    passage = text[words[first].start() : words[cut].start() if cut < len(words) else words[-1].end()]
    return re.sub(r"\s+", " ", passage) + ("… " if cut < end and cut < len(words) else "")
