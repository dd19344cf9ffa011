"""The events of a run, and the ways to request one. No behavior belongs here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from promptops.engine.types import Attempt, LLMResponse, TextChunk

Delivery: TypeAlias = Literal["stream", "whole"]
"""The way an answer is handed over: in pieces as they arrive, or whole when it is complete."""


@dataclass(frozen=True)
class AttemptStarted:
    """A call of a provider began. `index` counts the run's attempts from 0."""

    index: int
    provider: str
    model: str


@dataclass(frozen=True)
class AttemptFailed:
    """A provider gave no answer. `falling_back` says that another call is in progress or can still be made."""

    index: int
    attempt: Attempt
    falling_back: bool


@dataclass(frozen=True)
class RunDone:
    """The run has its answer. The text in `response` counts, whatever pieces came before."""

    response: LLMResponse


ChainEvent: TypeAlias = AttemptStarted | AttemptFailed | TextChunk | RunDone


@dataclass(frozen=True)
class HedgePolicy:
    """The rule for starting the next provider beside a slow one.

    `delay_ms` is the time that the first provider has for its first text, or for its answer if it is not streamed.
    `None` is the 95th percentile of its latest latencies (no hedge while there are too few), and 0 is a race. `budget`
    is the number of extra calls for each run, shared by all runs with the same `HealthRegistry`.
    """

    delay_ms: int | None = None
    budget: float = 0.10
