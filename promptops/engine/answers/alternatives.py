"""Split the answer of a rewrite into its alternatives. The other modules recognize the parts."""

from __future__ import annotations

import re

from promptops.engine.answers.closings import is_closing
from promptops.engine.answers.items import clean_items, read_items
from promptops.engine.answers.jsons import json_values
from promptops.engine.answers.markers import number_of
from promptops.engine.answers.openings import LINES_LIMIT, OPENING_LIMIT, is_list_opening
from promptops.engine.answers.reasoning import split_reasoning
from promptops.engine.answers.rows import labeled_lines, on_one_line, table_cells
from promptops.engine.answers.wrapping import fenced_blocks, plain_lines, tagged_parts, without_fence

WRAPS = 4
"""The most nested tags or fences around the whole list."""

_RULE = re.compile(r"[-*_=#]{3,}")
_SINGLE_WORD = re.compile(r"\w{1,20}", re.ASCII)
_BEFORE_FIRST_NUMBER = re.compile(r"[^\n:：]{1,120}[:：][ \t]*(?=[(（]?1[.)、）:](?!\d))")
_JSON_START = re.compile(r"^[ \t]*[\[{]", re.M)


def parse_alternatives(text: str, count: int) -> list[str]:
    """Return the alternatives in `text`, at most `max(1, count)` of them, each in one line.

    `text` is a model's answer to a rewrite that asked for `count` alternatives. Openings, closings, numbers, titles and
    quotation marks around each are left out.
    """
    limit = max(1, count)
    answer, _ = split_reasoning(text)
    answer = plain_lines(answer.replace("\r\n", "\n").replace("\r", "\n"))
    for _ in range(WRAPS):
        if texts := _structured(answer):
            return texts[:limit]
        inner = _inside(answer)
        if inner == answer:
            break
        answer = inner
    return _listed(answer, limit)[:limit]


def _structured(answer: str) -> list[str] | None:
    """Return the alternatives of an answer in JSON, or with a tag or a code fence around each."""
    blocks = fenced_blocks(answer)
    for candidate in (*blocks[:1], answer):
        if start := _JSON_START.search(candidate):
            before, values = candidate[: start.start()].strip(), candidate[start.start() :].strip()
            texts = json_values(values) or json_values(values[: max(values.rfind("]"), values.rfind("}")) + 1])
            if texts and (not before or before.endswith((":", "："))):
                return [_one_line(text) for text in texts]
    parts = tagged_parts(answer)
    if len(parts) > 1 or (len(blocks) > 1 and (parts := blocks)):
        return [_one_line(part) for part in clean_items([[part] for part in parts if part.strip()])]
    return None


def _inside(answer: str) -> str:
    """Return the answer inside one tag or one code fence around all alternatives, or the answer itself."""
    parts = tagged_parts(answer) or fenced_blocks(answer)
    return parts[0] if len(parts) == 1 else (without_fence(answer) if not parts else None) or answer


def _listed(answer: str, limit: int) -> list[str]:
    lines = [
        "" if _RULE.fullmatch(line.strip()) else line.rstrip() for line in answer.split("\n", LINES_LIMIT)[:LINES_LIMIT]
    ]
    if all(line.startswith(">") or not line for line in lines):
        lines = [line[1:].removeprefix(" ") for line in lines]
    lines = _without_closing(_without_opening(lines, limit))
    filled = [line for line in lines if line.strip()]
    pieces = on_one_line(filled[0], limit) if len(filled) == 1 and limit > 1 else None
    pieces = pieces or table_cells(filled) or labeled_lines(filled, limit) or []
    items = [[piece] for piece in pieces] or read_items(lines, limit) or _blocks(lines, limit)
    items = items or [[line] for line in filled]
    return [text for text in (_one_line(item) for item in clean_items(items)) if text]


def _without_opening(lines: list[str], limit: int) -> list[str]:
    """Leave out the opening sentence: a usual one, or a line with a colon before enough other lines."""
    filled = [at for at, line in enumerate(lines) if line.strip()]
    if len(filled) < 2:
        return lines
    first = lines[filled[0]].strip()
    ends_with_colon = len(first) <= OPENING_LIMIT and first.rstrip("*_ ").endswith((":", "："))
    is_block = not lines[filled[0] + 1].strip()
    if is_list_opening(first) or (ends_with_colon and is_block and first[0] not in "#*_-" and len(filled) > limit):
        return lines[filled[0] + 1 :]
    if match := _BEFORE_FIRST_NUMBER.match(first):
        following = number_of(lines[filled[1]])
        if following is not None and following.number == 2:  # "Options: 1. A fox" before "2. A hare"
            return [first[match.end() :], *lines[filled[0] + 1 :]]
    return lines


def _without_closing(lines: list[str]) -> list[str]:
    """Leave out the closing remarks. They begin after a blank line or are the last line."""
    filled = [at for at, line in enumerate(lines) if line.strip()]
    for at in filled[1:]:
        if (at == filled[-1] or not lines[at - 1].strip()) and is_closing(lines[at][:OPENING_LIMIT]):
            return lines[:at]
    return lines


def _blocks(lines: list[str], limit: int) -> list[list[str]] | None:
    """Return the blocks between blank lines if there are exactly `limit` of them.

    Returns `None` if every line is one word, because such lines do not continue a sentence.
    """
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    blocks = [block for block in blocks if block]
    if len(blocks) != limit or all(_SINGLE_WORD.fullmatch(line.strip()) for block in blocks for line in block):
        return None
    return blocks


def _one_line(text: str) -> str:
    return " ".join(line for line in (line.strip() for line in text.splitlines()) if line)
