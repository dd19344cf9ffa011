"""The time for which a provider wants no requests, read in seconds from headers and from the body of a refusal.

What follows from it, a cooldown, belongs to `health.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

MAX_COOLDOWN_SECONDS = 24 * 3600.0
"""The longest cooldown that counts: the longest window of Cerebras and Groq is a day."""

EARLIEST_UNIX_TIME = 1e9
"""A larger reset is a Unix time, because as a duration it would be 31 years. From a thousand times this number it is in
milliseconds, as OpenRouter sends it."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")


def cooldown_seconds(headers: Mapping[str, str], *, refused: bool) -> float | None:
    """Return the seconds for which the provider wants no requests, or `None` if it names no time.

    A refusal names the time in `Retry-After` (seconds or a date, counted from the answer's own `Date`) or
    `retry-after-ms`. In any answer, the reset of a limit with nothing remaining counts: as float seconds (Cerebras),
    as a duration such as `2m59.56s` (Groq, OpenAI), or as a Unix time (OpenRouter). The longest time wins. The names
    of `headers` are in lower case.
    """
    waits = [_used_up(headers, name, value) for name, value in headers.items() if "ratelimit-remaining" in name.lower()]
    if refused:
        waits += [_retry_after(headers), _milliseconds(headers.get("retry-after-ms"))]
    known = [wait for wait in waits if wait is not None and wait > 0]
    return min(max(known), MAX_COOLDOWN_SECONDS) if known else None


def duration_seconds(text: str) -> float | None:
    """Return `2m59.56s`, `20ms` or plain seconds as seconds. Returns `None` for anything else, negative or infinite."""
    text = text.strip().lower()
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _used_up(headers: Mapping[str, str], name: str, remaining: str) -> float | None:
    left = duration_seconds(remaining)
    if left is None or left > 0:
        return None
    reset = duration_seconds(headers.get(name.lower().replace("-remaining", "-reset"), ""))
    if reset is None or reset < EARLIEST_UNIX_TIME:
        return reset
    return (reset if reset < EARLIEST_UNIX_TIME * 1000 else reset / 1000) - _answered_at(headers).timestamp()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    seconds = duration_seconds(text)
    if seconds is not None:
        return seconds
    until = _date(text)
    if until is None:
        return None
    return (until - _answered_at(headers)).total_seconds()


def _answered_at(headers: Mapping[str, str]) -> datetime:
    return _date(headers.get("date", "")) or datetime.now(UTC)


def _milliseconds(text: str | None) -> float | None:
    milliseconds = duration_seconds(text) if text else None
    return None if milliseconds is None else milliseconds / 1000


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


# The body of a refusal

_WAIT_KEYS = frozenset(
    {
        "retry_after",
        "retryafter",
        "retry_after_seconds",
        "retryafterseconds",
        "retry_delay",
        "retrydelay",  # Google's RetryInfo
        "quotaresetdelay",  # Google's Code Assist
        "reset_in",
        "resets_in",
        "reset_after",
        "resets_in_seconds",
        "reset_in_seconds",
    }
)
_WAIT_MS_KEYS = frozenset({"retry_after_ms", "retryafterms", "retry_delay_ms", "reset_in_ms"})
_RESET_KEYS = frozenset(
    {"reset_at", "resets_at", "resetat", "resetsat", "reset_time", "resettime", "quotaresettimestamp"}
)

_UNIT = r"(?:milliseconds?|millis|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|hr|h|days?|d)"
_AMOUNT = r"\d{1,9}(?:\.\d{1,12})?"
_SPAN = rf"{_AMOUNT} ?{_UNIT}\b(?:(?:,? and |, ?| )?{_AMOUNT} ?{_UNIT}\b)*"
_COMPACT = rf"(?:{_AMOUNT}{_UNIT})+\b"
_TRIGGER = (
    r"(?:try again|retry|retry your request|come back|available again|resets?|will reset|wait)"
    r" (?:in |after |for |at least )?(?:about |approximately |another )?"
)
_WAIT_WORDS = re.compile(rf"\b{_TRIGGER}({_COMPACT}|{_SPAN})")
_WAIT_WORDS_ZH = re.compile(r"(\d{1,6}) ?(秒|分钟|小时)后(?:再|重)试")
_RESET_WORDS = re.compile(
    r"\b(?:resets?|try again|retry|available again)(?: (?:at|after|on|until))?[ :]+"
    r"(\d{4}-\d{2}-\d{2}[t ]\d{2}:\d{2}(?::\d{2})?(?:\.\d{1,9})?)(z| ?utc|[+-]\d{2}:?\d{2})?"
)
_WORD_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "秒": 1.0, "分钟": 60.0, "小时": 3600.0}


def reported_cooldown_seconds(
    objects: Iterable[Mapping[str, Any]], words: str, headers: Mapping[str, str]
) -> float | None:
    """Return the seconds for which a provider wants no requests, read from the body of its refusal, or `None`.

    `objects` are the JSON objects of the error, with fields such as `retry_after`, Google's `retryDelay`, a reset time,
    or OpenRouter's `metadata.headers`. `words` are its words in lower case, such as "please try again in 7m12.5s".
    Reset times count from the `Date` of the answer's `headers`. The longest time wins.
    """
    waits: list[float | None] = []
    for entry in objects:
        named = {str(key).lower(): value for key, value in entry.items()}
        texts = {key: str(value) for key, value in named.items() if isinstance(value, str | int | float)}
        waits.append(cooldown_seconds({**texts, "date": headers.get("date", "")}, refused=True))
        for key, value in named.items():
            key = key.replace("-", "_")
            if key in _WAIT_KEYS:
                waits.append(_field_seconds(value))
            elif key in _WAIT_MS_KEYS:
                waits.append(_milliseconds(str(value)))
            elif key in _RESET_KEYS:
                waits.append(_until(str(value), headers))
    waits += [_spoken_seconds(span) for span in _WAIT_WORDS.findall(words)]
    waits += [float(number) * _WORD_UNITS[unit] for number, unit in _WAIT_WORDS_ZH.findall(words)]
    waits += [_until(moment + (zone.strip() or "z"), headers) for moment, zone in _RESET_WORDS.findall(words)]
    known = [wait for wait in waits if wait is not None and wait > 0]
    return min(max(known), MAX_COOLDOWN_SECONDS) if known else None


def _field_seconds(value: Any) -> float | None:
    if isinstance(value, Mapping):  # Google's Duration as an object
        value = value.get("seconds")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return duration_seconds(str(value))


def _spoken_seconds(span: str) -> float:
    """Return `7m12.5s` or `1 hour and 5 minutes` as seconds."""
    seconds = 0.0
    for number, unit in re.findall(rf"({_AMOUNT}) ?({_UNIT})", span):
        seconds += float(number) * (
            0.001 if unit in ("ms", "millis") or unit.startswith("milli") else _WORD_UNITS[unit[0]]
        )
    return seconds


def _until(text: str, headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a Unix time or an ISO date; without a zone a date is in UTC."""
    now = _answered_at(headers)
    number = duration_seconds(text)
    if number is not None:
        if number < EARLIEST_UNIX_TIME:
            return None
        return (number if number < EARLIEST_UNIX_TIME * 1000 else number / 1000) - now.timestamp()
    try:
        moment = datetime.fromisoformat(text.strip().upper().replace(" UTC", "Z").replace("UTC", "Z"))
    except ValueError:
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
