"""The difference between two texts for people to read: lines first, then the words inside changed lines.

Pure and bounded: whatever the input, difflib takes at most `MAX_STEPS` steps on lines and as many on words; where that
is too little, larger stretches count as removed and added. Nothing here is escaped; that is for the template.
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

# A step of difflib takes about 0.15 microseconds, so this many stay under 80 ms.
MAX_STEPS = 500_000
# Lines of a changed block are matched to each other only in blocks up to this many pairs.
MAX_BLOCK = 900
# Two lines count as one changed line from this share of common words on; below it, as one removed and one added.
ALIKE = 0.4
# An unchanged stretch of a line is folded from this many characters on, but for so many beside what changed.
LONG_STRETCH, STRETCH_CONTEXT = 600, 120
# A page shows at most this many lines of one diff.
MAX_ROWS = 1_000

WORD = re.compile(r"\s+|\w+|[^\w\s]")
VISIBLE = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a line: `equal` is on both sides, `delete` only on the old one, `insert` only on the new one."""

    kind: Literal["equal", "insert", "delete"]
    text: str


@dataclass(frozen=True, slots=True)
class Gap:
    """An unchanged stretch of a line that is not shown at first; the `number` tells the gaps of a line apart."""

    text: str
    number: int
    kind: Literal["gap"] = "gap"

    @property
    def label(self) -> str:
        """How much it holds."""
        count = len(re.findall(r"\w+", self.text))
        return f"{count:,} unchanged word{'' if count == 1 else 's'}" if count else "unchanged"


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line: on both sides (`equal`, or `change` with pieces of all kinds) or on one (`insert`, `delete`)."""

    kind: Kind
    pieces: tuple[Piece, ...]

    @property
    def old(self) -> str:
        """The line as the old text has it."""
        return "".join(piece.text for piece in self.pieces if piece.kind != "insert")

    @property
    def new(self) -> str:
        """The line as the new text has it."""
        return "".join(piece.text for piece in self.pieces if piece.kind != "delete")

    @property
    def segments(self) -> list[Piece | Gap]:
        """The pieces with long unchanged stretches folded away: a prompt is often one paragraph, that is one line."""
        found: list[Piece | Gap] = []
        for index, piece in enumerate(self.pieces):
            if piece.kind != "equal" or len(piece.text) < LONG_STRETCH:
                found.append(piece)
                continue
            # The beginning and the end of a line that did not change at all help to find one's place.
            start = _word_end(piece.text, STRETCH_CONTEXT) if index or self.kind == "equal" else 0
            last = index == len(self.pieces) - 1
            end = len(piece.text) - _word_end(piece.text[::-1], STRETCH_CONTEXT) if not last else len(piece.text)
            found += [Piece("equal", piece.text[:start])] if start else []
            found.append(Gap(piece.text[start:end], number=index))
            found += [Piece("equal", piece.text[end:])] if end < len(piece.text) else []
        return found

    @property
    def new_segments(self) -> list[Piece | Gap]:
        """Those that the new text has."""
        return [segment for segment in self.segments if segment.kind != "delete"]

    @property
    def mark(self) -> str:
        """The sign in the margin."""
        return {"equal": "", "insert": "+", "delete": "−", "change": "±"}[self.kind]


class Block(NamedTuple):
    """Items that both sides have (`equal`), or those that one side has where the other has others."""

    equal: bool
    old: list[str]
    new: list[str]


@dataclass(frozen=True, slots=True)
class Fold:
    """A run of lines that is not shown at first; `lines` is empty where they are left out for good."""

    label: str
    lines: tuple[DiffLine, ...] = ()
    kind: Literal["fold"] = "fold"


def diff_lines(old: str, new: str) -> list[DiffLine]:
    """The lines of both texts in reading order.

    The old sides of all lines but the inserted ones, joined by newlines, are `old`; the new sides of all but the
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
    """The lines with unchanged runs folded away, but for `context` lines around changes; at most `MAX_ROWS`."""
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
    """How much differs, such as "2 lines changed, 1 added" or "No changes"."""
    counts = Counter[str](line.kind for line in lines)
    words = (("change", "changed"), ("insert", "added"), ("delete", "removed"))
    parts = [(counts[kind], word) for kind, word in words if counts[kind]]
    if not parts:
        return "No changes"
    first, word = parts[0]
    return ", ".join([f"{first:,} line{'' if first == 1 else 's'} {word}", *(f"{n:,} {word}" for n, word in parts[1:])])


