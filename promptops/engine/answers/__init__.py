"""What a model wrote, turned into what is used. Pure: no provider, no network, no Django."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from promptops.engine.answers.alternatives import parse_alternatives
from promptops.engine.answers.reasoning import ReasoningFilter, split_reasoning

AnswerShape: TypeAlias = Literal["text", "lines"]
"""What an answer is to be: one prompt, or several alternatives."""


@dataclass(frozen=True)
class Reading:
    """An answer as read. `refusal` marks an answer that declines the request instead of fulfilling it."""

    text: str
    refusal: bool = False


def read_answer(written: str, shape: AnswerShape) -> Reading:
    """Return the answer that `written` holds."""
    return Reading(split_reasoning(written)[0])


__all__ = ["AnswerShape", "Reading", "ReasoningFilter", "parse_alternatives", "read_answer", "split_reasoning"]
