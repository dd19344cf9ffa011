"""Filters for pages that show runs. Settings make them builtins."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from promptops.engine.inputs import field_values
from promptops.engine.operations import OperationSpec
from promptops.engine.providers.kinds import KINDS
from promptops.live import snapshots
from promptops.runs.enums import RunStatus
from promptops.runs.trees import read_tree
from promptops.web.templatetags.ui import chip

register = template.Library()


@register.filter(name="input_fields")
def input_fields(text: str, spec: OperationSpec) -> dict[str, str]:
    """Return the fields of an input by name; none for an input of another kind."""
    return (field_values(text) if spec.input == "fields" else None) or {}


@register.filter(name="answer_tree")
def answer_tree(text: str, spec: OperationSpec) -> SafeString:
    """Return the tree of a JSON answer; "" for another answer."""
    return read_tree(text) if spec.answer == "json" else SafeString("")


@register.filter(name="first_line")
def first_line(text: str) -> str:
    """Return the first line of an answer that has words. If it has none, as in indented JSON, all lines are joined."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return line.strip() if any(map(str.isalnum, line)) else " ".join(text.split())


@register.filter(name="is_demonstration")
def is_demonstration(provider: str) -> bool:
    """Return whether the provider of that name is the embedded model in what is live."""
    snapshot = snapshots.loaded_snapshot()
    providers = snapshot.providers if snapshot else ()
    return any(spec.name == provider and KINDS[spec.kind].embedded for spec in providers)


@register.filter(name="status_chip")
def status_chip(status: str) -> SafeString:
    """Return the chip of a run's status."""
    states = {RunStatus.SUCCEEDED: "ok", RunStatus.CANCELED: "", RunStatus.UNCHANGED: "warn"}
    return chip(RunStatus(status).label.lower(), states.get(RunStatus(status), "bad"))
