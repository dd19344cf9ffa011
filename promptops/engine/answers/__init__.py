"""What a model wrote, turned into what is used. Pure: no provider, no network, no Django."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
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


def marked(written: str, read: str) -> list[tuple[str, bool]]:
    """Return the pieces of `written` in order, each with whether `read` lacks it."""
    matches = SequenceMatcher(None, written, read, autojunk=False).get_matching_blocks()
    pieces, at = [], 0
    for match in matches:
        pieces += [(written[at : match.a], True), (written[match.a : match.a + match.size], False)]
        at = match.a + match.size
    return [(text, removed) for text, removed in pieces if text]


__all__ = [
    "AnswerShape",
    "Reading",
    "ReasoningFilter",
    "marked",
    "parse_alternatives",
    "read_answer",
    "split_reasoning",
]
