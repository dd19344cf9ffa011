"""Read JSON tolerantly: each function takes any value and returns the wanted part or nothing.

Errors are read in `reported.py`.
"""

from __future__ import annotations

import json
from typing import Any

from promptops.engine.event_stream import BYTE_ORDER_MARK
from promptops.engine.types import Usage

DONE = "[DONE]"
"""The end of a stream. In a list of JSON documents it represents itself."""

MAX_PARTS = 50_000
"""The most values of an answer, counted by its brackets and commas. Parsing that many takes about 30 ms, in which
nothing else runs. Another thread would not help, because the parser never releases Python's global lock. An answer of
10,000 tokens of prose has about 1,000 values."""

_DECODER = json.JSONDecoder()


def documents(body: bytes | str) -> list[Any] | None:
    """Return the JSON documents of a body, including each `DONE`, or `None` if the body has other content.

    `data:` before a document and a byte order mark at the beginning are skipped. A body of more than `MAX_PARTS` values
    is not read.
    """
    text = body.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace") if isinstance(body, bytes) else body
    text = text.strip()
    if len(text) > MAX_PARTS and sum(map(text.count, "[{,")) > MAX_PARTS:
        return None
    values: list[Any] = []
    at = 0
    try:
        while at < len(text):
            if text.startswith(DONE, at):
                values.append(DONE)
                at += len(DONE)
            elif text.startswith("data:", at):
                at += len("data:")
            elif text[at].isspace():
                at += 1
            else:
                document, at = _DECODER.raw_decode(text, at)
                values.append(document)
    except (ValueError, RecursionError):
        return None
    return [_storable(document) for document in values] if "\\u" in text else values


def parsed(body: bytes | str) -> Any:
    """Return the first JSON document of a body, or `None`."""
    return next((document for document in documents(body) or () if document != DONE), None)


def _storable(document: Any) -> Any:
    """Return the JSON with strings that can be stored: JSON can escape half a character, and a NUL."""
    plain = json.dumps(document, ensure_ascii=False).replace("\\u0000", "")
    return json.loads(plain.encode("utf-8", "replace"))


def unwrapped(data: Any) -> Any:
    """Return the object in a list of one object: Gemini's compatible endpoint wraps its errors this way."""
    return data[0] if isinstance(data, list) and len(data) == 1 and isinstance(data[0], dict) else data


def first_choice(data: Any, *, streamed: bool = False) -> dict[str, Any] | None:
    """Return the choice with index 0. In a whole answer without such a choice, return the first one."""
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list):
        return None
    first = None
    for choice in choices:
        if isinstance(choice, dict):
            if choice.get("index") in (None, 0, "0"):
                return choice
            first = first or choice
    return None if streamed else first


def read_text(content: Any) -> str:
    """Return the text of a message's content, which is a string, null, or a list with text parts and others."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part if isinstance(part, str) else _part_text(as_dict(part)) for part in content)
    return ""


def _part_text(part: dict[str, Any]) -> str:
    return as_str(part.get("text")) or "" if part.get("type", "text") in ("text", "output_text") else ""


def read_usage(data: Any) -> Usage | None:
    """Return the tokens counted by the provider, from `usage` or Groq's `x_groq.usage`, or `None`."""
    data = as_dict(data)
    usage = as_dict(data.get("usage")) or as_dict(as_dict(data.get("x_groq")).get("usage"))
    if not usage:
        return None
    return Usage(
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(as_dict(usage.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=_count(as_dict(usage.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def as_dict(value: Any) -> dict[str, Any]:
    """Return `value` if it is an object, otherwise an empty object."""
    return value if isinstance(value, dict) else {}


def as_str(value: Any) -> str | None:
    """Return `value` if it is a string, otherwise `None`."""
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    """Return a count of tokens, or `None` for a negative or impossibly large number."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None
