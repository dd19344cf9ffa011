"""Mask a provider's key in the texts that the provider sends."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from functools import lru_cache
from itertools import takewhile
from urllib.parse import quote

MASK = "[key]"

MIN_HALF = 8
"""The shortest half of a key that is masked by itself. A shorter half may be a word."""

_SHORTEST_SECRET = 8
_MOST_READ = 16_384


def mask_key(text: str, key: str | None) -> str:
    """Return `text` with `key` masked in every spelling of `_spellings`.

    A key of fewer than 8 characters, all of them letters, is a word that people type if any key is accepted (EMPTY,
    none, ollama). Masking it would remove words of the message.
    """
    if not key or (len(key) < _SHORTEST_SECRET and key.isalpha()):
        return text
    for spelling in _spellings(key):
        text = re.sub(re.escape(spelling), MASK, text, flags=re.IGNORECASE)
    return _without_half(_without_half(text, key), key[::-1], backwards=True)


@lru_cache(maxsize=64)
def _spellings(key: str) -> tuple[str, ...]:
    """Return the spellings of a key: as sent, percent-encoded, JSON-escaped, and in base64, longest first.

    Inside a longer text in base64, a key has three different forms, depending on its offset. The characters at both
    ends also depend on the text beside the key, so they are left out.
    """
    raw = key.encode()
    spellings = {key, quote(key, safe=""), quote(key), json.dumps(key)[1:-1]}
    for offset in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            encoded = encode(b"\0" * offset + raw).decode().rstrip("=")
            inner = encoded[(0, 2, 3)[offset] : len(encoded) - ((offset + len(raw)) % 3 > 0)]
            if len(inner) >= MIN_HALF:
                spellings.add(inner)
    return tuple(sorted(spellings, key=len, reverse=True))


def _without_half(text: str, key: str, *, backwards: bool = False) -> str:
    """Mask the first half of a key with the rest of it that follows; backwards, the last half of a reversed key."""
    half = -(-len(key) // 2)
    if half < MIN_HALF:
        return text
    text = text[::-1] if backwards else text
    mask = MASK[::-1] if backwards else MASK
    parts, at = [], 0
    for match in re.finditer(re.escape(key[:half]), text, re.IGNORECASE):
        if match.start() < at:
            continue
        rest = zip(key[half:], text[match.end() : match.end() + len(key)], strict=False)
        more = sum(1 for _ in takewhile(lambda pair: pair[0].lower() == pair[1].lower(), rest))
        parts += [text[at : match.start()], mask]
        at = match.end() + more
    masked = "".join(parts) + text[at:]
    return masked[::-1] if backwards else masked


def clean_detail(text: str, key: str | None, length: int) -> str:
    """Return a provider's text for a message: without the key, on one line, and at most `length` characters."""
    masked = " ".join(mask_key(text[:_MOST_READ], key).split())
    return masked if len(masked) <= length else masked[:length] + "…"
