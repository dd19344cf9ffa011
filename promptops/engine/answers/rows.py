"""Read alternatives from lines that all have a number, from the cells of a table, or from a single line."""

from __future__ import annotations

import re

from promptops.engine.answers.jsons import json_values
from promptops.engine.answers.openings import is_opening
from promptops.engine.answers.words import NOUN

_BREAK = re.compile(r"(?:\\n|<br ?/?>)\s*(?=[(（*_]{0,3}\d{1,2}[.)）:：、])", re.I)
# A number or label that counts only if every line has one: "1 A fox", "1| A fox", "Scene 1: A fox".
_LABELED = (
    re.compile(r"(?P<number>\d{1,2})[ \t]+(?=[A-ZÀ-Þ])"),
    re.compile(r"(?P<number>\d{1,2})(?:[|>]|[ \t]?/[ \t]?\d{1,2}[:.)]?|[º°ª]\.?)[ \t]+"),
    re.compile(r"\*\*(?P<number>\d{1,2})\*\*[ \t]+"),
    re.compile(r"<(?P<number>\d{1,2})>[ \t]*"),
    re.compile(
        r"[*_]{0,3}(?:scene|shot|clip|video|escena|toma|場面|シーン|场景|镜头)[ \t]?(?P<number>\d{1,2})"
        r"[*_]{0,3}[:：][*_]{0,3}[ \t]*",
        re.I,
    ),
)
_ARTICLE = re.compile(r"(?:An?|The|Una?|El|La|Los|Las|Un|Une|Le|Les|Der|Die|Das|Eine?|In|On|At|Under|Inside) ")
_RULE_CELL = re.compile(r":?-{2,}:?")
_SHORT_CELL = 24
"""The most characters of a cell with a number or a title."""


def on_one_line(line: str, limit: int) -> list[str] | None:
    """Return the `limit` alternatives of a line such as "1. A fox 2. A hare" or `"A fox", "A hare"`, or `None`."""
    if line.lstrip().startswith('"'):
        values = json_values(line.strip())
        return values if values is not None and len(values) == limit else None
    line = _BREAK.sub(" ", line)
    places, at = [], 0
    for number in range(1, limit + 1):
        sign = chr(ord("①") + number - 1)
        pattern = rf"(?:(?<=\s)|^)(?:[(（]?{number}[.)）:：、](?!\d)|{sign}[.:、]?)[ \t]*" if number <= 20 else "(?!)"
        match = re.compile(pattern).search(line, at)
        if match is None:
            return None
        places.append(match)
        at = match.end()
    before = line[: places[0].start()].strip()
    if before and not before.endswith((":", "：")) and not is_opening(before):
        return None
    ends = [*(place.start() for place in places[1:]), len(line)]
    return [line[place.end() : end].strip().rstrip(";,") for place, end in zip(places, ends, strict=True)]


def labeled_lines(filled: list[str], limit: int) -> list[str] | None:
    """Return the texts of exactly `limit` lines that all have a number or label of one style, from 1, or `None`."""
    if limit < 2 or len(filled) != limit:
        return None
    for pattern in _LABELED:
        matches = [pattern.match(line.strip()) for line in filled]
        if [match and int(match["number"]) for match in matches] != list(range(1, limit + 1)):
            continue
        texts = [line.strip()[match.end() :] for line, match in zip(filled, matches, strict=True) if match]
        if pattern is _LABELED[0] and not all(_ARTICLE.match(text) for text in texts):
            return None  # "1 Cat", "2 Cats" are counts
        return [re.sub(r"</\d{1,2}>$", "", text) for text in texts]
    return None


def table_cells(filled: list[str]) -> list[str] | None:
    """Return the cells of the column of a Markdown table that holds the alternatives, or `None`.

    Its name says so ("Prompt", "Version"), or it is the only column whose cells are longer than numbers and titles.
    """
    rows = [_cells(line) for line in filled]
    if len(rows) < 3 or not all(rows) or not all(_RULE_CELL.fullmatch(cell) for cell in rows[1]):
        return None
    head, body = rows[0], rows[2:]
    if any(len(row) != len(head) for row in body):
        return None
    long = [at for at in range(len(head)) if all(len(row[at]) > _SHORT_CELL for row in body)]
    named = [at for at in long or range(len(head)) if re.search(NOUN, head[at], re.I)]
    columns = named if len(named) == 1 else long
    return [row[columns[0]] for row in body] if len(columns) == 1 else None


def _cells(line: str) -> list[str]:
    line = line.strip()
    if len(line) < 3 or not (line.startswith("|") and line.endswith("|")):
        return []
    return [cell.strip() for cell in line[1:-1].split("|")]
