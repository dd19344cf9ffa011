"""Find the items of a list of alternatives, and remove their titles, labels and quotation marks."""

from __future__ import annotations

import re

from promptops.engine.answers.labels import after_label
from promptops.engine.answers.markers import bullet_end, number_of, without_markers
from promptops.engine.answers.openings import is_opening
from promptops.engine.answers.wrapping import without_block_quote, without_breaks, without_emphasis, without_quotes

Item = list[str]
"""The lines of one alternative."""

_HEADING = re.compile(r"[ \t]*(?:\#{1,6}[ \t]+\S[^\n]{0,120}|\*\*[^*\n]{1,120}\*\*:?|__[^_\n]{1,120}__:?)[ \t]*")
_BOLD_TITLE = re.compile(
    r"(?:\*\*|__)([^*_\n]{1,80})(?:(?:\*\*|__)[ \t]*(?:[:：]|[-–—](?=[ \t]))|[:：][ \t]*(?:\*\*|__))[ \t]*"
)
_ITALIC_TITLE = re.compile(r"[*_]([^*_\n]{1,60})(?:[*_][ \t]*(?:[:：]|[-–—](?=[ \t]))|[:：][ \t]*[*_])[ \t]*")
_SHORT_LINE = re.compile(r"[^\W\d_][\w'’]*(?: [\w'’&]+){0,3}")
_QUOTED_TITLE = re.compile(r"[\"“「『]([^\"“”「」『』\n]{1,60})[\"”」』][ \t]*(?:[:：]|[-–—](?=[ \t]))[ \t]*")
_COLON_LINE = re.compile(r"[^\n]{1,60}[:：]")
_REMARK_LINE = re.compile(
    r"(?P<mark>[*_]{1,2})[(（]?(?:why|focus|notes?|reason(?:ing)?|rationale|explanation|changes?|说明|重点|nota|enfoque)"
    r"[^*_\n]{0,30}[:：][^*_\n]{1,200}(?P=mark)",
    re.I,
)
_PROMPT_LINE = re.compile(r"[*_]{0,2}prompt[*_]{0,2}[:：][*_]{0,2}[ \t]*", re.I)


def read_items(lines: list[str], limit: int) -> list[Item] | None:
    """Return the items that headings, numbers or bullets mark, or `None` if nothing marks them."""
    return _under_headings(lines) or _numbered(lines, limit) or _bulleted(lines)


def _under_headings(lines: list[str]) -> list[Item] | None:
    """Return the items that each follow a title: a heading or a line in bold."""
    filled = [line for line in lines if line.strip()]
    starts = [at for at, line in enumerate(filled) if _HEADING.fullmatch(line)]
    ends = [*starts[1:], len(filled)]
    if len(starts) < 2 or starts[0] > 1 or any(end - start < 2 for start, end in zip(starts, ends, strict=False)):
        return None
    return [
        [without_markers(line) for line in filled[start + 1 : end]] for start, end in zip(starts, ends, strict=True)
    ]


def _numbered(lines: list[str], limit: int) -> list[Item] | None:
    starts = _sequence(lines)
    if not starts:
        return None
    first, _ = starts[0]
    before = [line.strip() for line in lines[:first] if line.strip()]
    is_only_opening = len(starts) >= limit or all(line.endswith((":", "：")) or is_opening(line) for line in before)
    if (len(starts) < 2 and (before or limit > 1) and not _is_single(lines, first)) or not is_only_opening:
        return None
    starts = sorted([*starts, *_stray_bullets(lines, [at for at, _ in starts])])
    ends = [*(at for at, _ in starts[1:]), len(lines)]
    paragraphs = [_paragraphs([text, *lines[at + 1 : stop]]) for (at, text), stop in zip(starts, ends, strict=True)]
    if len(paragraphs) > 1 and all(len(item) == 1 for item in paragraphs[:-1]):
        paragraphs[-1] = paragraphs[-1][:1]  # after a blank line, the rest of the last item is a remark
    return [[line for paragraph in item for line in paragraph] for item in paragraphs]


def _stray_bullets(lines: list[str], numbered: list[int]) -> list[tuple[int, str]]:
    """Return the bullets that continue a numbered list: not indented, and below only some of its items.

    Bullets below every item are the parts of each item.
    """
    base = _indentation(lines[numbered[0]])
    bullets = [at for at in range(numbered[0], len(lines)) if bullet_end(lines[at]) and _indentation(lines[at]) <= base]
    ends = [*numbered[1:], len(lines)]
    if all(any(start < at < end for at in bullets) for start, end in zip(numbered, ends, strict=True)):
        return []
    return [(at, without_markers(lines[at])) for at in bullets if at not in numbered]


