"""Read the prompt, or the alternatives, in the text that a model wrote. No provider, network or Django belongs here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from promptops.engine.answers.alternatives import parse_alternatives
from promptops.engine.answers.marking import marked
from promptops.engine.answers.reasoning import ReasoningFilter, split_reasoning
from promptops.engine.answers.refusals import is_refusal
from promptops.engine.answers.wrapping import read_text

AnswerShape: TypeAlias = Literal["text", "lines"]
"""The expected shape of an answer: one prompt, or several alternatives."""


@dataclass(frozen=True)
class Reading:
    """An answer as read. `refusal` marks an answer that declines the request, `data` is the value of JSON."""

    text: str
    refusal: bool = False
    data: Any = None


def read_answer(written: str, shape: AnswerShape) -> Reading:
    """Return the answer in the text `written`.

    A "text" loses everything that is clearly wrapped around the prompt. "lines" lose only reasoning and end tokens;
    `parse_alternatives` reads the rest.
    """
    answer, _ = split_reasoning(written)
    text = read_text(answer)
    return Reading(text if shape == "text" else answer, is_refusal(text))


__all__ = [
    "AnswerShape",
    "Reading",
    "ReasoningFilter",
    "marked",
    "parse_alternatives",
    "read_answer",
    "split_reasoning",
]
