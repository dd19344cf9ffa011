"""Inputs of named fields: making the JSON object that a model gets, checking it, and reading it for a page."""

from __future__ import annotations

import json
from collections.abc import Mapping

from promptops.engine.operations import OperationSpec


def input_of(spec: OperationSpec, values: Mapping[str, str]) -> str:
    """Return the JSON object of an input of fields, in the order of the declaration. Blank fields are left out.

    Raises `ValueError` with a sentence for an unknown, a missing or a too long field.
    """
    declared = {field.name: field for field in spec.fields}
    if unknown := next((name for name in values if name not in declared), None):
        raise ValueError(f"{spec.name} has no field {unknown!r}. Its fields are {', '.join(declared)}.")
    written = {}
    for name, field in declared.items():
        value = values.get(name, "")
        if not isinstance(value, str):
            raise ValueError(f"The field {name} must be text.")
        if not value.strip():
            if field.required:
                raise ValueError(f"The field {name} is missing. Fill it in.")
            continue
        if field.max_characters and len(value) > field.max_characters:
            limit = f"at most {field.max_characters:,} are allowed"
            raise ValueError(f"The field {name} has {len(value):,} characters; {limit}.")
        written[name] = value
    if not written:
        raise ValueError("All fields are empty. Fill in at least one.")
    return json.dumps(written, ensure_ascii=False)


def check_input(spec: OperationSpec, text: str) -> None:
    """Raise `ValueError` with a sentence if the operation cannot take `text`. Texts and lists take any text."""
    if spec.input != "fields":
        return
    values = field_values(text)
    if values is None:
        names = ", ".join(field.name for field in spec.fields)
        raise ValueError(f"{spec.name} takes a JSON object with the fields {names}.")
    input_of(spec, values)


def field_values(text: str) -> dict[str, str] | None:
    """Return the fields of an input by name, or `None` if the text is not a JSON object."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def judged_text(spec: OperationSpec, text: str) -> str:
    """Return the input as the safety filter reads it: the values of fields without the marks of JSON."""
    values = field_values(text) if spec.input == "fields" else None
    return text if values is None else "\n\n".join(str(value) for value in values.values())
