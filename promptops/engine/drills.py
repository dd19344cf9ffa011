"""Failover drills: a provider with a simulated failure, to see which provider answers.

A drill is an ordinary run with the faulty provider in the chain and a `copy()` of the shared `HealthRegistry`. So it
counts in no statistic, and it skips the same providers as other runs. The real provider is never called meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Literal, TypeAlias, get_args

from promptops.engine.errors import (
    LLMAuthError,
    LLMEmptyError,
    LLMProviderError,
    LLMRateLimitedError,
    LLMServerError,
    LLMTransportError,
)
from promptops.engine.types import LLMProvider, LLMRequest, LLMResponse, StreamEvent, TextChunk

Fault: TypeAlias = Literal["429", "503", "timeout", "drip", "empty", "401", "cut_stream"]

FAULTS: tuple[Fault, ...] = get_args(Fault)

DRIP_SECONDS = 0.05
"""The pause between two empty pieces of a dripping provider."""

RETRY_AFTER_SECONDS = 2.0
"""The cooldown that a drill's 429 asks for."""


def faulty(provider: LLMProvider, fault: Fault) -> LLMProvider:
    """Return `provider` with a fault. It has the same name, model, limits and choices, but no prices.

    `timeout` never answers. `drip` keeps the connection busy without text. `cut_stream` breaks off after the first
    words, or before the answer if it is not streamed. Raises `ValueError` for an unknown fault.
    """
    if fault not in FAULTS:
        raise ValueError(f"Unknown fault {fault!r}; known are {', '.join(FAULTS)}")
    return _Faulty(provider, fault)


class _Faulty:
    prices = None

    def __init__(self, provider: LLMProvider, fault: Fault) -> None:
        self.name = provider.name
        self._provider = provider
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Raise the error of the fault."""
        async for _ in self.stream(request):
            pass
        raise AssertionError("a faulty provider never answers")

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamEvent, None]:
        """Raise the error of the fault, for a cut stream after its first words."""
        if self._fault == "cut_stream":
            yield TextChunk("A red fox ")
        while self._fault in ("timeout", "drip"):
            await asyncio.sleep(DRIP_SECONDS if self._fault == "drip" else 3600)
            yield TextChunk("")
        raise self._error()

    def _error(self) -> LLMProviderError:
        match self._fault:
            case "429":
                error: LLMProviderError = LLMRateLimitedError(self._message("answered with status 429"), status=429)
                error.retry_after_s = RETRY_AFTER_SECONDS
                return error
            case "503":
                return LLMServerError(self._message("answered with status 503"), status=503)
            case "401":
                return LLMAuthError(self._message("answered with status 401"), status=401)
            case "empty":
                return LLMEmptyError(self._message("sent an empty answer"))
        return LLMTransportError(self._message("broke off its answer before the end"))

    def _message(self, what: str) -> str:
        return f"{self.name} {what} (drill)"
