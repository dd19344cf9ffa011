"""Remove the clear wrapping of a prompt: openings, closings, fences, tags, labels, quotes, JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice, pairwise
from typing import Any

from promptops.engine.answers.closings import before_last_remark, is_closing
from promptops.engine.answers.jsons import json_values
from promptops.engine.answers.labels import after_label
from promptops.engine.answers.openings import (
    LINES_LIMIT,
    OPENING_LIMIT,
    after_inline_opening,
    is_opening,
    is_opening_sentence,
)

ROUNDS = 8
"""The most nested layers of the same kind. Reports show four at most."""

_PAIRED = {"“": "”", "„": "“”", "«": "»", "»": "«", "‹": "›", "‘": "’", "「": "」", "『": "』", "”": "”", "＂": "＂"}
_DOUBLE = frozenset('"“”')
_OPENING_QUOTES = frozenset('"“«「『')
_CLOSING_QUOTES = frozenset('"”»」』')
_ANY_QUOTE = _OPENING_QUOTES | _CLOSING_QUOTES
_SAME = "\"'`"

_TAG_NAMES = (
    "prompt|enhanced[_-]?prompt|improved[_-]?prompt|final[_-]?prompt|video[_-]?prompt|rewritten[_-]?prompt|output"
    "|answer|response"
    "|result|final|final[_-]?answer|text|description|enhanced|rewrite|solution|alternatives?|options?|variations?"
    "|prompts|li|ol|ul|p"
)
_ATTRIBUTES = r"(?:[ \t]+[A-Za-z][\w-]{0,20}=\"[^\"<>\n]{0,80}\"){0,3}"
_TAG = re.compile(rf"[<\[](/?)(?=[A-Za-z])((?:{_TAG_NAMES})(?:[_-]?\d{{1,2}})?){_ATTRIBUTES}[>\]]", re.I)
_FENCE = re.compile(r"^[ \t]{0,3}(```+|~~~+)[ \t]*([\w+.-]{0,20})[ \t]*$", re.M)
_INVISIBLE = re.compile(r"^[\ufeff\u200b\u2060]+", re.M)
_ESCAPED = re.compile(r"\\n(?![a-z])")
_BREAK = re.compile(r"<br ?/?>", re.I)
_BREAK_LENGTH = 6
_BOXED = re.compile(r"\\boxed\{(?:\\text\{([^{}]*)\}|([^{}]*))\}")
_RULE = re.compile(r"[-*_=#]{3,}")


def read_text(answer: str) -> str:
    """Return the prompt in `answer`. A doubtful answer is returned unchanged."""
    text = plain_lines(answer).strip()
    for _ in range(ROUNDS):
        before = text
        for layer in _LAYERS:
            inner = layer(text)
            if inner is not None and inner.strip():
                text = inner.strip()
        if text == before:
            break
    return text


def plain_lines(answer: str) -> str:
    """Return `answer` without invisible characters before its lines, and with double-escaped line ends restored."""
    text = _INVISIBLE.sub("", answer)
    return _ESCAPED.sub("\n", text) if "\n" not in text.strip() and "\\n\\n" in text else text


def without_opening(text: str) -> str | None:
    """Return `text` without its opening line, or `None` without an opening."""
    line, newline, rest = text.partition("\n")
    if newline and len(line) <= OPENING_LIMIT and is_opening(line):
        return rest
    if rest.startswith("\n") and is_opening_sentence(line):
        return rest
    return after_inline_opening(text)


def without_closing(text: str) -> str | None:
    """Return `text` without the closing remarks at its end, or `None` without remarks."""
    lines = text.split("\n", LINES_LIMIT)
    at = len(lines[0])
    for previous, line in pairwise(lines):
        is_last = at + 1 + len(line) == len(text)
        if line.strip() and (not previous.strip() or is_last) and is_closing(line[:OPENING_LIMIT]):
            return text[:at]
        at += 1 + len(line)
    return before_last_remark(text)


def _without_rules(text: str) -> str | None:
    lines = text.split("\n")
    first, last = 0, len(lines)
    while first < last and (not lines[first].strip() or _RULE.fullmatch(lines[first].strip())):
        first += 1
    while last > first and (not lines[last - 1].strip() or _RULE.fullmatch(lines[last - 1].strip())):
        last -= 1
    return "\n".join(lines[first:last])


def fenced_blocks(text: str) -> list[str]:
    """Return the contents of the code fences of `text`, in order. A fence that is never closed does not count."""
    blocks, opening = [], None
    for match in _FENCE.finditer(text):
        if opening is None:
            opening = match
        elif match.group(1)[0] == opening.group(1)[0] and not match.group(2):
            blocks.append(text[opening.end() : match.start()].strip("\n"))
            opening = None
    return blocks


def without_fence(text: str) -> str | None:
    """Return the content of the one code fence that holds the prompt, or `None`."""
    blocks = fenced_blocks(text)
    if len(blocks) == 1:
        opening = _FENCE.search(text)
        before = text[: opening.start()].strip() if opening else ""
        return blocks[0] if not before or before.endswith((":", "：")) else None
    if text.startswith("```") and text.endswith("```") and text.count("```") == 2:
        return text[3:-3]
    fences = [] if blocks else list(_FENCE.finditer(text))
    if len(fences) == 1 and not (text[: fences[0].start()].strip() and text[fences[0].end() :].strip()):
        return text[: fences[0].start()] or text[fences[0].end() :]  # the other one is missing
    return None


def tagged_parts(text: str) -> list[str]:
    """Return the contents of tags such as <prompt>, in order, if only openings and closings are around them."""
    parts, name, start, outside = [], "", 0, [0]
    for match in _TAG.finditer(text):
        closing, tag = match.group(1), match.group(2).lower()
        if not closing and not name:
            name, start = tag, match.end()
            outside.append(match.start())
        elif closing and tag == name:
            parts.append(text[start : match.start()].strip())
            outside.append(match.end())
            name = ""
    if not parts or name:
        return []
    around = [text[start:end].strip() for start, end in zip(outside[::2], [*outside[1::2], len(text)], strict=True)]
    is_plain = all(not part for part in around[1:-1]) and (not around[0] or around[0].endswith((":", "：")))
    return parts if is_plain and (not around[-1] or is_closing(around[-1][:OPENING_LIMIT])) else []


def _without_tags(text: str) -> str | None:
    parts = tagged_parts(text)
    if len(parts) == 1:
        return parts[0]
    tags = list(islice(_TAG.finditer(text), 2))
    if len(tags) == 1 and tags[0].group().startswith("<"):  # the other one is missing
        rest = text[tags[0].end() :]
        if not tags[0].group(1) and tags[0].start() == 0 and not rest.strip()[:1].islower():
            return rest
        if tags[0].group(1) and tags[0].end() == len(text):
            return text[: tags[0].start()]
    return None


def without_breaks(text: str) -> str:
    """Return `text` without HTML line breaks at its beginning and end."""
    for _ in range(ROUNDS):
        if match := _BREAK.match(text):
            text = text[match.end() :].strip()
        if match := re.search(rf"(?:{_BREAK.pattern})\Z", text[-_BREAK_LENGTH:], re.I):
            text = text[: len(text) - len(match.group())].strip()
    return text


def _from_box(text: str) -> str | None:
    match = _BOXED.fullmatch(text)
    return match and (match.group(1) or match.group(2))


def _from_json(text: str) -> str | None:
    if text[:1] not in "{[":
        return None
    values = json_values(text)
    return values[0] if values is not None and len(values) == 1 else None


def without_quotes(text: str) -> str | None:
    """Return `text` without the quotation marks around all of it, or `None` without such marks."""
    if len(text) < 2 or text.startswith("```"):
        return None
    for mark in ('"""', "'''", "``", "''"):
        if text.startswith(mark) and text.endswith(mark) and len(text) > 2 * len(mark):
            inner = text[len(mark) : -len(mark)]
            return None if mark in inner else inner
    first, last, inner = text[0], text[-1], text[1:-1]
    if first in _OPENING_QUOTES and not _ANY_QUOTE & set(text[1:]) and (text[1].isupper() or ord(text[1]) > 0x2E7F):
        return text[1:]  # the closing mark is missing because the answer was cut off
    if last in _CLOSING_QUOTES and not _ANY_QUOTE & set(text[:-1]) and text[-2] in ".!?。！？":
        return text[:-1]
    if first in _DOUBLE and last in _DOUBLE and first != last and not _DOUBLE & set(inner):
        return inner  # one straight, one curly
    if first in _SAME and first == last:
        return inner if _wraps(first, inner) else None
    if last not in _PAIRED.get(first, "") or first == last:
        return None
    depth = 0
    for at, char in enumerate(inner):
        if char == first:
            depth += 1
        elif char in _PAIRED[first] and not (char == "’" and _between_letters(inner, at)):
            depth -= 1
            if depth < 0:
                return None
    return inner if depth == 0 else None


