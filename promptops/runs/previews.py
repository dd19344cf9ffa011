"""From a page's message to a run: what the "Try it" panel and a provider's Test button ask for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from django.core.exceptions import ValidationError

from promptops.engine.drills import Fault
from promptops.engine.operations import first_operation
from promptops.engine.snapshot import ProviderSpec, Snapshot
from promptops.people.models import User
from promptops.platform.text import clean_input
from promptops.prompts import queries
from promptops.prompts.checks import failures, run_checks
from promptops.prompts.content import Content
from promptops.prompts.forms import ContentForm
from promptops.prompts.models import Template, Version
from promptops.providers.live_part import provider_spec
from promptops.providers.models import Provider
from promptops.runs.enums import RunSource
from promptops.runs.forms import TryForm
from promptops.runs.plans import Drill, RunPlan
from promptops.texts.numbers import whole_number

TEST_INPUT = "a fox running through snow"
TEST_MAX_TOKENS = 64


@dataclass(frozen=True)
class Preview:
    """A plan, and the template that shows it; `streams` when text and status go to the "Try it" panel as they come."""

    plan: RunPlan
    template: str
    streams: bool
    context: dict[str, Any] = field(default_factory=dict)

    weight = 1  # runs at once


@dataclass(frozen=True)
class Cell:
    """One run of a smoke run: its place in the page, such as `2-live`, and its plan."""

    place: str
    plan: RunPlan


@dataclass(frozen=True)
class Smoke:
    """The editor's text on each sample input and, beside it, the live version if there is one."""

    template: Template
    next_number: int
    rows: list[tuple[str, list[Cell]]]  # the input and its runs, which go on at once

    weight = 2

    @property
    def runs(self) -> int:
        return sum(len(cells) for _, cells in self.rows)


Planner = Callable[[User, dict[str, Any], Snapshot], Preview | Smoke]


def key(data: dict[str, Any]) -> str:
    """Which run of a page a message is about: of the "Try it" panel, the smoke run, or the test of one provider.

    All runs with one key have the same weight.
    """
    if data.get("run" if data.get("action") == "cancel" else "action") == "smoke":
        return "smoke"
    provider = whole_number(data.get("provider"))
    return "try" if provider is None else f"test-{provider}"


def plan_try(user: User, data: dict[str, Any], snapshot: Snapshot) -> Preview:
    """A run of the editor's text, or of a version, on the chain or on one provider. Raises ValidationError."""
    form = TryForm(data)
    if not form.is_valid():
        raise ValidationError([message for errors in form.errors.values() for message in errors])
    wanted = form.cleaned_data
    template = Template.objects.filter(name=wanted["template"]).first()
    if template is None:
        raise ValidationError("This template does not exist. Reload the page.")
    operation = template.operation
    version = None
    if wanted["what"] == "editor":
        content = _editor_content(data, snapshot.variables.get(operation, {}))
    else:
        version = template.versions.filter(number=wanted["what"]).first()
        if version is None:
            raise ValidationError(f"{template.name} has no v{wanted['what']}.")
        content = Content(**version.content)
    providers = _providers(wanted["where"], snapshot)
    plan = RunPlan(
        operation=operation,
        input=clean_input(wanted["input"].replace("\r\n", "\n")),
        content=content,
        providers=providers,
        snapshot=snapshot,
        source=RunSource.PREVIEW,
        by=user,
        template=template,
        version=version,
        count=template.operation_spec.count_or_default(wanted["count"]),
        drill=_drill(wanted["fault"], wanted["faulty"], providers),
        delivery="stream",
    )
    return Preview(plan, "runs/_try_result.html", streams=True)


def plan_smoke(user: User, data: dict[str, Any], snapshot: Snapshot) -> Smoke:
    """The editor's text and the live version on the samples of the operation. Raises ValidationError."""
    template = Template.objects.select_related("live_version").filter(name=str(data.get("template"))).first()
    if template is None:
        raise ValidationError("This template does not exist. Reload the page.")
    operation = template.operation
    contents: list[tuple[str, Content, Version | None]] = [
        ("new", _editor_content(data, snapshot.variables.get(operation, {})), None)
    ]
    if version := template.live_version:
        contents.append(("live", Content(**version.content), version))
    rows = []
    for number, text in enumerate(queries.samples.of(operation).smoke, start=1):
        cells = []
        for place, content, ran in contents:
            plan = RunPlan(
                operation=operation,
                input=text,
                content=content,
                providers=snapshot.providers,
                snapshot=snapshot,
                source=RunSource.PREVIEW,
                by=user,
                template=template,
                version=ran,
                count=template.operation_spec.count_or_default(),
            )
            cells.append(Cell(f"{number}-{place}", plan))
        rows.append((text, cells))
    return Smoke(template, queries.templates.next_number(template), rows)


def plan_test(user: User, data: dict[str, Any], snapshot: Snapshot) -> Preview:
    """Return a short run of the first operation on one provider, which may be off. Raises ValidationError."""
    provider = _provider(data.get("provider"))
    operation = first_operation()
    template = snapshot.template_for(operation.name)
    plan = RunPlan(
        operation=operation.name,
        input=TEST_INPUT,
        # The live template's model is what a provider without one of its own would be asked for.
        content=Content(
            operation.default_text,
            max_tokens=TEST_MAX_TOKENS,
            model=(template.model or "") if template else "",
        ),
        providers=(provider_spec(provider),),
        snapshot=snapshot,
        source=RunSource.TEST,
        by=user,
    )
    return Preview(plan, "providers/_test_result.html", streams=False, context={"provider": provider})


PLANNERS: dict[str, Planner] = {"run": plan_try, "smoke": plan_smoke, "test": plan_test}


def _editor_content(data: dict[str, Any], values: Mapping[str, str]) -> Content:
    """The editor's text and settings, which have to pass the checks: a run shows what would be live."""
    form = ContentForm(data)
    if not form.is_valid():
        raise ValidationError([message for errors in form.errors.values() for message in errors])
    if failed := failures(run_checks(form.content.body, values)):
        raise ValidationError(failed)
    return form.content.cleaned()


def _providers(where: str, snapshot: Snapshot) -> tuple[ProviderSpec, ...]:
    return snapshot.providers if where == "chain" else (provider_spec(_provider(where)),)


def _drill(fault: str, provider: str, providers: tuple[ProviderSpec, ...]) -> Drill | None:
    """The fault to put in, if one is asked for. It goes into a provider that the run may ask, or nothing is drilled."""
    if not fault:
        return None
    found = next((spec for spec in providers if str(spec.id) == provider), None)
    if found is None:
        raise ValidationError("The drill's provider is not in this run. Choose one that is on, or run the whole chain.")
    return Drill(found.name, cast(Fault, fault))


def _provider(given: Any) -> Provider:
    found = Provider.objects.filter(pk=whole_number(given) or 0).first()
    if found is None:
        raise ValidationError("This provider does not exist any more. Reload the page.")
    return found
