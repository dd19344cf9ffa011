"""Words for people about values of an answer, short whatever the answer contains, and the number of its words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

MAX_QUOTED = 40
"""The most characters of a value or key that are quoted."""

MAX_NAMED = 5
"""The most values of a list that are named."""

_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORDS = re.compile(rf"[{_CJK}]|[^\s{_CJK}]+")


def short(text: str) -> str:
    """Return `text` on one line, printable, and at most `MAX_QUOTED` characters long."""
    text = "".join(char if char.isprintable() else " " for char in text[: MAX_QUOTED + 1])
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"


def quoted(value: Any) -> str:
    """Return a short form of a JSON value: text in quotation marks, true, false, null, a number, or its kind."""
    if isinstance(value, str):
        return f'"{short(value)}"'
    if value is None or isinstance(value, bool):
        return str(value).lower() if value is not None else "null"
    if isinstance(value, int | float):
        return short(str(value))
    return "an object" if isinstance(value, dict) else "a list"


def listed(names: Iterable[str], last: str = "or") -> str:
    """Return names as "a, b or c". After `MAX_NAMED` of them only the number of the others follows."""
    names = list(names)
    if len(names) > MAX_NAMED + 1:
        names = [*names[:MAX_NAMED], f"{len(names) - MAX_NAMED} more"]
    return " ".join([", ".join(names[:-1]), last, names[-1]]) if len(names) > 1 else "".join(names)


def counted(number: int, noun: str) -> str:
    """Return "1 item" or "5 items"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def expected(number: int, noun: str, least: int | None, most: int | None) -> str:
    """Return "has 5 items, 6 expected" for a number outside of the limits."""
    if least is not None and least == most:
        wanted = f"{least:,}"
    elif least is not None and number < least:
        wanted = f"at least {least:,}"
    else:
        wanted = f"at most {most:,}"
    return f"has {counted(number, noun)}, {wanted} expected"


def count_words(text: str) -> int:
    """Count the words of a text. Each character of Chinese and Japanese is a word; punctuation alone is none."""
    return sum(any(map(str.isalnum, run)) for run in _WORDS.findall(text))


def place(path: Sequence[str | int]) -> str:
    """Return the name of a place in an answer: "the answer", "title", "item 3 of scenes"."""
    name = ""
    for part in path:
        own = f"item {part + 1}" if isinstance(part, int) else short(part)
        name = f"{own} of {name}" if name else own
    return name or "the answer"
