"""A key in a provider's text is masked in every spelling. A placeholder word is not."""

from __future__ import annotations

import json
import time
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest

from promptops.engine.providers.masking import clean_detail, mask_key
from tests.engine.helpers import call_server, http_answer

KEY = "sk-Very/secret+4711?abcdefgh"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("EMPTY", "messages must not be empty"),
        ("ollama", "try pulling it with ollama pull m"),
        ("none", "None of these is known"),
        ("k", "max_tokens"),
    ],
)
async def test_a_word_is_no_secret(key, message):
    got, _ = await call_server(http_answer({"error": {"message": message}}, 400), stream=False, api_key=key)
    assert message in str(got)


@pytest.mark.parametrize("key", ["k3y", "pa-ss", "x1", "abcdefgh", "12345"])
async def test_a_short_key_that_is_no_word_is_masked(key):
    got, _ = await call_server(http_answer({"error": {"message": f"bad <{key}>"}}, 400), stream=False, api_key=key)
    assert "bad <[key]>" in str(got)


@pytest.mark.parametrize(
    "spelling",
    [
        KEY,
        KEY.upper(),
        quote(KEY, safe=""),
        quote(KEY, safe="").lower(),
        quote(KEY),
        json.dumps(KEY)[1:-1],
        b64encode(KEY.encode()).decode(),
        urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
        b64encode(f"Bearer {KEY}".encode()).decode(),
        b64encode(f"user:{KEY}\n".encode()).decode(),
        b64encode(f"us:{KEY}...".encode()).decode(),
        KEY[: len(KEY) // 2],
        KEY[len(KEY) // 2 :],
        KEY[:-3],
        KEY[4:],
    ],
)
def test_every_spelling_is_masked(spelling):
    masked = mask_key(f"before {spelling} behind", KEY)
    assert masked.startswith("before ")
    assert masked.endswith(" behind")
    assert "[key]" in masked
    for start in range(len(spelling) - 12):
        assert spelling[start : start + 13] not in masked


def test_the_rest_of_a_half_is_masked_with_it():
    assert mask_key(f"<{KEY[:20]}...>", KEY) == "<[key]...>"
    assert mask_key(f"<...{KEY[5:]}>", KEY) == "<...[key]>"


def test_other_text_stays():
    assert mask_key("a fox, sk-Very", KEY) == "a fox, sk-Very"
    assert mask_key("a fox", None) == "a fox"


def test_a_detail_is_masked_before_it_is_shortened():
    detail = clean_detail("x" * 290 + KEY + " \n and  more", KEY, 300)
    assert detail == "x" * 290 + "[key] and …"


def test_a_hostile_detail_takes_no_time():
    started = time.process_time()
    for text in (KEY[:14] * 100_000, "s" * 1_000_000, " " * 1_000_000):
        assert len(clean_detail(text, KEY, 300)) <= 301
    assert time.process_time() - started < 0.5
