"""Patterns of a JSON Schema, searched in linear time. Schemas and limits of answers do not belong here.

Python's `re` tries the ways to match one after the other. For some patterns, such as `(a+)+$`, their number doubles
with each character, and nothing can stop the search. This module follows all ways at once, character by character, as
described in Russ Cox, "Regular Expression Matching Can Be Simple And Fast" (2007), and stores the moves that it has
seen. Parts that cannot be searched this way (back references, looks ahead or behind) are refused with the schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

# Private, and the same in Python 3.11 to 3.13: the parser of `re` and the names of its nodes.
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, TypeAlias

MAX_CHARACTERS = 500
"""The most characters of a pattern."""

MAX_STEPS = 1000
"""The most steps of a pattern after its repetitions are written out: `a{50}` has 50."""

MAX_MOVES = 20_000
"""The most stored moves of one pattern. They take about 2 MiB. Then the pattern forgets them and begins again."""

STEPS_PER_UNIT = 20
"""The steps that cost as much as one unit of work of a check."""

CHARACTERS_PER_UNIT = 50
"""The characters of a search that cost as much as one unit of work."""

Spend: TypeAlias = Callable[[int], None]
_Test: TypeAlias = Callable[[str], bool]

_REFUSED = {
    "GROUPREF": "a back reference",
    "GROUPREF_EXISTS": "a condition",
    "ASSERT": "a look ahead or behind",
    "ASSERT_NOT": "a look ahead or behind",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive repetition",
}
_CATEGORIES: dict[Any, _Test] = {
    sre.CATEGORY_DIGIT: str.isdecimal,
    sre.CATEGORY_NOT_DIGIT: lambda char: not char.isdecimal(),
    sre.CATEGORY_SPACE: str.isspace,
    sre.CATEGORY_NOT_SPACE: lambda char: not char.isspace(),
    sre.CATEGORY_WORD: lambda char: _is_word(char),
    sre.CATEGORY_NOT_WORD: lambda char: not _is_word(char),
}


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


class _State:
    """The steps that a search has reached before a character, and what it needs to know about the character before."""

    __slots__ = ("after_word", "at_start", "moves", "steps")

    def __init__(self, steps: frozenset[int], at_start: bool, after_word: bool) -> None:
        self.steps = steps
        self.at_start = at_start
        self.after_word = after_word
        self.moves: dict[str, _State | None] = {}


class Pattern:
    """A pattern that is searched in linear time. Raises `ValueError` for one that is invalid, too long or refused.

    The syntax is Python's. `$` matches only at the end, as in JavaScript. Safe to use from several threads: they may
    compute the same move twice, and the result is the same.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"has {len(text)} characters, and a pattern has at most {MAX_CHARACTERS}")
        try:
            tree = parser.parse(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is invalid: {error}") from None
        if tree.state.flags & ~int(re.UNICODE):
            raise ValueError("has a flag, such as (?i)")
        self._steps: list[tuple[Any, ...]] = []
        self._write(tree)
        self._add("match")
        self._forget()

    def found_in(self, text: str, spend: Spend = lambda units: None) -> bool:
        """Return whether the pattern matches anywhere in `text`. `spend` counts units of work, and may raise."""
        spend(1 + len(text) // CHARACTERS_PER_UNIT)
        state = self._start
        for char in text:
            try:
                following = state.moves[char]
            except KeyError:
                following = self._move(state, char, spend)
            if following is None:
                return True
            state = following
        return self._closure(state, None)[1]

    # The steps of the pattern

    def _add(self, *step: Any) -> int:
        if len(self._steps) >= MAX_STEPS:
            raise ValueError(f"has more than {MAX_STEPS} steps when its repetitions are written out")
        self._steps.append(step)
        return len(self._steps) - 1

    def _write(self, nodes: Iterable[tuple[Any, Any]]) -> None:
        for kind, value in nodes:
            if kind is sre.SUBPATTERN:
                _, added, removed, inner = value
                if added or removed:
                    raise ValueError("has a flag, such as (?i)")
                self._write(inner)
            elif kind is sre.BRANCH:
                self._branch(value[1])
            elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
                self._repeat(*value)
            elif kind is sre.AT:
                self._add("at", _place(value))
            else:
                self._add("char", _test(kind, value))

    def _branch(self, branches: list[Any]) -> None:
        jumps = []
        for branch in branches[:-1]:
            split = self._add("split", 0, 0)
            self._write(branch)
            jumps.append(self._add("jump", 0))
            self._steps[split] = ("split", split + 1, len(self._steps))
        self._write(branches[-1])
        for jump in jumps:
            self._steps[jump] = ("jump", len(self._steps))

    def _repeat(self, least: int, most: Any, inner: Any) -> None:
        for _ in range(min(least, MAX_STEPS)):
            before = len(self._steps)
            self._write(inner)
            if len(self._steps) == before:  # a repetition of nothing
                return
        if most is sre.MAXREPEAT:
            split = self._add("split", 0, 0)
            self._write(inner)
            self._add("jump", split)
            self._steps[split] = ("split", split + 1, len(self._steps))
            return
        splits = []
        for _ in range(min(most - least, MAX_STEPS)):
            splits.append(self._add("split", 0, 0))
            self._write(inner)
        for split in splits:
            self._steps[split] = ("split", split + 1, len(self._steps))

    # The search

    def _forget(self) -> None:
        self._start = _State(frozenset((0,)), True, False)
        self._states: dict[tuple[frozenset[int], bool], _State] = {}
        self._stored = 0

    def _move(self, state: _State, char: str, spend: Spend) -> _State | None:
        """Return the state after `char`, or `None` if the pattern has matched before it."""
        reached, matched = self._closure(state, char)
        spend(1 + len(reached) // STEPS_PER_UNIT)
        following: _State | None = None
        if not matched:
            steps = {at + 1 for at in reached if self._steps[at][0] == "char" and self._steps[at][1](char)}
            key = frozenset((*steps, 0)), _is_word(char)
            following = self._states.get(key)
            if following is None:
                following = self._states[key] = _State(key[0], False, key[1])
        self._stored += 1
        if self._stored > MAX_MOVES:
            self._forget()
        else:
            state.moves[char] = following
        return following

    def _closure(self, state: _State, char: str | None) -> tuple[set[int], bool]:
        """Return the steps that are reached without a character, before `char` or the end, and whether one matches."""
        reached: set[int] = set()
        waiting = list(state.steps)
        while waiting:
            at = waiting.pop()
            if at in reached:
                continue
            reached.add(at)
            step = self._steps[at]
            if step[0] == "match":
                return reached, True
            if step[0] in ("split", "jump"):
                waiting += step[1:]
            elif step[0] == "at" and self._is_at(step[1], state, char):
                waiting.append(at + 1)
        return reached, False

    @staticmethod
    def _is_at(place: str, state: _State, char: str | None) -> bool:
        if place == "start":
            return state.at_start
        if place == "end":
            return char is None
        is_boundary = state.after_word != (char is not None and _is_word(char))
        return is_boundary == (place == "boundary")


def _place(value: Any) -> str:
    if value in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
        return "start"
    if value in (sre.AT_END, sre.AT_END_STRING):
        return "end"
    return "boundary" if value is sre.AT_BOUNDARY else "no boundary"


def _test(kind: Any, value: Any) -> _Test:
    """Return the test of one character. Raises `ValueError` for a part that is refused."""
    if kind is sre.LITERAL:
        return chr(value).__eq__
    if kind is sre.NOT_LITERAL:
        return chr(value).__ne__
    if kind is sre.ANY:
        return "\n".__ne__
    if kind is sre.RANGE:
        first, last = value
        return lambda char: first <= ord(char) <= last
    if kind is sre.CATEGORY:
        return _CATEGORIES[value]
    if kind is sre.IN:
        negated = value[0][0] is sre.NEGATE
        tests = [_test(*one) for one in value[negated:]]
        return lambda char: any(test(char) for test in tests) is not negated
    raise ValueError(f"has {_REFUSED.get(str(kind), 'a part that is not supported')}")


@lru_cache(maxsize=1024)
def pattern(text: str) -> Pattern:
    """Return the compiled pattern of `text`. Raises `ValueError` like `Pattern`."""
    return Pattern(text)
