"""The cost of an attempt, and an estimate of its tokens for a provider that counted none."""

from __future__ import annotations

import math

from promptops.engine.types import LLMRequest, Prices, Usage

BYTES_PER_TOKEN = 4
"""A rule of thumb for English text (OpenAI's help pages: "1 token is about 4 characters"). It counts bytes,
because other scripts take more tokens."""


def estimated_usage(request: LLMRequest, text: str) -> Usage:
    """Return the tokens of a request and of its answer `text`, estimated from their length."""
    return Usage(sum(_tokens(message.content) for message in request.messages), _tokens(text))


def cost_of(usage: Usage | None, prices: Prices | None) -> float | None:
    """Return the cost of `usage` in USD, or `None` without prices or usage. Uncounted tokens cost nothing."""
    if usage is None or prices is None:
        return None
    cached = usage.cached_tokens or 0
    cached_price = prices.input if prices.cached is None else prices.cached
    fresh = max(0, (usage.input_tokens or 0) - cached)
    return (fresh * prices.input + cached * cached_price + (usage.output_tokens or 0) * prices.output) / 1_000_000


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode("utf-8", errors="surrogatepass")) / BYTES_PER_TOKEN)
