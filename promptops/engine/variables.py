r"""Variables in system prompts: `{{ name }}` is replaced by a value that is declared once per operation.

The whole grammar, read from left to right in one pass:

- `{{ name }}` is a variable; spaces and tabs inside the braces do not count. A name is a lower-case letter, then up to
  39 lower-case letters, digits and underscores.
- `\{{` is a literal `{{`, whatever follows.
- Any other `{{` is a mistake. `check` reports it and `fill` leaves it as it is.
- Everything else is plain text: single braces, `}}`, JSON, backslashes. A text without `{{` is never changed.

Values are inserted as they are: a variable inside a value is text. Declared variables and their values do not belong
here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

NAME = r"[a-z][a-z0-9_]{0,39}"
NAME_RULE = "a lower-case letter, then up to 39 lower-case letters, digits and _"

_TOKEN = re.compile(rf"(?P<literal>\\\{{\{{)|\{{\{{[ \t]*(?P<name>{NAME})[ \t]*\}}\}}|\{{\{{")
# Up to the next braces or the end of the line, so that the time to find all mistakes is linear in the text's length.
_STRAY = re.compile(r"\{\{((?:(?!\{\{|\}\}|\n).)*)\}\}", re.DOTALL)
MOST_PROBLEMS = 100
_SHOWN = 40  # the most characters of a mistake that its message quotes


@dataclass(frozen=True)
class Piece:
    """A stretch of a text as it is written: plain, a variable (with its `name`), a literal `{{`, or a stray one."""

    text: str
    start: int
    kind: str  # "plain", "variable", "literal" or "stray"
    name: str = ""

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the text that the model gets. A variable without a value and a stray `{{` stay as they are."""
        if self.kind == "literal":
            return "{{"
        return values.get(self.name, self.text) if self.kind == "variable" else self.text


@dataclass(frozen=True)
class Problem:
    """One mistake in a text. `line` and `column` count from 1, in characters.

    `unknown` is true for a variable that is well written but not declared. `message` is a sentence that names line and
    column.
    """

    line: int
    column: int
    message: str
    unknown: bool = False


def pieces(text: str) -> Iterator[Piece]:
    """Yield the text in pieces. Joined as written, they are the text again."""
    end = 0
    for token in _TOKEN.finditer(text):
        if token.start() > end:
            yield Piece(text[end : token.start()], end, "plain")
        kind = "variable" if token["name"] else "literal" if token["literal"] else "stray"
        yield Piece(token[0], token.start(), kind, token["name"] or "")
        end = token.end()
    if end < len(text):
        yield Piece(text[end:], end, "plain")


def find(text: str) -> list[str]:
    """Return the names of the variables that the text uses, each once, in the order of their first use."""
    return list(dict.fromkeys(piece.name for piece in pieces(text) if piece.name))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return the text with each variable replaced by its value, if it has one, and each `\\{{` by `{{`."""
    if "{{" not in text:
        return text
    return "".join(piece.filled(values) for piece in pieces(text))


def rename(text: str, old: str, new: str) -> str:
    """Return the text with the variable `old` under the name `new`, as it is written otherwise."""
    return "".join(piece.text.replace(old, new, 1) if piece.name == old else piece.text for piece in pieces(text))


def filled_bytes(text: str, values: Mapping[str, str]) -> int:
    """Return the length of the filled text in bytes of UTF-8, without building the text, which may be huge."""
    return sum(len(piece.filled(values).encode(errors="replace")) for piece in pieces(text))


def check(text: str, known: Collection[str]) -> list[Problem]:
    """Return the mistakes in the braces and variables of a text, in order, at most MOST_PROBLEMS of them.

    `known` are the declared names.
    """
    problems = []
    line, line_start, counted = 1, 0, 0
    for piece in pieces(text):
        if piece.kind == "stray":
            advice, unknown = _stray(text, piece.start, known), False
        elif piece.kind == "variable" and piece.name not in known:
            advice, unknown = f"{_quoted(piece.text)} is not declared.{_meant(piece.name, known)}", True
        else:
            continue
        line += text.count("\n", counted, piece.start)
        line_start = max(line_start, text.rfind("\n", counted, piece.start) + 1)
        counted = piece.start
        column = piece.start - line_start + 1
        problems.append(Problem(line, column, f"Line {line}, column {column}: {advice}", unknown))
        if len(problems) == MOST_PROBLEMS:
            break
    return problems


def _stray(text: str, start: int, known: Collection[str]) -> str:
    """Return the sentence that says why the `{{` at `start` begins no variable, and what to do."""
    stray = _STRAY.match(text, start)
    if stray is None:
        return r"{{ is never closed. Close it as in {{ name }}, or write \{{ for two braces."
    inside, quoted = stray[1].strip(), _quoted(stray[0])
    if not inside:
        return rf"{quoted} names no variable. Write a name between the braces, or \{{{{ for two braces."
    if inside.startswith("{"):
        return r"three braces in a row are not clear. Write { {{ name }} } with spaces, or \{{ for two braces."
    return rf"{quoted} is no variable: a name is {NAME_RULE}.{_meant(inside.lower(), known)}"


def _meant(name: str, known: Collection[str]) -> str:
    begun = sorted(other for other in known if len(name) > 1 and other.startswith(name))
    close = begun or get_close_matches(name[:80], known, n=1)
    return f" Did you mean {{{{ {close[0]} }}}}?" if close else ""


def _quoted(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