def _is_single(lines: list[str], first: int) -> bool:
    """Return whether a lone number marks the only item of an answer."""
    number = number_of(lines[first])
    return number is not None and not number.needs_sequence and len([line for line in lines if line.strip()]) == 1


def _sequence(lines: list[str]) -> list[tuple[int, str]]:
    """Return index and text of the lines with the numbers 1, 2, 3 ... Numbers after bullets begin no list."""
    numbers = [number_of(line) for line in lines]
    last_two = max((at for at, number in enumerate(numbers) if number is not None and number.number == 2), default=-1)
    starts: list[tuple[int, str]] = []
    for at, number in enumerate(numbers):
        if number is None:
            if not starts and bullet_end(lines[at]):
                return []
        elif number.number == len(starts) + 1 and (not number.needs_sequence or starts or last_two > at):
            starts.append((at, number.text))
    return starts


def _paragraphs(lines: list[str]) -> list[Item]:
    """Return the paragraphs of an item, without the bullets of a list in it."""
    paragraphs: list[Item] = [[]]
    for at, line in enumerate(lines):
        text = line.strip()[bullet_end(line.strip()) :] if at else without_markers(line)
        if text.strip():
            paragraphs[-1].append(text.strip())
        elif paragraphs[-1]:
            paragraphs.append([])
    return [paragraph for paragraph in paragraphs if paragraph] or [[]]


def _bulleted(lines: list[str]) -> list[Item] | None:
    """Return the items with bullets. Lines indented below an item, with a nested bullet or none, belong to it."""
    filled = [line for line in lines if line.strip()]
    if not filled or not bullet_end(filled[0]):
        return None
    base = _indentation(filled[0])
    is_nested = sum(bullet_end(line) > 0 and _indentation(line) == base for line in filled) > 1
    items: list[Item] = []
    for line in filled:
        is_deeper = _indentation(line) > base
        if items and is_deeper and (is_nested or not bullet_end(line)) and number_of(line) is None:
            items[-1].append(without_markers(line))
        else:
            items.append([without_markers(line)])
    return items


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def clean_items(items: list[Item]) -> list[str]:
    """Return each item as a text without markers, title, label and quotation marks."""
    marked = [[without_markers(item[0]), *item[1:]] for item in items if item]
    plain = _without_remarks(_without_titles([item for item in marked if any(item)]))
    return [_clean("\n".join(item)) for item in plain]


def _without_titles(items: list[Item]) -> list[Item]:
    """Remove the titles if every item has one: in bold, in quotes, or on its own line."""
    if len(items) < 2:
        return items
    if all(any(_PROMPT_LINE.match(line) for line in item) for item in items):
        return [item[next(at for at, line in enumerate(item) if _PROMPT_LINE.match(line)) :] for item in items]
    if all(len(item) > 1 and (_HEADING.fullmatch(item[0]) or _COLON_LINE.fullmatch(item[0])) for item in items):
        return [item[1:] for item in items]
    if all(len(item) > 1 and _SHORT_LINE.fullmatch(item[0]) and len(item[1]) > 2 * len(item[0]) for item in items):
        return [item[1:] for item in items]
    for title in (_BOLD_TITLE, _ITALIC_TITLE, _QUOTED_TITLE):
        matches = [title.match(item[0]) for item in items]
        if all(match and (item[0][match.end() :] or len(item) > 1) for match, item in zip(matches, items, strict=True)):
            return [[item[0][match.end() :], *item[1:]] for match, item in zip(matches, items, strict=True) if match]
    return items


def _without_remarks(items: list[Item]) -> list[Item]:
    """Remove last lines such as "*(Focus: the light)*" if every item has one."""
    has_remarks = len(items) > 1 and all(len(item) > 1 and _REMARK_LINE.fullmatch(item[-1].strip()) for item in items)
    return [item[:-1] for item in items] if has_remarks else items


def _clean(text: str) -> str:
    for _ in range(4):
        before = text = text.strip()
        if text[:1] in '"“「' and text[-1:] in ",;，":
            text = text[:-1]
        for layer in (without_breaks, without_block_quote, without_emphasis, after_label, without_quotes):
            inner = layer(text)
            if inner is not None and inner.strip():
                text = inner.strip()
        number = number_of(text)
        if number is not None and not number.needs_sequence and before != text:
            text = number.text
        if text == before:
            break
    return text
