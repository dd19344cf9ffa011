"""Find the error in any JSON that a provider sent. Its meaning is decided in `error_kinds.py`."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from promptops.engine.providers.finish_reasons import normalized
from promptops.engine.providers.reading import as_dict, first_choice, unwrapped

MAX_WORDS = 4096
"""The most characters of an error's words that are read. The longest real errors have a tenth of it."""

_MAX_OBJECTS = 50
_MAX_ITEMS = 20

_WORD_KEYS = (
    "message",
    "msg",
    "detail",
    "error",
    "description",
    "error_description",
    "error_message",
    "error_msg",
    "status_msg",
    "reason",
    "title",
    "raw",
)
_CODE_KEYS = ("code", "status_code", "statusCode", "error_code", "errorCode", "status", "type", "error_type", "reason")
_OUTER_KEY = re.compile("|".join([*_CODE_KEYS, ".*(?:retry|reset).*"]), re.IGNORECASE)
"""The fields beside an error that belong to it: its codes, and the time of a retry."""

_CONTAINERS = frozenset({*_WORD_KEYS, "errors", "details", "metadata", "headers", "base_resp", "fieldViolations"})

# Numbers instead of names. MiniMax sends numbers in `base_resp.status_code`, Z.AI sends texts in `code`.
_MINIMAX = {
    1001: "timeout",
    1002: "rate_limit",
    1004: "invalid_api_key",
    1008: "insufficient_balance",
    1013: "internal",
    1024: "internal",
    1026: "sensitive_content",
    1027: "sensitive_content",
    1033: "internal",
    1041: "rate_limit",
    2013: "invalid_parameter",
    2049: "invalid_api_key",
}
_ZAI = {
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), "authentication"),
    "1113": "insufficient_balance",
    "1211": "model_not_found",
    "1261": "prompt_too_long",
    "1301": "sensitive_content",
    **dict.fromkeys(("1302", "1303", "1305", "1308"), "rate_limit"),
}

_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_CODE_IN_TEXT = re.compile(r"""\b(?:code|type|status|reason)['"]?\s{0,3}[:=]\s{0,3}['"]?([a-z][a-z_.]{2,60}|\d{3})\b""")
_NO_ERROR = frozenset({"", "0", "200", "ok", "success", "none", "null", "false", "no error"})


