"""What a run reports while it goes on, and how it can be asked for. No behaviour belongs here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from promptops.engine.types import Attempt, LLMResponse, TextChunk

Delivery: TypeAlias = Literal["stream", "whole"]
"""How an answer is handed over: in pieces as they come, or whole when it is complete."""


@dataclass(frozen=True)
class AttemptStarted:
    """A provider is being asked; `index` counts the run's attempts from 0."""

    index: int
    provider: str
    model: str


@dataclass(frozen=True)
class AttemptFailed:
    """A provider gave no answer; `falling_back` says that another call is, or can still be, made."""

    index: int
    attempt: Attempt
    falling_back: bool


@dataclass(frozen=True)
class RunDone:
    """The run has its answer. The text in `response` is the one that counts, whatever pieces came before."""

    response: LLMResponse


ChainEvent: TypeAlias = AttemptStarted | AttemptFailed | TextChunk | RunDone


@dataclass(frozen=True)
class HedgePolicy:
    """When to start the next provider beside one that is slow.

    `delay_ms` is how long the first one has for its first text, or for its answer when it is not streamed; `None` is
    the 95th percentile of its own latest latencies (no hedge while they are too few), 0 is a race. `budget` is how
    many extra calls there may be for each run, shared by all runs with the same `HealthRegistry`.
    """

    delay_ms: int | None = None
    budget: float = 0.10
