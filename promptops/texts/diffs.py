"""Readable differences between two texts: first by lines, then by words inside changed lines.

Pure and bounded: difflib takes at most `MAX_STEPS` steps for lines and the same for words. For larger inputs, longer
passages count as removed and added. Nothing is escaped here; templates escape. Three-way merging is in `merge`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

Kind = Literal["equal", "insert", "delete", "change"]

# A step of difflib takes about 0.15 microseconds, so these steps take less than 80 ms.
MAX_STEPS = 500_000
# Lines of a changed block are paired only if the block has at most this many possible pairs.
MAX_BLOCK = 900
# From this share of common words on, two lines count as one changed line, else as one removed and one added line.
ALIKE = 0.4
# An unchanged passage of a line is folded from LONG_STRETCH characters on, except STRETCH_CONTEXT beside a change.
LONG_STRETCH, STRETCH_CONTEXT = 600, 120
# A page shows at most this many lines of one diff.
MAX_ROWS = 1_000

WORD = re.compile(r"\s+|\w+|[^\w\s]")
VISIBLE = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage of a line: `equal` on both sides, `delete` only on the old side, `insert` only on the new side."""

    kind: Literal["equal", "insert", "delete"]
    text: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A folded unchanged passage of a line. The `number` is unique in the line."""

    text: str
    number: int
    kind: Literal["gap"] = "gap"

    @property
    def label(self) -> str:
        """Return how many words are folded."""
        count = len(re.findall(r"\w+", self.text))
        return f"{count:,} unchanged word{'' if count == 1 else 's'}" if count else "unchanged"


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line, on both sides (`equal`, or `change` with pieces of all kinds) or on one side (`insert`, `delete`)."""

    kind: Kind
    pieces: tuple[Piece, ...]

    @property
    def old(self) -> str:
        """Return the line of the old text."""
        return "".join(piece.text for piece in self.pieces if piece.kind != "insert")

    @property
    def new(self) -> str:
        """Return the line of the new text."""
        return "".join(piece.text for piece in self.pieces if piece.kind != "delete")

    @property
    def segments(self) -> list[Piece | Gap]:
        """Return the pieces with long unchanged passages folded: a prompt is often one paragraph, so one line."""
        segments: list[Piece | Gap] = []
        for index, piece in enumerate(self.pieces):
            if piece.kind != "equal" or len(piece.text) < LONG_STRETCH:
                segments.append(piece)
                continue
            # The start and the end of an unchanged line stay visible, so that people can recognize the line.
            start = _word_end(piece.text, STRETCH_CONTEXT) if index or self.kind == "equal" else 0
            last = index == len(self.pieces) - 1
            end = len(piece.text) - _word_end(piece.text[::-1], STRETCH_CONTEXT) if not last else len(piece.text)
            segments += [Piece("equal", piece.text[:start])] if start else []
            segments.append(Gap(piece.text[start:end], number=index))
            segments += [Piece("equal", piece.text[end:])] if end < len(piece.text) else []
        return segments

    @property
    def new_segments(self) -> list[Piece | Gap]:
        """Return the segments that are in the new text."""
        return [segment for segment in self.segments if segment.kind != "delete"]

    @property
    def mark(self) -> str:
        """Return the sign in the margin."""
        return {"equal": "", "insert": "+", "delete": "−", "change": "±"}[self.kind]


class Block(NamedTuple):
    """Items that are equal on both sides, or the old items with the new ones that replace them."""

    equal: bool
    old: list[str]
    new: list[str]


@dataclass(frozen=True, slots=True)
class Fold:
    """A run of folded lines. `lines` is empty if they are not shown at all."""

    label: str
    lines: tuple[DiffLine, ...] = ()
    kind: Literal["fold"] = "fold"


def diff_lines(old: str, new: str) -> list[DiffLine]:
    """Return the lines of both texts in reading order.

    The old sides of all lines except inserted ones, joined by newlines, are `old`. The new sides of all lines except
    deleted ones are `new`.
    """
    before, after = (text.split("\n") if text else [] for text in (old, new))
    budget = Budget(MAX_STEPS)
    lines: list[DiffLine] = []
    for equal, olds, news in match(before, after, Budget(MAX_STEPS)):
        if equal:
            lines += [_whole("equal", text) for text in olds]
        else:
            lines += _changed_block(olds, news, budget)
    return lines


def fold(lines: Iterable[DiffLine], context: int = 2) -> list[DiffLine | Fold]:
    """Return at most `MAX_ROWS` lines, with unchanged runs folded except `context` lines around changes."""
    lines = list(lines)
    near = [False] * len(lines)
    for index, line in enumerate(lines):
        if line.kind != "equal":
            start = max(0, index - context)
            near[start : index + context + 1] = [True] * len(near[start : index + context + 1])
    rows: list[DiffLine | Fold] = []
    index = 0
    while index < len(lines) and len(rows) < MAX_ROWS:
        end = index
        while end < len(lines) and not near[end]:
            end += 1
        if end - index > 1:
            rows.append(Fold(f"{end - index:,} unchanged lines", tuple(lines[index:end])))
            index = end
        else:
            rows.append(lines[index])
            index += 1
    if index < len(lines):
        rows.append(Fold(f"{len(lines) - index:,} more lines are not shown"))
    return rows


