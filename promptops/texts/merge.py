"""Three-way merge of prompts: what two people made of one text, put together by sentences and words.

The scheme is diff3's, as Khanna, Kunal and Pierce describe it ("A Formal Investigation of Diff3", FSTTCS 2007): compare
the base with either side, cut it where both left it alone, and look at each stretch between two cuts. One changed by
one side alone takes that side's text, one that both changed alike takes it once, any other is contested. Unlike diff3
this compares sentences and, inside changed ones, words: a prompt is often one paragraph.

Between the edits of two sides there must stand at least one unchanged word, sign or line break; with only a space in
between ("soft light" became "hard light" here and "soft shade" there) they are contested: they are about one thing.
So are two insertions in one place, whose order nobody knows.

Pure and bounded: each side costs at most `MAX_STEPS` steps (see promptops.texts.diffs); where that is too little, whole
sentences, or all between the first and the last difference, count as replaced. That asks more, and loses nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from promptops.texts.diffs import ALIKE, MAX_BLOCK, WORD, Budget, alike, likeness, match

Kind = Literal["same", "mine", "theirs", "agreed", "contested"]

MAX_STEPS = 500_000
# Comparing two sentences takes about as long as this many steps.
PAIR_STEPS = 30
# In large blocks a sentence looks for its counterpart among this many.
NEARBY = 6
# With more contested passages than anybody would go through, they are asked as one.
MAX_CONTESTED = 50

ENDS = frozenset(".!?…")
# These end a sentence without a space after them.
FULL_WIDTH_ENDS = frozenset("。！？")
CLOSERS = frozenset("\"'”’»)]」』")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of text, or a setting, as the base and both sides have it.

    `kind`: nobody changed it (`same`), one side did (`mine`, `theirs`), both did alike (`agreed`) or differently.
    """

    base: Any
    mine: Any
    theirs: Any

    @property
    def kind(self) -> Kind:
        if self.mine == self.theirs:
            return "same" if self.mine == self.base else "agreed"
        if self.theirs == self.base:
            return "mine"
        return "theirs" if self.mine == self.base else "contested"

    @property
    def choices(self) -> dict[str, Any]:
        """What a contested part can become, by choice: `mine`, `theirs`, and of two texts `both`, mine first."""
        found = {"mine": self.mine, "theirs": self.theirs}
        if self.mine and self.theirs and isinstance(self.mine, str) and isinstance(self.theirs, str):
            space = "" if self.mine[-1].isspace() or self.theirs[0].isspace() else " "
            found["both"] = self.mine + space + self.theirs
        return found

    @property
    def merged(self) -> Any:
        """What an uncontested part becomes."""
        return self.theirs if self.kind == "theirs" else self.mine


