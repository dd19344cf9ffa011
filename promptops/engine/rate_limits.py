"""When a provider wants to be left alone: `Retry-After` and the rate-limit headers, read as seconds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_COOLDOWN_SECONDS = 24 * 3600.0
"""The longest cooldown that is believed: the longest window of Cerebras and Groq is a day."""

EARLIEST_UNIX_TIME = 1e9
"""A reset from here on is no duration, which would be 31 years, but a Unix time; from a thousand times that in
milliseconds, as OpenRouter's is."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")


def cooldown_seconds(headers: Mapping[str, str], *, refused: bool) -> float | None:
    """How long the provider wants no further request, or `None` when it does not say.

    A refusal says it in `Retry-After` (seconds or a date, counted from the answer's own `Date`) or `retry-after-ms`.
    Any answer says it when a limit has nothing remaining: then that limit's reset counts, as float seconds (Cerebras),
    as a duration such as `2m59.56s` (Groq, OpenAI), or as a Unix time (OpenRouter). The longest one wins. `headers` are
    looked up in lower case.
    """
    waits = [_used_up(headers, name, value) for name, value in headers.items() if "ratelimit-remaining" in name.lower()]
    if refused:
        waits += [_retry_after(headers), _milliseconds(headers.get("retry-after-ms"))]
    known = [wait for wait in waits if wait is not None and wait > 0]
    return min(max(known), MAX_COOLDOWN_SECONDS) if known else None


def duration_seconds(text: str) -> float | None:
    """`2m59.56s`, `20ms` or plain seconds, as seconds; `None` for anything else, negative and endless ones included."""
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
    found = duration_seconds(text) if text else None
    return None if found is None else found / 1000


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
