"""Mark the parts of an answer that reading removed."""

from __future__ import annotations

from itertools import groupby

WINDOW = 400
"""The most characters that are searched for the next word of a changed line (from JSON, or joined lines). It is longer
than any opening or title."""

FAILURES = 64
"""The most changed lines. After them only words are searched, so that the time stays linear."""


def marked(written: str, read: str) -> list[tuple[str, bool]]:
    """Return `written` in pieces, in order, each with a flag: was it removed? Joined, the pieces are `written`."""
    keeps: list[tuple[int, int]] = []
    # From the end, because reasoning and openings, which may quote the prompt, come before it. Both texts are reversed,
    # because `str.rfind` takes quadratic time for some texts and `str.find` does not.
    haystack, at, failures = written[::-1], 0, 0
    for line in [read[::-1]] if read[::-1] in haystack else read[::-1].split("\n"):
        line = line.strip()
        place = haystack.find(line, at) if line and failures < FAILURES else -1
        if place >= 0:
            keeps.append((place, place + len(line)))
            at = place + len(line)
            continue
        failures += bool(line)
        for word in line.split():
            place = haystack.find(word, at, at + WINDOW + len(word))
            if place >= 0:
                keeps.append((place, place + len(word)))
                at = place + len(word)
    size = len(written)
    return _pieces(written, [(size - end, size - start) for start, end in reversed(keeps)])


def _pieces(written: str, keeps: list[tuple[int, int]]) -> list[tuple[str, bool]]:
    """Cut `written` at the ranges to keep. White space between two ranges is kept too."""
    pieces, at = [], 0
    for start, end in keeps:
        gap = written[at:start]
        pieces += [(gap, bool(gap.strip()) or at == 0), (written[start:end], False)]
        at = end
    pieces.append((written[at:], True))
    runs = groupby((piece for piece in pieces if piece[0]), key=lambda piece: piece[1])
    return [("".join(text for text, _ in run), removed) for removed, run in runs]