def summary(lines: Iterable[DiffLine]) -> str:
    """Return the amount of change in words, such as "2 lines changed, 1 added" or "No changes"."""
    counts = Counter[str](line.kind for line in lines)
    words = (("change", "changed"), ("insert", "added"), ("delete", "removed"))
    parts = [(counts[kind], word) for kind, word in words if counts[kind]]
    if not parts:
        return "No changes"
    first, word = parts[0]
    return ", ".join([f"{first:,} line{'' if first == 1 else 's'} {word}", *(f"{n:,} {word}" for n, word in parts[1:])])


def marked(old: str, new: str, budget: Budget) -> tuple[Piece, ...]:
    """Return the new text, with the words marked (`insert`) that the old text does not have in this order.

    White space is not compared. As few words as possible are marked.
    """
    # Both ends count as shared, so that blank ends are never marked.
    shared = [True, *_shared(VISIBLE.findall(old), VISIBLE.findall(new), budget), True]
    spans = [(0, 0), *(match.span() for match in VISIBLE.finditer(new)), (len(new), len(new))]
    pieces: list[Piece] = []
    start = 0
    for place in range(1, len(shared)):
        if shared[place] != shared[place - 1]:
            # The white space between them belongs to the unmarked piece.
            end = spans[place - 1][1] if shared[place] else spans[place][0]
            if end > start:
                pieces.append(Piece("equal" if shared[place - 1] else "insert", new[start:end]))
            start = end
    if start < len(new):
        pieces.append(Piece("equal", new[start:]))
    return tuple(pieces)


def _shared(old: list[str], new: list[str], budget: Budget) -> list[bool]:
    """Return, for each item of `new`, whether it belongs to a longest common subsequence."""
    start, end, pairs = common_pairs(old, new, budget)
    shared = [True] * start + [False] * (len(new) - start - end) + [True] * end
    for _, j in pairs:
        shared[j] = True
    return shared


