"""The messages of a request: the user message that a user template makes of an input, and example pairs.

The grammar of `{{ name }}` is in `promptops.engine.variables`. What may be stored or go live does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from promptops.engine.inputs import field_values
from promptops.engine.operations import OperationSpec
from promptops.engine.types import LLMMessage
from promptops.engine.variables import fill

Example: TypeAlias = tuple[str, str]
"""A text of a user and the answer of an assistant."""

COUNT = "count"
RESERVED = frozenset({"input", "prompts", COUNT})
"""Names that no variable may have, whatever the operation. The names of an operation's fields are reserved, too."""


def input_names(spec: OperationSpec) -> tuple[str, ...]:
    """Return the names under which a user template of the operation gets the input."""
    if spec.input == "fields":
        return tuple(field.name for field in spec.fields)
    return ("prompts",) if spec.input == "list" else ("input",)


def template_names(spec: OperationSpec) -> tuple[str, ...]:
    """Return all names of a user template of the operation that are not variables."""
    return (*input_names(spec), COUNT) if spec.offers_alternatives else input_names(spec)


def reserved_names(spec: OperationSpec) -> frozenset[str]:
    """Return the names that no variable of the operation may have."""
    return RESERVED | {field.name for field in spec.fields}


def user_message(
    spec: OperationSpec, text: str, *, template: str = "", variables: Mapping[str, str], count: int | None = None
) -> str:
    """Return the user message for the input `text`. Without a template it is exactly `text`.

    The template is filled in in one pass: what an input or a variable puts in is never read again. A field that is not
    filled in is "". Raises `ValueError` if the message would be blank, or if the input is no JSON object although the
    operation takes fields.
    """
    if not template.strip():
        return text
    message = fill(template, {**variables, **_input_values(spec, text, count)})
    if not message.strip():
        raise ValueError(f"The user message of {spec.name} is empty: its user template adds no text")
    return message


def example_messages(examples: Sequence[Example]) -> list[LLMMessage]:
    """Return the messages of example pairs, in order."""
    return [
        message
        for user, assistant in examples
        for message in (LLMMessage("user", user), LLMMessage("assistant", assistant))
    ]


def _input_values(spec: OperationSpec, text: str, count: int | None) -> dict[str, str]:
    wanted = spec.count_or_default(count)
    values = {} if wanted is None else {COUNT: str(max(1, wanted))}
    if spec.input != "fields":
        return values | dict.fromkeys(input_names(spec), text)
    given = field_values(text)
    if given is None:
        raise ValueError(f"The input of {spec.name} is not a JSON object")
    return values | {name: str(given.get(name, "")) for name in input_names(spec)}
