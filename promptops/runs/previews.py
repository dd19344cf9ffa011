"""Plans of runs from messages of a page: the "Try it" panel, the smoke run and a provider's Test button.

Executing a plan and showing its events belongs to `runs.socket`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from django.core.exceptions import ValidationError

from promptops.engine.drills import Fault
from promptops.engine.operations import OperationSpec
from promptops.engine.snapshot import ProviderSpec, Snapshot
from promptops.people.models import User
from promptops.prompts import queries
from promptops.prompts.answer_rules import narrowed
from promptops.prompts.checks import check_content, failures
from promptops.prompts.content import Content
from promptops.prompts.forms import ContentForm, typed_input
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
    """A plan and the template that shows it. `streams` means that text and status go to the page as they arrive."""

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
    spec: OperationSpec
    rows: list[tuple[str, list[Cell]]]  # each input with its runs, which are executed at once

    weight = 2

    @property
    def runs(self) -> int:
        return sum(len(cells) for _, cells in self.rows)


Planner = Callable[[User, dict[str, Any], Snapshot], Preview | Smoke]


def key(data: dict[str, Any]) -> str:
    """Return the key of the run that a message is about: "try", "smoke", or "test-7" for a provider's test.

    All runs with one key have the same weight.
    """
    if data.get("run" if data.get("action") == "cancel" else "action") == "smoke":
        return "smoke"
    provider = whole_number(data.get("provider"))
    return "try" if provider is None else f"test-{provider}"


def plan_try(user: User, data: dict[str, Any], snapshot: Snapshot) -> Preview:
    """Return a run of the editor's text or of a version, on the chain or on one provider. Raises ValidationError."""
    form = TryForm(data)
    if not form.is_valid():
        raise ValidationError([message for errors in form.errors.values() for message in errors])
    choices = form.cleaned_data
    try:
        template = Template.objects.get(name=choices["template"])
    except Template.DoesNotExist:
        raise ValidationError("This template does not exist. Reload the page.") from None
    operation = template.operation
    spec = _open_operation(operation, snapshot)
    version = None
    if choices["what"] == "editor":
        content = _editor_content(data, snapshot.variables.get(operation, {}), spec)
    else:
        version = template.versions.filter(number=choices["what"]).first()
        if version is None:
            raise ValidationError(f"{template.name} has no v{choices['what']}.")
        content = _version_content(version, spec)
    providers = _providers(choices["where"], snapshot)
    plan = RunPlan(
        operation=operation,
        input=typed_input(spec, {**data, "input": choices["input"]}),
        content=content,
        providers=providers,
        snapshot=snapshot,
        source=RunSource.PREVIEW,
        by=user,
        template=template,
        version=version,
        count=spec.count_or_default(choices["count"]),
        drill=_drill(choices["fault"], choices["faulty"], providers),
        delivery="stream",
    )
    return Preview(plan, "runs/_try_result.html", streams=True)


def plan_smoke(user: User, data: dict[str, Any], snapshot: Snapshot) -> Smoke:
    """Return runs of the editor's text and of the live version on the operation's samples. Raises ValidationError."""
    template = Template.objects.select_related("live_version").filter(name=str(data.get("template"))).first()
    if template is None:
        raise ValidationError("This template does not exist. Reload the page.")
    operation = template.operation
    spec = _open_operation(operation, snapshot)
    contents: list[tuple[str, Content, Version | None]] = [
        ("new", _editor_content(data, snapshot.variables.get(operation, {}), spec), None)
    ]
    if version := template.live_version:
        contents.append(("live", Content(**version.content), version))
    rows = []
    inputs = queries.samples.of(operation).smoke
    if not inputs:
        raise ValidationError(f"{operation} has no sample input yet. Pin one under “Try it” first.")
    for number, text in enumerate(inputs, start=1):
        cells = []
        for column, content, version_run in contents:
            plan = RunPlan(
                operation=operation,
                input=text,
                content=content,
                providers=snapshot.providers,
                snapshot=snapshot,
                source=RunSource.PREVIEW,
                by=user,
                template=template,
                version=version_run,
                count=spec.count_or_default(),
            )
            cells.append(Cell(f"{number}-{column}", plan))
        rows.append((text, cells))
    return Smoke(template, queries.templates.next_number(template), spec, rows)


def plan_test(user: User, data: dict[str, Any], snapshot: Snapshot) -> Preview:
    """Return a short run of the first operation on one provider, which may be off. Raises ValidationError."""
    provider = _provider(data.get("provider"))
    operation = next(iter(snapshot.operations.values()))  # a built-in one
    template = snapshot.template_for(operation.name)
    plan = RunPlan(
        operation=operation.name,
        input=TEST_INPUT,
        # A provider without its own model gets the live template's.
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


def _open_operation(name: str, snapshot: Snapshot) -> OperationSpec:
    """Return an operation that is not archived. Raises ValidationError."""
    try:
        return snapshot.operation(name)
    except ValueError:
        raise ValidationError(f"The operation {name} is archived. Restore it on the Operations page first.") from None


def _editor_content(data: dict[str, Any], values: Mapping[str, str], spec: OperationSpec) -> Content:
    """Return the editor's text and settings. They must pass the checks, as for publishing. Raises ValidationError."""
    form = ContentForm(data)
    if not form.is_valid():
        raise ValidationError([message for errors in form.errors.values() for message in errors])
    if failed := failures(check_content(form.content, values, spec)):
        raise ValidationError(failed)
    return form.content.cleaned()


def _version_content(version: Version, spec: OperationSpec) -> Content:
    """Return the content of a version. Raises ValidationError if the operation no longer fits its answer rules."""
    try:
        narrowed(spec, version.answer_rules)
    except ValueError as error:
        raise ValidationError(f"The answer rules of v{version.number} no longer fit {spec.name}. {error}") from None
    return Content(**version.content)


def _providers(where: str, snapshot: Snapshot) -> tuple[ProviderSpec, ...]:
    return snapshot.providers if where == "chain" else (provider_spec(_provider(where)),)


def _drill(fault: str, provider: str, providers: tuple[ProviderSpec, ...]) -> Drill | None:
    """Return the drill, if the message has a fault. Raises ValidationError if the run does not use its provider."""
    if not fault:
        return None
    faulty = next((spec for spec in providers if str(spec.id) == provider), None)
    if faulty is None:
        raise ValidationError("The drill's provider is not in this run. Choose one that is on, or run the whole chain.")
    return Drill(faulty.name, cast(Fault, fault))


def _provider(sent_id: Any) -> Provider:
    provider = Provider.objects.filter(pk=whole_number(sent_id) or 0).first()
    if provider is None:
        raise ValidationError("This provider no longer exists. Reload the page.")
    return provider
