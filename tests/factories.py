"""Factories: the objects that many tests set up, with a default for everything that a test is not about.

Plain functions that write through the actions where there is one. A set-up that one module needs stays in that module,
comparisons with answers are in `tests.comparing`, and people are fixtures in `tests.conftest`.
"""

from collections.abc import Sequence
from typing import Any

from promptops.compare.actions import comparisons
from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.models import Comparison
from promptops.ledger.audit import SYSTEM, Actor
from promptops.live import snapshots as live
from promptops.prompts.actions import releases
from promptops.prompts.actions.templates import create_template
from promptops.prompts.content import Content
from promptops.prompts.models import Template, Version
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.providers.models import Provider
from promptops.runs.models import Run

NOBODY_LISTENS = "http://127.0.0.1:1/v1"
KEY_OPTIONS = {"enabled", "key", "key_env"}


def build_run(**fields: Any) -> Run:
    """Return a run of enhance that succeeded, not saved."""
    defaults = {"source": "preview", "operation": "enhance", "temperature": 0.7, "max_tokens": 256, "revision": 1}
    return Run(**defaults | {"input": "a fox", "status": "succeeded", "latency_ms": 400.0} | fields)


def make_run(**fields: Any) -> Run:
    """Save a run of enhance that succeeded."""
    run = build_run(**fields)
    run.save()
    return run


def make_provider(
    name: str = "p1", kind: str = "openai", model: str = "m", *, by: Actor = SYSTEM, **more: Any
) -> Provider:
    """Add a provider to the chain. `more` is `enabled`, `key` or `key_env`, and other fields of `ProviderFields`."""
    options = {option: more.pop(option) for option in KEY_OPTIONS & set(more)}
    if kind == "openai":
        more.setdefault("base_url", NOBODY_LISTENS)
    return create_provider(ProviderFields(name, kind, model, **more), by=by, **options)


def get_or_make_template(name: str, operation: str = "", *, by: Actor = SYSTEM) -> Template:
    """Return the template of that name; a new one is for `operation`, by default the one of its name."""
    return Template.objects.filter(name=name).first() or create_template(name, operation or name, by=by)


def publish(
    name: str, body: str, *, operation: str = "", note: str = "", by: Actor = SYSTEM, **settings: Any
) -> Version:
    """Publish on top of what is live. The template is created if it is missing."""
    template = get_or_make_template(name, operation, by=by)
    content = Content(body, **settings)
    version = releases.publish(template, content, by=by, expected=template.live_version_id, note=note)
    version.template.refresh_from_db()
    return version


def arm_of(version: Version, provider: Provider) -> ArmChoice:
    """Return an arm that asks a provider with a version."""
    return ArmChoice(version.template, version, Content(**version.content), provider)


def start_comparison(
    arms: Sequence[ArmChoice], inputs: Sequence[str] = ("a fox",), *, by: Actor, name: str = "Old or new", **more: Any
) -> Comparison:
    """Start a comparison on what is live. `more` goes to `comparisons.start`."""
    operation = arms[0].template.operation
    more.setdefault("inputs_from", "Foxes")
    return comparisons.start(name, operation, list(inputs), arms, by=by, snapshot=live.load(), **more)
