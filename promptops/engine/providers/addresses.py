"""Base URLs of OpenAI-compatible servers."""

from __future__ import annotations

ENDPOINT = "/chat/completions"


def base_address(url: str) -> str:
    """Return `url` without a trailing /chat/completions, which operators paste with it."""
    bare = url.strip().rstrip("/")
    return bare[: -len(ENDPOINT)].rstrip("/") if bare.lower().endswith(ENDPOINT) else url.strip()
