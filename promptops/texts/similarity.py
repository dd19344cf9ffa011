"""Measure how much two texts share, so that nobody imports a prompt twice. Pure."""

import re

ALMOST = 0.8
"""From this share on, pages say that two texts are almost the same."""

MAX_TOKENS = 20_000
"""What follows in a longer text is not compared, so that a comparison takes milliseconds."""

# A word, or one character of a script that is written without spaces (kana, Han).
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|\w+")


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Return the set of all three words in a row of the text, in lower case. A shorter text is one of its own."""
    tokens = _TOKEN.findall(text.lower())[:MAX_TOKENS]
    return frozenset(zip(tokens, tokens[1:], tokens[2:], strict=False)) or frozenset([tuple(tokens)])


def resemblance(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    """Return the share of shingles that two texts have in common, from 0 to 1: the Jaccard index.

    Source: A. Broder, "On the resemblance and containment of documents", 1997.
    """
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
