"""Three-way merge of prompts: the edits that two people made to one text, merged by sentences and words.

The method is that of diff3, as Khanna, Kunal and Pierce describe it ("A Formal Investigation of Diff3", FSTTCS 2007):
compare the base with each side, cut it where both sides are unchanged, and look at each passage between two cuts. A
passage that one side changed becomes that side's text. A passage that both sides changed in the same way is taken once.
Any other passage is contested. Unlike diff3, this module compares sentences and the words inside changed sentences,
because a prompt is often one paragraph.

The edits of two sides must have at least one unchanged word, sign or line break between them. With only a space between
them ("soft light" became "hard light" here and "soft shade" there) they are contested, because they concern the same
thing. Two insertions at one place are contested too, because their order is unknown.

Pure and bounded: each side costs at most `MAX_STEPS` steps (see `texts.diffs`). For larger texts, whole sentences, or
everything between the first and the last difference, count as replaced. Then people decide more, and nothing is lost.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from promptops.texts.diffs import ALIKE, MAX_BLOCK, WORD, Budget, alike, likeness, match

Kind = Literal["same", "mine", "theirs", "agreed", "contested"]

MAX_STEPS = 500_000
# Comparing two sentences costs about this many steps.
PAIR_STEPS = 30
# In large blocks, a sentence is compared with this many possible counterparts.
NEARBY = 6
# More contested passages than this become one, because nobody would decide them one by one.
MAX_CONTESTED = 50

ENDS = frozenset(".!?…")
# These end a sentence without a space after them.
FULL_WIDTH_ENDS = frozenset("。！？")
CLOSERS = frozenset("\"'”’»)]」』")


@dataclass(frozen=True, slots=True)
class Part:
    """A passage of text, or a setting, in the base and on both sides.

    `kind`: nobody changed it (`same`), one side did (`mine`, `theirs`), both made the same change (`agreed`), or both
    made different changes (`contested`).
    """

    base: Any
    mine: Any
    theirs: Any
    is_setting: bool = field(default=False, kw_only=True)

    @property
    def kind(self) -> Kind:
        if self.mine == self.theirs:
            return "same" if self.mine == self.base else "agreed"
        if self.theirs == self.base:
            return "mine"
        return "theirs" if self.mine == self.base else "contested"

    @property
    def choices(self) -> dict[str, Any]:
        """Return the results of a contested part by choice: `mine`, `theirs`, and for texts `both`, mine first."""
        results = {"mine": self.mine, "theirs": self.theirs}
        are_texts = isinstance(self.mine, str) and isinstance(self.theirs, str)
        if are_texts and not self.is_setting and self.mine and self.theirs:
            space = "" if self.mine[-1].isspace() or self.theirs[0].isspace() else " "
            results["both"] = self.mine + space + self.theirs
        return results

    @property
    def merged(self) -> Any:
        """Return the result of an uncontested part."""
        return self.theirs if self.kind == "theirs" else self.mine


@dataclass(frozen=True, slots=True)
class Merge:
    """A merged prompt: the parts of the text in order, and the settings by name.

    Contested parts of the text are named "1", "2" and so on in order, contested settings by their own names.
    """

    parts: tuple[Part, ...]
    settings: dict[str, Part]

    @property
    def contested(self) -> dict[str, Part]:
        """Return the contested parts, which a person has to decide, by name."""
        passages = [part for part in self.parts if part.kind == "contested"]
        numbered = {str(number): part for number, part in enumerate(passages, 1)}
        return numbered | {name: part for name, part in self.settings.items() if part.kind == "contested"}

    def undecided(self, chosen: Mapping[str, str]) -> list[str]:
        """Return the names of the contested parts without a valid choice."""
        return [name for name, part in self.contested.items() if chosen.get(name) not in part.choices]

    def content(self, chosen: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the merged text (`body`) and settings. Raises ValueError while a contested part is not decided."""
        chosen = chosen or {}
        if undecided := self.undecided(chosen):
            raise ValueError(f"Not decided: {', '.join(undecided)}")
        decided = {id(part): part.choices[chosen[name]] for name, part in self.contested.items()}
        body = "".join(decided.get(id(part), part.merged) for part in self.parts)
        return {"body": body} | {name: decided.get(id(part), part.merged) for name, part in self.settings.items()}