@dataclass(frozen=True, slots=True)
class Merge:
    """A merged prompt: the text in parts, in order, and its settings by name.

    Contested parts of the text are called "1", "2" ... in order, contested settings by their names.
    """

    parts: tuple[Part, ...]
    settings: dict[str, Part]

    @property
    def contested(self) -> dict[str, Part]:
        """All that somebody has to decide, by name."""
        passages = [part for part in self.parts if part.kind == "contested"]
        numbered = {str(number): part for number, part in enumerate(passages, 1)}
        return numbered | {name: part for name, part in self.settings.items() if part.kind == "contested"}

    def undecided(self, chosen: Mapping[str, str]) -> list[str]:
        """The names of the contested parts for which nothing, or nothing possible, was chosen."""
        return [name for name, part in self.contested.items() if chosen.get(name) not in part.choices]

    def content(self, chosen: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The merged text (`body`) and settings. Raises ValueError while something contested is not decided."""
        chosen = chosen or {}
        if undecided := self.undecided(chosen):
            raise ValueError(f"Not decided: {', '.join(undecided)}")
        decided = {id(part): part.choices[chosen[name]] for name, part in self.contested.items()}
        body = "".join(decided.get(id(part), part.merged) for part in self.parts)
        return {"body": body} | {name: decided.get(id(part), part.merged) for name, part in self.settings.items()}


def merge(base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Merge:
    """Put together two contents (`body` and settings, the same names in all three) that both began from `base`.

    Blank ends of bodies do not count. A setting is one value.
    """
    parts = merge_texts(*(content["body"].strip() for content in (base, mine, theirs)))
    settings = {name: Part(base[name], mine[name], theirs[name]) for name in base if name != "body"}
    return Merge(tuple(parts), settings)


def merge_texts(base: str, mine: str, theirs: str) -> list[Part]:
    """The parts of the merged text in order: the bases of all, joined, are `base`; so with the other two.

    Swapping the sides swaps them in every part and changes nothing else.
    """
    sentences = _sentences(base)
    words = _flat(sentences)
    edits = [
        _Edit(start, end, side, text)
        for side, changed in enumerate((mine, theirs))
        for start, end, text in _edits(sentences, _sentences(changed), Budget(MAX_STEPS))
    ]
    edits.sort(key=attrgetter("start", "end"))
    groups = [_Group(group) for group in _grouped(words, edits)]
    contested = [index for index, group in enumerate(groups) if group.part(words).kind == "contested"]
    if len(contested) > MAX_CONTESTED:
        first, last = contested[0], contested[-1]
        together = [edit for group in groups[first : last + 1] for edit in group.edits]
        groups[first : last + 1] = [_Group(together)]
    parts = []
    at = 0
    for group in groups:
        if text := "".join(words[at : group.start]):
            parts.append(Part(text, text, text))
        parts.append(group.part(words))
        at = group.end
    if text := "".join(words[at:]):
        parts.append(Part(text, text, text))
    return parts


class _Edit(NamedTuple):
    """The words from `start` to `end` of the base became `text` on a side: 0 mine, 1 theirs."""

    start: int
    end: int
    side: int
    text: str


class _Group:
    """Edits that touch each other, in order."""

    def __init__(self, edits: Sequence[_Edit]) -> None:
        self.edits = edits
        self.start = edits[0].start
        self.end = max(edit.end for edit in edits)

    def part(self, words: Sequence[str]) -> Part:
        """What the stretch of the base from `start` to `end` is on either side."""
        texts = []
        for side in (0, 1):
            at, text = self.start, ""
            for edit in self.edits:
                if edit.side == side:
                    text += "".join(words[at : edit.start]) + edit.text
                    at = edit.end
            texts.append(text + "".join(words[at : self.end]))
        return Part("".join(words[self.start : self.end]), *texts)


def _grouped(words: Sequence[str], edits: Sequence[_Edit]) -> Iterator[list[_Edit]]:
    """The edits, in groups with something unchanged between them that is more than a space."""
    group: list[_Edit] = []
    end = 0
    for edit in edits:
        if group and edit.start > end and any(_parts_edits(word) for word in words[end : edit.start]):
            yield group
            group = []
        end = max(end, edit.end) if group else edit.end
        group.append(edit)
    if group:
        yield group


def _parts_edits(word: str) -> bool:
    return "\n" in word or not word.isspace()


def _sentences(text: str) -> list[list[str]]:
    """The words, signs and spaces of the text by sentence, each with the space after it; a line break ends one too."""
    found: list[list[str]] = []
    sentence: list[str] = []
    end = ""
    for word in WORD.findall(text):
        space = word.isspace()
        if end in FULL_WIDTH_ENDS and not (space or word in CLOSERS or word in FULL_WIDTH_ENDS):
            found.append(sentence)
            sentence, end = [], ""
        sentence.append(word)
        if space and (end or "\n" in word):
            found.append(sentence)
            sentence, end = [], ""
        elif word in ENDS or word in FULL_WIDTH_ENDS:
            end = word
        elif word not in CLOSERS:
            end = ""
    return [*found, sentence] if sentence else found


def _flat(sentences: list[list[str]]) -> list[str]:
    return list(chain.from_iterable(sentences))


def _edits(base: list[list[str]], changed: list[list[str]], budget: Budget) -> Iterator[tuple[int, int, str]]:
    """What turns the base's sentences into the others: (start, end, text) counted in words of the base, in order."""
    olds, news = (["".join(sentence).strip() for sentence in sentences] for sentences in (base, changed))
    i = j = at = 0
    for equal, old, new in match(olds, news, budget):
        end_i, end_j = i + len(old), j + len(new)
        # Equal sentences may still differ in the space after them.
        pairs = [(n, n) for n in range(len(old))] if equal else _counterparts(old, new, budget)
        for old_index, new_index in [*((i + a, j + b) for a, b in pairs), (end_i, end_j)]:
            removed, added = _flat(base[i:old_index]), _flat(changed[j:new_index])
            yield from _whole(at, removed, added)
            at += len(removed)
            if old_index < end_i:
                yield from _word_edits(at, base[old_index], changed[new_index], budget)
                at += len(base[old_index])
            i, j = old_index + 1, new_index + 1
        i, j = end_i, end_j


def _counterparts(olds: Sequence[str], news: Sequence[str], budget: Budget) -> list[tuple[int, int]]:
    """Which of these sentences became which, in order; what is in no pair was removed or added."""
    pairs = len(olds) * len(news)
    if pairs <= MAX_BLOCK and budget.take(pairs * PAIR_STEPS):
        return alike(olds, news)
    if not budget.take(len(olds) * NEARBY * PAIR_STEPS):
        return []
    # Too many for each with each: each with the few that come next.
    old_words, new_words = ([Counter(re.findall(r"\w+", text)) for text in texts] for texts in (olds, news))
    found = []
    j = 0
    for i, words in enumerate(old_words):
        likest = max(range(j, min(j + NEARBY, len(news))), key=lambda k: likeness(words, new_words[k]), default=None)
        if likest is not None and likeness(words, new_words[likest]) >= ALIKE:
            found.append((i, likest))
            j = likest + 1
    return found


def _word_edits(at: int, old: list[str], new: list[str], budget: Budget) -> Iterator[tuple[int, int, str]]:
    """What turns one sentence into another, word by word; `at` is where it begins."""
    for equal, olds, news in match(old, new, budget):
        if not equal:
            yield at, at + len(olds), "".join(news)
        at += len(olds)


def _whole(at: int, old: list[str], new: list[str]) -> Iterator[tuple[int, int, str]]:
    """Other sentences in place of these, as one edit of all but what both begin and end with."""
    shorter = min(len(old), len(new))
    start = next((n for n in range(shorter) if old[n] != new[n]), shorter)
    end = next((n for n in range(shorter - start) if old[-1 - n] != new[-1 - n]), shorter - start)
    if start + end < max(len(old), len(new)):
        yield at + start, at + len(old) - end, "".join(new[start : len(new) - end])
