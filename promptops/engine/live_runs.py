"""Planning a run of what is live from memory alone: its input, its template and the request to the chain.

PromptOps' routes for machines and the library for servers plan their runs here, so that both send the same request.
Judging and answering belong to `judged_runs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar

from promptops.engine.enhancer import build_request
from promptops.engine.inputs import check_input, input_of
from promptops.engine.operations import OperationSpec
from promptops.engine.snapshot import Snapshot, TemplateSpec
from promptops.engine.types import LLMRequest

Number = TypeVar("Number", int, float)

Input: TypeAlias = str | Sequence[str] | Mapping[str, str]
"""A text, the prompts of a list, or fields by name."""


def input_text(spec: OperationSpec, given: Input) -> str:
    """Return the input as one text. Raises `ValueError`."""
    if isinstance(given, str):
        text = given
    elif isinstance(given, Mapping):
        if spec.input != "fields":
            raise ValueError(f"{spec.name} takes no fields")
        text = input_of(spec, given)
    else:
        if not spec.input_is_list:
            raise ValueError(f"{spec.name} takes one text, not a list")
        text = "\n".join(given)
    if not text.strip():
        raise ValueError(f"The input of {spec.name} is empty")
    check_input(spec, text)
    return text


def template_of(snapshot: Snapshot, spec: OperationSpec, name: str | None) -> TemplateSpec:
    """Return the template of that name, or the operation's default one. Raises `ValueError`.

    A built-in operation without a default template has its built-in text, as a template without a name.
    """
    if name is None:
        template = snapshot.template_for(spec.name)
        if template is None and spec.default_text:
            return built_in_template(spec)
        if template is None:
            raise ValueError(f"{spec.name} has no live template. Publish one in PromptOps.")
        return template
    template = next((each for each in snapshot.templates if each.name == name), None)
    if template is None or template.operation != spec.name:
        raise ValueError(f"{spec.name} has no live template {name!r}")
    return template


def built_in_template(spec: OperationSpec) -> TemplateSpec:
    """Return the built-in text of an operation as a template without a name."""
    return TemplateSpec(
        id=0,
        name="",
        operation=spec.name,
        version_id=0,
        version_number=0,
        body=spec.default_text,
        temperature=None,
        max_tokens=None,
        model=None,
        sha256="",
    )


def live_request(
    snapshot: Snapshot,
    template: TemplateSpec,
    text: str,
    *,
    count: int | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    system_prompt: str | None = None,
) -> LLMRequest:
    """Return the request that runs a live template on `text`.

    A temperature, a limit of tokens or a system prompt of the caller replaces that of the template and the settings.
    """
    name = template.operation
    settings = snapshot.settings_for(name)
    return build_request(
        snapshot.operation(name),
        text,
        system_prompt=snapshot.filled(name, template.body) if system_prompt is None else system_prompt,
        user_template=template.user_template,
        examples=template.examples,
        variables=snapshot.variables.get(name, {}),
        model=template.model or "",
        temperature=_first(temperature, template.temperature, settings.temperature),
        max_tokens=_first(max_tokens, template.max_tokens, settings.max_tokens),
        count=count,
        parameters=template.parameters,
        contract=snapshot.contract_for(template),
    )


def _first(*values: Number | None) -> Number | None:
    """Return the first value that is set."""
    return next((value for value in values if value is not None), None)