def merge(base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Merge:
    """Merge two contents that both started from `base`. All three have `body` and the same settings.

    Blank ends of bodies are ignored. A setting is merged as one value.
    """
    parts = merge_texts(*(content["body"].strip() for content in (base, mine, theirs)))
    settings = {name: Part(base[name], mine[name], theirs[name], is_setting=True) for name in base if name != "body"}
    return Merge(tuple(parts), settings)


def merge_texts(base: str, mine: str, theirs: str) -> list[Part]:
    """Return the parts of the merged text in order. Their bases, joined, are `base`; the same is true of both sides.

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
    """An edit: the words from `start` to `end` of the base became `text` on one side (0 mine, 1 theirs)."""

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
        """Return the passage from `start` to `end` of the base and its text on both sides."""
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
    """Yield the edits in groups that have something unchanged between them, other than a space."""
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
    """Return words, signs and spaces by sentence, with the space after it. A line break ends a sentence too."""
    sentences: list[list[str]] = []
    sentence: list[str] = []
    end = ""
    for word in WORD.findall(text):
        space = word.isspace()
        if end in FULL_WIDTH_ENDS and not (space or word in CLOSERS or word in FULL_WIDTH_ENDS):
            sentences.append(sentence)
            sentence, end = [], ""
        sentence.append(word)
        if space and (end or "\n" in word):
            sentences.append(sentence)
            sentence, end = [], ""
        elif word in ENDS or word in FULL_WIDTH_ENDS:
            end = word
        elif word not in CLOSERS:
            end = ""
    return [*sentences, sentence] if sentence else sentences


def _flat(sentences: list[list[str]]) -> list[str]:
    return list(chain.from_iterable(sentences))


def _edits(base: list[list[str]], changed: list[list[str]], budget: Budget) -> Iterator[tuple[int, int, str]]:
    """Yield the edits that change the base into the other text: (start, end, text) in words of the base, in order."""
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
    """Return the pairs of sentences that correspond, in order. Sentences without a pair were removed or added."""
    count = len(olds) * len(news)
    if count <= MAX_BLOCK and budget.take(count * PAIR_STEPS):
        return alike(olds, news)
    if not budget.take(len(olds) * NEARBY * PAIR_STEPS):
        return []
    # There are too many sentences to compare all pairs, so each is compared with the next few.
    old_words, new_words = ([Counter(re.findall(r"\w+", text)) for text in texts] for texts in (olds, news))
    pairs = []
    j = 0
    for i, words in enumerate(old_words):
        likest = max(range(j, min(j + NEARBY, len(news))), key=lambda k: likeness(words, new_words[k]), default=None)
        if likest is not None and likeness(words, new_words[likest]) >= ALIKE:
            pairs.append((i, likest))
            j = likest + 1
    return pairs


def _word_edits(at: int, old: list[str], new: list[str], budget: Budget) -> Iterator[tuple[int, int, str]]:
    """Yield the edits, word by word, that change one sentence into another. `at` is its first word."""
    for equal, olds, news in match(old, new, budget):
        if not equal:
            yield at, at + len(olds), "".join(news)
        at += len(olds)


def _whole(at: int, old: list[str], new: list[str]) -> Iterator[tuple[int, int, str]]:
    """Yield one edit that replaces these sentences, without the words that are equal at the start and at the end."""
    shorter = min(len(old), len(new))
    start = next((n for n in range(shorter) if old[n] != new[n]), shorter)
    end = next((n for n in range(shorter - start) if old[-1 - n] != new[-1 - n]), shorter - start)
    if start + end < max(len(old), len(new)):
        yield at + start, at + len(old) - end, "".join(new[start : len(new) - end])