def common_pairs(old: list[str], new: list[str], budget: Budget) -> tuple[int, int, list[tuple[int, int]]]:
    """Return how many items are equal at the start and at the end, and between them the pairs of equal items.

    The pairs (old index, new index), last one first, are a longest common subsequence. When the budget is spent, there
    are none. The algorithm is bit-parallel (Hyyrö 2004, "Bit-parallel LCS-length computation revisited") and ten times
    as fast as difflib. In the row of an old item, the bit of a new item is 0 where the common subsequence up to both
    gets longer by one.
    """
    start, end = _ends(old, new)
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    pairs: list[tuple[int, int]] = []
    if budget.take(4 * (len(old) + len(new)) + len(old) * len(new) // 256):
        places: dict[str, int] = {}
        for j, item in enumerate(new):
            places[item] = places.get(item, 0) | 1 << j
        row = full = (1 << len(new)) - 1
        rows = []
        for item in old:
            here = row & places.get(item, 0)
            row = ((row + here) | (row - here)) & full
            rows.append(row)
        i, j = len(old), len(new)
        while i and j:
            if rows[i - 1] >> (j - 1) & 1:
                j -= 1
                continue
            i -= 1
            if not i or rows[i - 1] >> (j - 1) & 1:
                j -= 1
                pairs.append((start + i, start + j))
    return start, end, pairs


def _ends(old: list[str], new: list[str]) -> tuple[int, int]:
    """Return how many items are equal at the start, and how many of the others are equal at the end."""
    shorter = min(len(old), len(new))
    start = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    end = next((i for i in range(shorter - start) if old[-1 - i] != new[-1 - i]), shorter - start)
    return start, end


def _word_end(text: str, start: int) -> int:
    """Return the position of the next white space after `start` if it is near, else `start`."""
    match = re.compile(r"\s").search(text, start, start + STRETCH_CONTEXT)
    return match.start() if match else start


class Budget:
    """The steps that a comparison may still take, at most 0.15 microseconds each."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, old: Sequence[str], new: Sequence[str]) -> bool:
        """Spend the steps of matching these in the worst case if the budget allows it, and return whether it did."""
        counts = Counter(new)
        pairs = sum(counts[item] for item in old)
        # One search reads `old` and its equal pairs once. There are at most as many searches as matches.
        steps = pairs + len(old) * min(pairs, len(old), len(new))
        return self.take(steps)

    def take(self, steps: int) -> bool:
        """Spend `steps` if the budget allows it, and return whether it did."""
        if steps > self.left:
            return False
        self.left -= steps
        return True


def _whole(kind: Literal["equal", "insert", "delete"], text: str) -> DiffLine:
    return DiffLine(kind, (Piece(kind, text),) if text else ())


def match(old: list[str], new: list[str], budget: Budget) -> list[Block]:
    """Return blocks of equal and of different items in order; neighbors of one kind are merged.

    If the budget is too small for difflib, items that occur once on both sides are matched first, and difflib matches
    what it can between them.
    """
    blocks: list[Block] = []
    for block in _blocks(old, new, budget, anchored=True):
        if blocks and blocks[-1].equal == block.equal:
            blocks[-1].old.extend(block.old)
            blocks[-1].new.extend(block.new)
        elif block.old or block.new:
            blocks.append(Block(block.equal, list(block.old), list(block.new)))
    return blocks


def _blocks(old: list[str], new: list[str], budget: Budget, anchored: bool) -> Iterator[Block]:
    start, end = _ends(old, new)
    yield Block(True, old[:start], new[:start])
    middle_old, middle_new = old[start : len(old) - end], new[start : len(new) - end]
    if budget.spend(middle_old, middle_new):
        for tag, i1, i2, j1, j2 in SequenceMatcher(None, middle_old, middle_new, autojunk=False).get_opcodes():
            yield Block(tag == "equal", middle_old[i1:i2], middle_new[j1:j2])
    elif anchored and (anchors := _anchors(middle_old, middle_new)):
        i = j = 0
        for i2, j2 in anchors:
            yield from _blocks(middle_old[i:i2], middle_new[j:j2], budget, anchored=False)
            yield Block(True, middle_old[i2 : i2 + 1], middle_new[j2 : j2 + 1])
            i, j = i2 + 1, j2 + 1
        yield from _blocks(middle_old[i:], middle_new[j:], budget, anchored=False)
    else:
        yield Block(False, middle_old, middle_new)
    yield Block(True, old[len(old) - end :], new[len(new) - end :])


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Return the longest chain of (old index, new index), rising in both, of items that occur once on each side."""
    old_counts, new_counts = Counter(old), Counter(new)
    place = {item: j for j, item in enumerate(new) if new_counts[item] == 1}
    pairs = [(i, place[item]) for i, item in enumerate(old) if old_counts[item] == 1 and item in place]
    # Patience sorting: tails[n] is the lowest new index that ends a chain of n + 1 pairs, ends[n] that pair's index.
    tails: list[int] = []
    ends: list[int] = []
    previous: list[int | None] = []
    for index, (_, j) in enumerate(pairs):
        length = bisect_left(tails, j)
        previous.append(ends[length - 1] if length else None)
        tails[length : length + 1] = [j]
        ends[length : length + 1] = [index]
    chain: list[tuple[int, int]] = []
    at = ends[-1] if ends else None
    while at is not None:
        chain.append(pairs[at])
        at = previous[at]
    return chain[::-1]


def _changed_block(olds: Sequence[str], news: Sequence[str], budget: Budget) -> list[DiffLine]:
    """Return the lines of a changed block: similar lines paired in order, the others removed or added."""
    lines: list[DiffLine] = []
    i = j = 0
    for old_index, new_index in [*alike(olds, news), (len(olds), len(news))]:
        lines += [_whole("delete", text) for text in olds[i:old_index]]
        lines += [_whole("insert", text) for text in news[j:new_index]]
        if old_index < len(olds):
            lines.append(_changed_line(olds[old_index], news[new_index], budget))
        i, j = old_index + 1, new_index + 1
    return lines


def alike(olds: Sequence[str], news: Sequence[str]) -> list[tuple[int, int]]:
    """Return the in-order pairs of lines with the greatest total likeness."""
    if len(olds) * len(news) > MAX_BLOCK:
        return []
    old_words, new_words = ([Counter(re.findall(r"\w+", text)) for text in texts] for texts in (olds, news))
    # best[i][j]: the greatest likeness of olds[i:] with news[j:]
    best = [[0.0] * (len(news) + 1) for _ in range(len(olds) + 1)]
    score = [[likeness(a, b) for b in new_words] for a in old_words]
    for i in range(len(olds) - 1, -1, -1):
        for j in range(len(news) - 1, -1, -1):
            pair = score[i][j] + best[i + 1][j + 1] if score[i][j] >= ALIKE else 0.0
            best[i][j] = max(pair, best[i + 1][j], best[i][j + 1])
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(olds) and j < len(news):
        if score[i][j] >= ALIKE and best[i][j] == score[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def likeness(a: Counter[str], b: Counter[str]) -> float:
    """Return the share of words that two lines have in common, 0 to 1. Lines without words have 0."""
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 0.0


def _changed_line(old: str, new: str, budget: Budget) -> DiffLine:
    """Return one changed line with its words compared."""
    blocks = match(WORD.findall(old), WORD.findall(new), budget)
    pieces: list[Piece] = []
    removed = added = ""
    for index, (equal, olds, news) in enumerate(blocks):
        text = "".join(olds)
        if equal and (not text.isspace() or index in (0, len(blocks) - 1)):
            pieces += _exchange(removed, added)
            removed = added = ""
            pieces.append(Piece("equal", text))
        else:
            # A single space between two changes joins them: one long change is easier to read than many short ones.
            removed += text
            added += "".join(news)
    return DiffLine("change", (*pieces, *_exchange(removed, added)))


def _exchange(removed: str, added: str) -> list[Piece]:
    pieces = [Piece("delete", removed)] if removed else []
    return [*pieces, Piece("insert", added)] if added else pieces