@dataclass(frozen=True)
class ReportedError:
    """An error as a provider reported it. `objects` are its JSON objects, outer ones first."""

    text: str
    objects: tuple[dict[str, Any], ...]

    @cached_property
    def words(self) -> str:
        """Return all words of the error in lower case, without URLs and without echoes of the request."""
        texts = (item for entry in self.objects for item in _strings(entry, _WORD_KEYS))
        return _URL.sub("", "\n".join(dict.fromkeys(texts))[:MAX_WORDS]).lower()

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Return the names of its codes, types and states, normalized, without an ending `_error`."""
        names = [item for entry in self.objects for item in _strings(entry, _CODE_KEYS)]
        names += [name for entry in self.objects if (name := _numbered_code(entry))]
        names += _CODE_IN_TEXT.findall(self.words)
        return tuple(dict.fromkeys(_code_name(name) for name in names if not name.isdigit()))

    @cached_property
    def status(self) -> int | None:
        """Return the HTTP status that the error names, or `None`."""
        values = [entry.get(key) for entry in self.objects for key in _CODE_KEYS]
        values += _CODE_IN_TEXT.findall(self.words)
        return next((status for status in map(_http_status, values) if status is not None), None)

    @cached_property
    def param(self) -> str:
        """Return the parameter that the error is about, or an empty text."""
        names = (entry.get(key) for entry in self.objects for key in ("param", "parameter"))
        return next((name for name in names if isinstance(name, str) and name), "")


def read_error(data: Any) -> ReportedError | None:
    """Return the error that `data` reports, or `None` if it reports none.

    Reads `error` as object or text, of the document or of its choice, `x_groq.error`, `errors`, MiniMax's `base_resp`,
    and, in a document without choices, a flat `message` or `detail`. Each may be in a list or be JSON inside a text.
    """
    data = unwrapped(data)
    if not isinstance(data, dict):
        return None
    error = _error_in(data)
    if error is None:
        return None
    outer = {key: value for key, value in data.items() if _OUTER_KEY.fullmatch(key)} if error is not data else {}
    return ReportedError(_text(error), (*_objects(error), *((outer,) if outer else ())))


def error_of_text(text: str) -> ReportedError:
    """Return the error that a plain text reports."""
    return ReportedError(text[:MAX_WORDS], ({"message": text[:MAX_WORDS]},))


_ERROR_KEYS = frozenset({"error", "x_groq", "errors"})


def _error_in(data: dict[str, Any]) -> Any:
    choice = first_choice(data) or {}
    if choice and "error" not in choice and _ERROR_KEYS.isdisjoint(data):  # the usual case
        return None
    for error in (data.get("error"), as_dict(data.get("x_groq")).get("error"), choice.get("error"), data.get("errors")):
        if error and not _reports_none(error):
            return error
    if data.get("choices"):
        return None
    base = as_dict(data.get("base_resp"))
    if not _reports_none(base.get("status_code")):
        return base
    if any(_is_wording(data.get(key)) for key in ("message", "msg", "error_msg", "error_message")):
        return data
    detail = data.get("detail")
    return None if _reports_none(detail) else detail


def _is_wording(value: Any) -> bool:
    """Return whether a `message` belongs to an error, not to an answer."""
    if isinstance(value, dict):
        return bool(value) and not value.keys() & {"role", "content"}
    return isinstance(value, str) and bool(value)


def _reports_none(value: Any, depth: int = 0) -> bool:
    """Return whether an error reports no error: a code of zero, an empty message, or nothing at all."""
    if isinstance(value, dict):
        return depth > 3 or all(_reports_none(inner, depth + 1) for inner in value.values())
    if isinstance(value, list):
        return depth > 3 or all(_reports_none(inner, depth + 1) for inner in value[:_MAX_ITEMS])
    return value is None or str(value).strip().lower() in _NO_ERROR


def _text(error: Any, depth: int = 0) -> str:
    """Return an error for people: its message, the messages nested in it, and its codes."""
    if depth > 4:
        return ""
    if isinstance(error, str):
        inner = _embedded(error)
        return (_text(inner, depth + 1) if any(key in as_dict(inner) for key in _WORD_KEYS) else "") or error
    error = unwrapped(error) if isinstance(error, list) and as_dict(unwrapped(error)).get("message") else error
    if not isinstance(error, dict):
        return json.dumps(error)
    message = next((error[key] for key in ("message", *_WORD_KEYS) if not _reports_none(error.get(key))), None)
    parts = [_text(message, depth + 1)] if message is not None else []
    raw = as_dict(error.get("metadata")).get("raw")
    if parts and raw and (more := _text(raw, depth + 1)) and more not in parts[0]:
        parts[0] += f": {more}"
    parts += [str(error[key]) for key in ("code", "type") if error.get(key) and not isinstance(error[key], dict | list)]
    return f"{parts[0]} ({', '.join(parts[1:])})" if len(parts) > 1 else "".join(parts) or json.dumps(error)


def _objects(error: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of an error, outer ones first."""
    queue: deque[Any] = deque([error])
    for _ in range(_MAX_OBJECTS):
        if not queue:
            return
        value = queue.popleft()
        if isinstance(value, str):
            value = {"message": value}
        if isinstance(value, list):
            queue.extend(item for item in value[:_MAX_ITEMS] if isinstance(item, dict | str))
        if not isinstance(value, dict):
            continue
        yield value
        for key, inner in value.items():
            if key in _CONTAINERS:
                nested = _embedded(inner) if isinstance(inner, str) else inner
                if isinstance(nested, dict | list):
                    queue.append(nested)


def _embedded(text: str) -> Any:
    """Return the JSON object or list that begins in a text, or `None`."""
    text = text[: 4 * MAX_WORDS]
    for mark in ("{", "["):
        at = text.find(mark)
        if at >= 0:
            try:
                return json.JSONDecoder().raw_decode(text, at)[0]
            except (ValueError, RecursionError):
                continue
    return None


def _strings(entry: dict[str, Any], keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        value = entry.get(key)
        if isinstance(value, str) and value:
            yield value[:MAX_WORDS]


def _numbered_code(entry: dict[str, Any]) -> str | None:
    """Return the name of a vendor's own number for an error, if it is known."""
    if "status_msg" in entry:
        number = entry.get("status_code")
        return _MINIMAX.get(number) if isinstance(number, int) else None
    code = entry.get("code")
    return _ZAI.get(code) if isinstance(code, str) else None


def _code_name(name: str) -> str:
    return normalized(name).removesuffix("_exception").removesuffix("_error")


def _http_status(value: Any) -> int | None:
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if len(text) == 3 and text.isascii() and text.isdigit() and 400 <= int(text) < 600 else None
