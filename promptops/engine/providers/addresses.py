"""The form of a provider's address. The addresses that are never called are in `promptops/engine/addresses.py`."""

from __future__ import annotations

from functools import lru_cache

ENDPOINT = "/chat/completions"


def base_address(url: str) -> str:
    """Return the base URL without `/chat/completions`, which people often paste with it."""
    path, mark, query = url.strip().partition("?")
    bare = path.rstrip("/")
    return bare[: -len(ENDPOINT)].rstrip("/") + mark + query if bare.lower().endswith(ENDPOINT) else url.strip()


@lru_cache(maxsize=256)
def endpoint(url: str) -> str:
    """Return the address of requests for a base URL. A query, such as Azure's, stays at the end."""
    return _below(url, ENDPOINT)


def models_endpoint(url: str) -> str:
    """Return the address of the list of models for a base URL."""
    return _below(url, "/models")


def _below(url: str, path: str) -> str:
    base, mark, query = base_address(url).partition("?")
    return base.rstrip("/") + path + mark + query
