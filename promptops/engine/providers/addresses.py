"""The address of a provider's server."""

from __future__ import annotations

from functools import lru_cache

ENDPOINT = "/chat/completions"


def base_address(url: str) -> str:
    """Return the base URL that people mean: without `/chat/completions`, which is often pasted with it."""
    path, mark, query = url.strip().partition("?")
    bare = path.rstrip("/")
    return bare[: -len(ENDPOINT)].rstrip("/") + mark + query if bare.lower().endswith(ENDPOINT) else url.strip()


@lru_cache(maxsize=256)
def endpoint(url: str) -> str:
    """Return the address that requests are sent to, for a base URL; a query, such as Azure's, stays behind it."""
    path, mark, query = base_address(url).partition("?")
    return path.rstrip("/") + ENDPOINT + mark + query
