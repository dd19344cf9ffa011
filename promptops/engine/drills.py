"""Failover drills: a provider that fails on purpose, so that one can watch the chain cope.

A drill is run like any other, with the faulty provider in the chain, but with a `copy()` of the shared
`HealthRegistry`, so that it counts in no statistic and still calls no other provider that is to be left alone. The
provider itself is never called while the fault is in.
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
"""How often a dripping provider shows that it is alive without saying anything."""

RETRY_AFTER_SECONDS = 2.0
"""What a drill's 429 asks for."""


def faulty(provider: LLMProvider, fault: Fault) -> LLMProvider:
    """`provider` with a fault: its name, model, limits and choices are kept, its prices are not, for nothing is used.

    `timeout` never answers; `drip` keeps the connection busy and says nothing; `cut_stream` breaks off after the first
    words, or, when it is not streamed, before the answer. Raises `ValueError` for an unknown fault.
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
        """Fail."""
        async for _ in self.stream(request):
            pass
        raise AssertionError("a faulty provider never answers")

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamEvent, None]:
        """Fail, a cut stream after its first words."""
        if self._fault == "cut_stream":
            yield TextChunk("A red fox ")
        while self._fault in ("timeout", "drip"):
            await asyncio.sleep(DRIP_SECONDS if self._fault == "drip" else 3600)
            yield TextChunk("")
        raise self._error()

    def _error(self) -> LLMProviderError:
        match self._fault:
            case "429":
                error: LLMProviderError = LLMRateLimitedError(self._says("answered with status 429"), status=429)
                error.retry_after_s = RETRY_AFTER_SECONDS
                return error
            case "503":
                return LLMServerError(self._says("answered with status 503"), status=503)
            case "401":
                return LLMAuthError(self._says("answered with status 401"), status=401)
            case "empty":
                return LLMEmptyError(self._says("sent an empty answer"))
        return LLMTransportError(self._says("broke off its answer before the end"))

    def _says(self, what: str) -> str:
        return f"{self.name} {what} (drill)"
