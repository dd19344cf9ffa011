"""Filters for the pages of comparisons. Settings make them builtins."""

from __future__ import annotations

from django import template

from promptops.compare.queries.matrix import Answer
from promptops.web.templatetags.ui import duration, number, usd

register = template.Library()


@register.filter(name="facts")
def facts(answer: Answer) -> str:
    """What a cell of a comparison tells below an answer, but for the run: " · 412 ms · 20 in · stop"."""
    told = [duration(answer.latency_ms)]
    if answer.input_tokens is not None:
        told.append(f"{number(answer.input_tokens)} in")
    if answer.output_tokens is not None:
        told.append(f"{number(answer.output_tokens)} token{'' if answer.output_tokens == 1 else 's'} out")
    if answer.cost is not None:
        told.append(f"{'~' if answer.cost_estimated else ''}{usd(answer.cost)}")
    if answer.finish_reason:
        told.append(answer.finish_reason)
    return "".join(f" · {fact}" for fact in told)
