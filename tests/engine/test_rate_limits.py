"""Retry-After and the rate-limit headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptops.engine.rate_limits import MAX_COOLDOWN_SECONDS, cooldown_seconds, duration_seconds

NOON = "Sun, 06 Nov 2033 12:00:00 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2.0),
        (" 11.7 ", 11.7),
        ("2m59.56s", 179.56),
        ("7.66s", 7.66),
        ("20ms", 0.02),
        ("1h2m", 3720.0),
        ("1d", 86400.0),
        ("6M0S", 360.0),
        ("0", 0.0),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("2m soon", None),
        ("s", None),
    ],
)
def test_durations(text, seconds):
    assert duration_seconds(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "refused", "seconds"),
    [
        ({}, True, None),
        ({"retry-after": "2"}, True, 2.0),
        ({"retry-after": "2"}, False, None),  # only a refusal asks for another try
        ({"retry-after": "0"}, True, None),
        ({"retry-after": "-5"}, True, None),
        ({"retry-after": "1e30"}, True, MAX_COOLDOWN_SECONDS),
        ({"retry-after": "sometime"}, True, None),
        ({"retry-after": "Sun, 06 Nov 2033 12:00:30 GMT", "date": NOON}, True, 30.0),
        ({"retry-after": "Sun, 06 Nov 2033 11:00:00 GMT", "date": NOON}, True, None),
        ({"retry-after": "1", "retry-after-ms": "2500"}, True, 2.5),
        # Groq: 14,400 a day, tokens used up for 7.66 s
        (
            {
                "x-ratelimit-remaining-requests": "14370",
                "x-ratelimit-reset-requests": "2m59.56s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "7.66s",
            },
            False,
            7.66,
        ),
        # Cerebras: float seconds
        (
            {"x-ratelimit-remaining-requests-day": "0", "x-ratelimit-reset-requests-day": "33011.382867"},
            False,
            33011.382867,
        ),
        # OpenRouter: the Unix time in milliseconds; others: in seconds
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2014891230000", "date": NOON}, True, 30.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2014891230", "date": NOON}, True, 30.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2014891170", "date": NOON}, True, None),
        ({"x-ratelimit-remaining-tokens-minute": "0"}, True, None),
        ({"x-ratelimit-remaining-tokens-minute": "lots", "x-ratelimit-reset-tokens-minute": "9"}, True, None),
        ({"retry-after": "2", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9s"}, True, 9.0),
    ],
)
def test_cooldowns(headers, refused, seconds):
    found = cooldown_seconds(headers, refused=refused)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_a_date_without_the_answers_own_counts_from_now():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert cooldown_seconds({"retry-after": later}, refused=True) == pytest.approx(100, abs=5)


@given(st.text(), st.text(), st.booleans())
def test_whatever_comes_is_read(text, remaining, refused):
    headers = {
        "retry-after": text,
        "date": remaining,
        "x-ratelimit-remaining-x": remaining,
        "x-ratelimit-reset-x": text,
    }
    found = cooldown_seconds(headers, refused=refused)
    assert found is None or 0 < found <= MAX_COOLDOWN_SECONDS
