"""Cooldowns that providers name: Retry-After, the rate-limit headers, and the bodies."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptops.engine import LLMProviderError
from promptops.engine.providers.reported import read_error
from promptops.engine.rate_limits import (
    MAX_COOLDOWN_SECONDS,
    cooldown_seconds,
    duration_seconds,
    reported_cooldown_seconds,
)
from tests.engine.helpers import call_server, http_answer

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
    seconds_read = cooldown_seconds(headers, refused=refused)
    assert seconds_read == (None if seconds is None else pytest.approx(seconds))


def test_a_date_without_the_answers_own_counts_from_now():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert cooldown_seconds({"retry-after": later}, refused=True) == pytest.approx(100, abs=5)


RESET = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2014891230000"}
RETRY_INFO = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "33s"}]


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"message": "Rate limit exceeded: free-models-per-day", "metadata": {"headers": RESET}}, 30.0),  # OpenRouter
        ({"message": "slow down", "details": RETRY_INFO}, 33.0),  # Google
        ({"message": "slow down", "details": [{"retryDelay": {"seconds": 33, "nanos": 5}}]}, 33.0),
        ({"message": "slow down", "details": [{"metadata": {"quotaResetDelay": "1h16m0.5s"}}]}, 4560.5),
        ({"message": "slow down", "retry_after": 12}, 12.0),
        ({"message": "slow down", "retry_after": "12"}, 12.0),
        ({"message": "slow down", "retryAfter": 12.5}, 12.5),
        ({"message": "slow down", "retry-after": "12"}, 12.0),
        ({"message": "slow down", "retry_after_seconds": 12}, 12.0),
        ({"message": "slow down", "retry_after_ms": 1500}, 1.5),
        ({"message": "slow down", "metadata": {"retry_after_seconds": 12}}, 12.0),
        ({"message": "slow down", "resets_at": 2014891230}, 30.0),
        ({"message": "slow down", "reset_at": "2033-11-06T12:00:30Z"}, 30.0),
        ({"message": "slow down", "resets_in_seconds": 30}, 30.0),
        ({"message": "Please try again in 7m12.5s. Visit x"}, 432.5),  # Groq, OpenAI
        ({"message": "Limit 3 / min. Please try again in 20s."}, 20.0),
        ({"message": "Please try again in 6ms."}, 0.006),
        ({"message": "Please retry in 21.124101106s."}, 21.124101106),  # Gemini
        ({"message": "Please retry after 26 seconds."}, 26.0),  # Azure
        ({"message": "Try again in 1 minute"}, 60.0),
        ({"message": "try again in 1 hour and 5 minutes"}, 3900.0),
        ({"message": "Please wait 20 seconds before the next request"}, 20.0),
        ({"message": "Your limit resets in 2h30m."}, 9000.0),
        ({"message": "It will be available again in about 2 days"}, 86400.0),
        ({"message": "Your quota will reset after 1h16m0s."}, 4560.0),
        ({"message": "The quota resets at 2033-11-06T12:00:30Z"}, 30.0),
        ({"message": "The quota resets at 2033-11-06 12:01 UTC"}, 60.0),
        ({"message": "retry after 2033-11-06T13:00:30+01:00"}, 30.0),
        ({"message": "请求过快，请在 20 秒后重试"}, 20.0),
        ({"message": json.dumps({"error": {"message": "try again in 20s"}})}, 20.0),
        ({"message": "Please try again in a few minutes."}, None),
        ({"message": "Please try again later."}, None),
        ({"message": "Limit 20 requests per minute, used 20"}, None),
        ({"message": "It took 20 seconds"}, None),
        ({"message": "see retry in https://x.test/try again in"}, None),
        ({"message": "slow down", "retry_after": -5}, None),
        ({"message": "slow down", "retry_after": True}, None),
        ({"message": "slow down", "retry_after": None}, None),
        ({"message": "slow down", "reset_at": "soon"}, None),
        ({"message": "The quota resets at 2033-11-06T11:00:00Z"}, None),
        ({"message": "Please try again in 900 days"}, MAX_COOLDOWN_SECONDS),
    ],
)
def test_times_in_bodies(error, seconds):
    reported = read_error({"error": error})
    assert reported is not None
    seconds_read = reported_cooldown_seconds(reported.objects, reported.words, {"date": NOON})
    assert seconds_read == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("status", [200, 429, 503])
async def test_the_time_in_a_body_is_the_errors(status, stream):
    error = {"message": "Please try again in 7m12.5s", "code": 429 if status == 200 else status}
    got, _ = await call_server(http_answer({"error": error}, status), stream=stream)
    assert isinstance(got, LLMProviderError)
    assert got.retry_after_s == pytest.approx(432.5)


async def test_a_time_in_the_words_of_another_refusal_is_no_cooldown():
    got, _ = await call_server(http_answer({"error": "A prompt cannot be 'try again in 20s'"}, 400), stream=False)
    assert isinstance(got, LLMProviderError)
    assert got.retry_after_s is None


@given(
    st.dictionaries(st.sampled_from(["retry_after", "reset_at", "retry-after", "x"]), st.text() | st.floats()),
    st.text(),
)
def test_whatever_a_body_says_is_read(entry, words):
    seconds_read = reported_cooldown_seconds([entry], words, {})
    assert seconds_read is None or 0 < seconds_read <= MAX_COOLDOWN_SECONDS


@pytest.mark.parametrize(
    "words", ["1h" * 3000, "try again in " * 500, "try again in 1s " + "1 s, and " * 500, "9" * 4096]
)
def test_hostile_words_take_no_time(words):
    started = time.process_time()
    reported_cooldown_seconds([], words[:4096], {})
    assert time.process_time() - started < 0.2


@given(st.text(), st.text(), st.booleans())
def test_any_text_is_read(text, remaining, refused):
    headers = {
        "retry-after": text,
        "date": remaining,
        "x-ratelimit-remaining-x": remaining,
        "x-ratelimit-reset-x": text,
    }
    seconds_read = cooldown_seconds(headers, refused=refused)
    assert seconds_read is None or 0 < seconds_read <= MAX_COOLDOWN_SECONDS
