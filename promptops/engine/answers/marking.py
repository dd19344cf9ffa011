"""Show what reading removed from an answer."""

from __future__ import annotations

from itertools import groupby

WINDOW = 400
"""Characters that are looked through for the next word of a line that is not in the answer as it is (JSON, joined
lines): more than any opening or title."""

FAILURES = 64
"""Lines that may be missing before only words are looked for, so that the time stays in proportion to the length."""


def marked(written: str, read: str) -> list[tuple[str, bool]]:
    """Return `written` in pieces, in order, each with whether it was removed. Joined, the pieces are `written`."""
    keeps: list[tuple[int, int]] = []
    # From the end, since reasoning and openings, which may quote the prompt, come before it. Both texts are turned
    # round, because `str.rfind` takes quadratic time for some texts and `str.find` does not.
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
    """Cut `written` at the places to keep; white space between two of them is kept, too."""
    pieces, at = [], 0
    for start, end in keeps:
        gap = written[at:start]
        pieces += [(gap, bool(gap.strip()) or at == 0), (written[start:end], False)]
        at = end
    pieces.append((written[at:], True))
    runs = groupby((piece for piece in pieces if piece[0]), key=lambda piece: piece[1])
    return [("".join(text for text, _ in run), removed) for removed, run in runs]
