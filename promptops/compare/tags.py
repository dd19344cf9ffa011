"""Template filters for the pages of comparisons. The settings make them builtins."""

from __future__ import annotations

from django import template

from promptops.compare.queries.matrix import Answer
from promptops.texts.formats import duration, number, usd

register = template.Library()


@register.filter(name="facts")
def facts(answer: Answer) -> str:
    """Return the facts below an answer in a cell, such as " · 412 ms · 20 in · stop"."""
    parts = [duration(answer.latency_ms)]
    if answer.input_tokens is not None:
        parts.append(f"{number(answer.input_tokens)} in")
    if answer.output_tokens is not None:
        parts.append(f"{number(answer.output_tokens)} token{'' if answer.output_tokens == 1 else 's'} out")
    if answer.cost is not None:
        parts.append(f"{'~' if answer.cost_estimated else ''}{usd(answer.cost)}")
    if answer.finish_reason:
        parts.append(answer.finish_reason)
    return "".join(f" · {fact}" for fact in parts)
