"""JSON on several lines, for reading. Whether an answer is valid JSON does not belong here."""

import re

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\],:]|[^\s{}\[\],:"]++', re.S)
_OPENING, _CLOSING = ("{", "["), ("}", "]")
INDENT = 2
MAX_DEPTH = 12
"""Deeper levels are not indented further, so that many brackets make no huge text."""


def indented(text: str) -> str:
    """Return JSON with one value a line. A text that begins with no bracket stays as it is.

    The JSON may be cut off anywhere. Values are not changed: only space between them is.
    """
    if not text.lstrip().startswith(("{", "[")):
        return text
    pieces: list[str] = []
    depth, before = 0, ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        depth -= token in _CLOSING
        is_empty = before in _OPENING and token in _CLOSING
        if before and not is_empty and (before in (*_OPENING, ",") or token in _CLOSING):
            pieces.append("\n" + " " * (INDENT * max(0, min(depth, MAX_DEPTH))))
        elif before and before not in _OPENING and token[0] not in ",:":
            pieces.append(" ")
        pieces.append(token)
        depth = max(0, depth) + (token in _OPENING)
        before = token
    return "".join(pieces)
