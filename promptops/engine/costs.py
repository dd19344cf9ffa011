"""What an attempt cost, and what it used where the provider did not say."""

from __future__ import annotations

import math

from promptops.engine.types import LLMRequest, Prices, Usage

BYTES_PER_TOKEN = 4
"""A rule of thumb for English text (OpenAI's help pages: "1 token is about 4 characters"). Counted in bytes, so that
other scripts, which take more tokens, come out higher."""


def estimated_usage(request: LLMRequest, text: str) -> Usage:
    """The tokens of a request and of the `text` that came back, estimated from their length."""
    return Usage(sum(_tokens(message.content) for message in request.messages), _tokens(text))


def cost_of(usage: Usage | None, prices: Prices | None) -> float | None:
    """What `usage` cost in USD; `None` without prices or usage. Tokens that were not counted cost nothing."""
    if usage is None or prices is None:
        return None
    cached = usage.cached_tokens or 0
    cached_price = prices.input if prices.cached is None else prices.cached
    fresh = max(0, (usage.input_tokens or 0) - cached)
    return (fresh * prices.input + cached * cached_price + (usage.output_tokens or 0) * prices.output) / 1_000_000


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode("utf-8", errors="surrogatepass")) / BYTES_PER_TOKEN)
