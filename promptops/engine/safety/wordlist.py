"""The English words that reading a disguised text aims at, and cutting or joining letters into them.

`data/words.txt` has them, the most frequent first. Steps that read one kind of disguise do not belong here.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files

DATA = files("promptops.engine.safety") / "data"
LONGEST = 20
"""Letters of the longest word that is looked for in text without gaps."""


@cache
def english_ranks() -> dict[str, int]:
    """Return English words and their ranks, the most frequent first, from 0."""
    lines = (DATA / "words.txt").read_text(encoding="utf-8").split()
    return {word: rank for rank, word in enumerate(lines)}


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
        for begin in range(max(0, end - LONGEST), end):
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
