"""Read the texts in answers that are JSON: a list, an object with one text field, or several objects in a row."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

_PROMPT_KEYS = (
    "prompt",
    "enhanced_prompt",
    "text",
    "content",
    "output",
    "result",
    "description",
    "alternative",
    "rewrite",
)
_TITLE_KEYS = frozenset(("title", "name", "label", "id", "number", "index", "style", "mood", "type", "theme"))
_OTHER_KEYS = _TITLE_KEYS | {
    "original",
    "original_prompt",
    "input",
    "user_prompt",
    "source",
    "explanation",
    "reasoning",
}
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")

LITERAL_LIMIT = 20_000
"""The most characters of a list in Python's quotes. Python's parser takes more time and memory than JSON's."""

DEPTH = 6
"""The most nested objects, such as {"result": {"prompts": [{"prompt": ...}]}}."""


def json_values(text: str) -> list[str] | None:
    """Return the texts in the JSON values of `text`, or `None` if it is not JSON or has other contents."""
    documents = _documents(text)
    if documents is None:
        return None
    texts: list[str] = []
    for document in documents:
        parts = _texts(document, DEPTH)
        if parts is None:
            return None
        texts += parts
    return texts or None


def _documents(text: str) -> list[Any] | None:
    """Return the JSON values of `text`, separated by nothing, white space or commas."""
    for candidate in (text, _TRAILING_COMMA.sub(r"\1", text)):
        documents, at = [], 0
        try:
            while at < len(candidate):
                document, at = _DECODER.raw_decode(candidate, at)
                documents.append(document)
                while at < len(candidate) and candidate[at] in " \t\r\n,":
                    at += 1
        except (ValueError, RecursionError):
            continue
        return documents
    return _python_literal(text)


def _python_literal(text: str) -> list[Any] | None:
    """Return the value of a list or object in Python's quotes. Some models write it instead of JSON."""
    if len(text) > LITERAL_LIMIT or "'" not in text:
        return None
    try:
        return [ast.literal_eval(text)]
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


_DECODER = json.JSONDecoder(strict=False)


def _texts(value: Any, depth: int) -> list[str] | None:
    if depth == 0:
        return None
    if isinstance(value, str):
        return [value.strip()] if value.strip() else None
    if isinstance(value, list):
        parts = [_texts(item, depth - 1) for item in value]
        if any(part is None or len(part) != 1 for part in parts):
            return None
        return [text for part in parts if part for text in part]
    return _of_object(value, depth) if isinstance(value, dict) else None


def _of_object(fields: dict[str, Any], depth: int) -> list[str] | None:
    """Return the text of an object: its only field, its numbered alternatives, or the field of the prompt."""
    lower = {key.lower().replace(" ", "_").replace("-", "_"): value for key, value in fields.items()}
    if len(lower) == 1:
        key, value = next(iter(lower.items()))
        is_named = "prompt" in key or key in _PROMPT_KEYS
        if isinstance(value, str):
            return _texts(value, depth - 1) if is_named or len(value) >= 16 else None
        return _texts(value, depth - 1)
    if all(re.fullmatch(r"[^\W\d_]*_?\d{1,2}", key) for key in lower):
        return _texts(list(lower.values()), depth)
    rest = {key: value for key, value in lower.items() if key not in _OTHER_KEYS and isinstance(value, str | list)}
    prompts = [key for key in rest if key in _PROMPT_KEYS or "prompt" in key]
    candidates = [key for key in _PROMPT_KEYS if key in rest][:1] or prompts or list(rest)
    return _texts(rest[candidates[0]], depth - 1) if len(candidates) == 1 else None
