"""Find the JSON in a model's answer, and read it. What the JSON must contain belongs to `schemas.py`.

The search reads an answer once, from left to right. It skips prose, code fences and brackets that begin no JSON. It
accepts line breaks inside texts and a comma before a closing bracket, because models write both.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeAlias

from promptops.engine.contracts.words import short

MAX_BYTES = 256 * 1024
"""The most bytes of an answer in JSON, as UTF-8."""

MAX_DEPTH = 64
"""The most nested objects and lists."""

MAX_VALUES = 10_000
"""The most values: objects, lists, texts, numbers, true, false and null. Keys do not count."""

MAX_STARTS = 1_000
"""The most brackets at which the search expects JSON. Prose has a few."""

MAX_DIGITS = 300
"""The most digits of a whole number. A larger one is no number for most readers of JSON."""

Opening: TypeAlias = Literal["{", "["]

_OPENING = re.compile(r"[{\[]")
# The possessive quantifiers (`*+`) keep the time linear where no token is found.
_TOKEN = re.compile(
    r"[ \t\r\n]*+([{}\[\],:]|\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\""
    r"|(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null|NaN|-?Infinity)(?![\w.+-]))",
    re.S,
)
_SPACE = re.compile(r"[ \t\r\n]*+")
_CUT_OFF = re.compile(r"[-+\w.]{0,400}+\Z")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]|\\u(?:0000|[dD][89a-fA-F])")
_CONTROL = re.compile(r"[\x00-\x1f]")

_VALUE, _VALUE_OR_END, _KEY, _KEY_OR_END, _COLON, _NEXT = range(6)


class Unreadable(ValueError):
    """The answer has no JSON that can be checked. The message is a sentence without capital and full stop."""


@dataclass(frozen=True)
class Found:
    """The JSON of an answer. `text` is valid JSON, `data` its value, `visited` the characters that the search read."""

    text: str
    data: Any
    visited: int


def find_json(answer: str, opening: Opening | None = None) -> Found:
    """Return the first complete object or list of `answer`: with `opening`, the first that begins with it, if any does.

    Raises `Unreadable` for an answer without complete JSON, over a limit, or with JSON that readers understand in
    different ways: a key that appears twice, NaN, or half a character.
    """
    if len(answer) > MAX_BYTES // 4 and len(answer.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise Unreadable(f"the answer has more than {MAX_BYTES // 1024} KiB")
    search = _Search(answer)
    span = search.find(opening)
    if span is None:
        raise Unreadable(_missing(opening) if search.broken_off is None else f"the JSON breaks off {search.broken_off}")
    return Found(*_read(span, answer), search.visited)


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    commas: tuple[int, ...]  # the places of commas before a closing bracket


class _Search:
    """One pass over an answer."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.visited = 0
        self.broken_off: str | None = None
        self._at = 0

    def find(self, opening: Opening | None) -> _Span | None:
        first: _Span | None = None
        for _ in range(MAX_STARTS):
            bracket = _OPENING.search(self.text, self._at)
            self.visited += (bracket.start() if bracket else len(self.text)) - self._at
            if bracket is None:
                break
            span = self._take(bracket.start())
            if span is not None:
                if opening is None or self.text[span.start] == opening:
                    return span
                first = first or span
            elif self.broken_off is not None:
                return None
        return first

    def _take(self, start: int) -> _Span | None:
        """Return the JSON that begins at `start`, or `None`. Either way the search continues behind the read part.

        Nothing is read twice: after a wrong token the search continues at that token, which belongs to no JSON yet.
        """
        text, at, state = self.text, start, _VALUE
        stack: list[str] = []
        commas: list[int] = []
        comma, values = -1, 0
        while True:
            match = _TOKEN.match(text, at)
            mark = match[1][0] if match else ""
            closing = "}" if stack and stack[-1] == "{" else "]"
            if mark in ("{", "[") and match and state in (_VALUE, _VALUE_OR_END):
                stack.append(mark)
                values += 1
                state = _KEY_OR_END if mark == "{" else _VALUE_OR_END
            elif stack and mark == closing and match and self._may_close(state, comma):
                if comma >= 0:
                    commas.append(comma)
                stack.pop()
                state = _NEXT
            elif mark == "," and match and state == _NEXT:
                state = _VALUE if closing == "]" else _KEY
            elif mark == ":" and state == _COLON:
                state = _VALUE
            elif mark == '"' and state in (_KEY, _KEY_OR_END):
                state = _COLON
            elif mark and mark not in ",:{}[]" and state in (_VALUE, _VALUE_OR_END):
                values += 1
                state = _NEXT
            else:
                self._stop(start, at, match is None, len(stack))
                return None
            assert match is not None
            at = match.end()
            comma = at - 1 if mark == "," else -1
            if len(stack) > MAX_DEPTH:
                raise Unreadable(f"the answer has more than {MAX_DEPTH} levels")
            if values > MAX_VALUES:
                raise Unreadable(f"the answer has more than {MAX_VALUES:,} values")
            if not stack:
                self.visited += at - start
                self._at = at
                return _Span(start, at, tuple(commas))

    @staticmethod
    def _may_close(state: int, comma: int) -> bool:
        return state in (_NEXT, _VALUE_OR_END, _KEY_OR_END) or comma >= 0

    def _stop(self, start: int, at: int, is_unknown: bool, depth: int) -> None:
        """Go on at the wrong token. If the answer ends inside the JSON, or inside one of its texts, nothing is left."""
        space = _SPACE.match(self.text, at)
        at = space.end() if space else at
        if is_unknown and (at == len(self.text) or self.text[at] == '"' or _CUT_OFF.match(self.text, at)):
            self.broken_off = f"inside {depth} open bracket{'s' if depth > 1 else ''}"
        self._at = max(at, start + 1)
        self.visited += self._at - start


def _missing(opening: Opening | None) -> str:
    kind = {None: "object or list", "{": "object", "[": "list"}[opening]
    return f"the answer has no complete JSON {kind}"


def _read(span: _Span, answer: str) -> tuple[str, Any]:
    """Return the JSON of a span as strictly valid text, and its value."""
    text = answer[span.start : span.end]
    if span.commas:
        starts = [span.start, *(at + 1 for at in span.commas)]
        text = "".join(answer[start:end] for start, end in zip(starts, [*span.commas, span.end], strict=True))
    try:
        data = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"the JSON is invalid: {error.msg} at line {error.lineno}, column {error.colno}") from None
    if _UNSTORABLE.search(text):
        _refuse_unstorable(data)
    if span.commas or _CONTROL.search(text):
        # Line breaks between values are valid, but the text is rarely long, and telling them apart takes as long.
        text = json.dumps(data, ensure_ascii=False)
    return text, data


def _refuse_unstorable(data: Any) -> None:
    """Refuse NUL and halves of characters: JSON can write them, and databases cannot store them."""
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
            raise Unreadable("the JSON has a character that cannot be stored: NUL, or half of a character")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Unreadable(f"the key {short(key)} appears twice in one object")
            seen.add(key)
    return fields


def _constant(name: str) -> NoReturn:
    raise Unreadable(f"the JSON has {name}, which is no number in JSON")


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise Unreadable(f"the JSON has a number with {len(digits)} digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise Unreadable(f"the JSON has a number that is too large: {short(digits)}")
    return value


_DECODER = json.JSONDecoder(
    strict=False, object_pairs_hook=_unique, parse_constant=_constant, parse_int=_whole, parse_float=_number
)