def _wraps(quote: str, inner: str) -> bool:
    """Return whether a pair of marks encloses the whole text, and is not part of two quotations at its ends."""
    marks = [match.start() for match in re.finditer(re.escape(quote), inner)]
    marks = [at for at in marks if inner[at - 1 : at] != "\\" and not (quote == "'" and _between_letters(inner, at))]
    if not marks:
        return "\n\n" not in inner or quote != "`"
    at = marks[0]
    opens = (at == 0 or inner[at - 1] in " \n([") and inner[at + 1 : at + 2].strip() != ""
    return quote == '"' and at > 0 and opens and len(marks) % 2 == 0


def _between_letters(text: str, at: int) -> bool:
    return text[at - 1 : at].isalpha() and text[at + 1 : at + 2].isalpha()


def without_emphasis(text: str) -> str | None:
    """Return `text` without Markdown's emphasis around all of it, or `None` without emphasis."""
    if text.count("**") == 1 and text.count("*") == 2 and (text.startswith("**") or text.endswith("**")):
        return text.replace("**", "")  # the other one is missing
    for mark in ("***", "**", "__", "*", "_"):
        if text.startswith(mark) and text.endswith(mark) and len(text) > 2 * len(mark):
            inner = text[len(mark) : -len(mark)]
            return None if mark[0] in inner or inner[0].isspace() or inner[-1].isspace() else inner
    return None


def without_block_quote(text: str) -> str | None:
    """Return `text` without the marks of a block quote, or `None` if it is no block quote."""
    lines = text.split("\n")
    if not all(line.startswith(">") or not line.strip() for line in lines):
        return None
    return "\n".join(line.removeprefix(">").strip() for line in lines)


_LAYERS: tuple[Callable[[str], Any], ...] = (
    without_opening,
    without_closing,
    _without_rules,
    without_fence,
    _without_tags,
    _from_json,
    _from_box,
    without_breaks,
    after_label,
    without_block_quote,
    without_quotes,
    without_emphasis,
)
