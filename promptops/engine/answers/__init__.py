"""What a model wrote, turned into what is used. Pure: no provider, no network, no Django."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from promptops.engine.answers.alternatives import parse_alternatives
from promptops.engine.answers.marking import marked
from promptops.engine.answers.reasoning import ReasoningFilter, split_reasoning
from promptops.engine.answers.refusals import is_refusal
from promptops.engine.answers.wrapping import read_text

AnswerShape: TypeAlias = Literal["text", "lines"]
"""What an answer is to be: one prompt, or several alternatives."""


@dataclass(frozen=True)
class Reading:
    """An answer as read. `refusal` marks an answer that declines the request instead of fulfilling it."""

    text: str
    refusal: bool = False


def read_answer(written: str, shape: AnswerShape) -> Reading:
    """Return the answer that `written` holds.

    A text loses everything that is plainly wrapped around the prompt. Lines lose reasoning and end tokens alone;
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