def marked(old: str, new: str, budget: Budget) -> tuple[Piece, ...]:
    """The new text, with the words marked (`insert`) that the old one does not have in this order.

    White space is not compared. As many words as possible are left unmarked.
    """
    # As if both ends were shared, so that blank ends are never marked.
    shared = [True, *_shared(VISIBLE.findall(old), VISIBLE.findall(new), budget), True]
    spans = [(0, 0), *(found.span() for found in VISIBLE.finditer(new)), (len(new), len(new))]
    pieces: list[Piece] = []
    start = 0
    for place in range(1, len(shared)):
        if shared[place] != shared[place - 1]:
            # The white space between belongs to what is not marked.
            end = spans[place - 1][1] if shared[place] else spans[place][0]
            if end > start:
                pieces.append(Piece("equal" if shared[place - 1] else "insert", new[start:end]))
            start = end
    if start < len(new):
        pieces.append(Piece("equal", new[start:]))
    return tuple(pieces)


def _shared(old: list[str], new: list[str], budget: Budget) -> list[bool]:
    """Which items of `new` belong to a longest common subsequence; without budget, those at both ends alone.

    Bit-parallel (Hyyrö 2004, "Bit-parallel LCS-length computation revisited"): the bit of an item is 0 in the row of an
    old item from where on the common subsequence up to both is longer by one. Ten times as fast as difflib.
    """
    start, end = _ends(old, new)
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    found = [False] * len(new)
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
                found[j] = True
    return [True] * start + found + [True] * end


def _ends(old: list[str], new: list[str]) -> tuple[int, int]:
    """How many items are the same at the beginning, and how many of the others at the end."""
    shorter = min(len(old), len(new))
    start = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    end = next((i for i in range(shorter - start) if old[-1 - i] != new[-1 - i]), shorter - start)
    return start, end


def _word_end(text: str, start: int) -> int:
    """The place of the first white space from `start` on, if it is not far; else `start`."""
    match = re.compile(r"\s").search(text, start, start + STRETCH_CONTEXT)
    return match.start() if match else start


class Budget:
    """How many steps of comparing may still be taken, 0.15 microseconds each at most."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, old: Sequence[str], new: Sequence[str]) -> bool:
        """Whether there is enough left to match these in the worst case; if so, it is spent."""
        counts = Counter(new)
        pairs = sum(counts[item] for item in old)
        # One search goes once through `old` and its equal pairs; there are at most as many searches as matches.
        steps = pairs + len(old) * min(pairs, len(old), len(new))
        return self.take(steps)

    def take(self, steps: int) -> bool:
        """Whether there are so many left; if so, they are spent."""
        if steps > self.left:
            return False
        self.left -= steps
        return True


def _whole(kind: Literal["equal", "insert", "delete"], text: str) -> DiffLine:
    return DiffLine(kind, (Piece(kind, text),) if text else ())


def match(old: list[str], new: list[str], budget: Budget) -> list[Block]:
    """Blocks of equal and of differing items in order, neighbors of one kind merged.

    Where the budget does not allow difflib for all of it, only items that occur once on both sides are matched, and
    difflib does what it can between them.
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
    """The longest chain of (old index, new index), rising in both, of items that occur once in each."""
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
    """Pairs lines that are alike, in order; the others are removed or added."""
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
    """The in-order pairs of lines with the greatest total likeness."""
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
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < len(olds) and j < len(news):
        if score[i][j] >= ALIKE and best[i][j] == score[i][j] + best[i + 1][j + 1]:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return found


def likeness(a: Counter[str], b: Counter[str]) -> float:
    """The share of words that two lines have in common, 0 to 1; lines without words are not alike."""
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 0.0


def _changed_line(old: str, new: str, budget: Budget) -> DiffLine:
    """One line with its words compared."""
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
            # A lone space between two changes belongs to both: one long change reads better than many short ones.
            removed += text
            added += "".join(news)
    return DiffLine("change", (*pieces, *_exchange(removed, added)))


def _exchange(removed: str, added: str) -> list[Piece]:
    found = [Piece("delete", removed)] if removed else []
    return [*found, Piece("insert", added)] if added else found
