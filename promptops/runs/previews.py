"""Plans of runs from messages of a page: the "Try it" panel, the smoke run and a provider's Test button.

Executing a plan and showing its events belongs to `runs.socket`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from django.core.exceptions import ValidationError

from promptops.engine.drills import Fault
from promptops.engine.operations import OperationSpec
from promptops.engine.snapshot import ProviderSpec, Snapshot
from promptops.people.models import User
from promptops.prompts import queries
from promptops.prompts.answer_rules import narrowed
from promptops.prompts.checks import check_content, failures
from promptops.prompts.content import PARAMETERS, TEXTS, Content
from promptops.prompts.forms import ContentForm, typed_input
from promptops.prompts.models import Template, Version
from promptops.providers.live_part import provider_spec
from promptops.providers.models import Provider
from promptops.runs.answers import Base, Ran
from promptops.runs.enums import RunSource
from promptops.runs.forms import LIVE, PLACE, TryForm
from promptops.runs.models import Run
from promptops.runs.plans import Drill, RunPlan
from promptops.runs.queries import answers
from promptops.texts.numbers import whole_number

NO_PLACE = "try-0"
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
class Try:
    """Runs with one input that are executed at once, each shown as a card in the group `place` of the page.

    A single answer is compared with `base`, several with the first of them.
    """

    place: str
    previews: list[Preview]
    base: Base | None = None
    is_against_live: bool = False

    @property
    def weight(self) -> int:
        return len(self.previews)


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


Planned: TypeAlias = Preview | Try | Smoke
Planner = Callable[[User, dict[str, Any], Snapshot], Planned]


def key(data: dict[str, Any]) -> str:
    """Return the key of the run that a message is about: "try", "smoke", or "test-7" for a provider's test."""
    if data.get("run" if data.get("action") == "cancel" else "action") == "smoke":
        return "smoke"
    provider = whole_number(data.get("provider"))
    return "try" if provider is None else f"test-{provider}"


def plan_try(user: User, data: dict[str, Any], snapshot: Snapshot) -> Try:
    """Return runs of the editor's text or of a version, on the chain or on one provider. Raises ValidationError.

    It is one run, or several of the same text, or the live version and the text.
    """
    form = TryForm(data)
    if not form.is_valid():
        raise ValidationError([message for errors in form.errors.values() for message in errors])
    choices = form.cleaned_data
    template = Template.objects.select_related("live_version").filter(name=choices["template"]).first()
    if template is None:
        raise ValidationError("This template does not exist. Reload the page.")
    spec = _open_operation(template.operation, snapshot)
    providers = _providers(choices["where"], snapshot)
    text = typed_input(spec, {**data, "input": choices["input"]})

    def plan(content: Content, version: Version | None) -> RunPlan:
        return RunPlan(
            operation=template.operation,
            input=text,
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

    version = None
    if choices["what"] == "editor":
        content = _editor_content(data, snapshot.variables.get(template.operation, {}), spec)
    else:
        version = template.versions.filter(number=choices["what"]).first()
        if version is None:
            raise ValidationError(f"{template.name} has no v{choices['what']}.")
        content = _version_content(version, spec)
    runs = choices["runs"] or "1"
    plans = [plan(content, version)] * (1 if runs == LIVE else int(runs))
    if runs == LIVE:
        other = _live_to_compare(template, version)
        plans.insert(0, plan(_version_content(other, spec), other))
    provider = "" if choices["where"] == "chain" else providers[0].name
    place = choices["place"] or NO_PLACE
    return Try(
        place,
        _cards(place, plans, provider),
        _base(choices["against"], template.operation, text) if len(plans) == 1 else None,
        is_against_live=runs == LIVE,
    )


def plan_again(user: User, data: dict[str, Any], snapshot: Snapshot) -> Try:
    """Return a run with the input and the text of a recorded run, on the chain of now. Raises ValidationError."""
    number = whole_number(data.get("run")) or 0
    run = Run.objects.select_related("template__live_version", "version").filter(pk=number).first()
    if run is None:
        raise ValidationError("This run does not exist. Reload the page.")
    if run.erased_at:
        raise ValidationError(f"The text of run {run.pk} was erased, so it cannot run again.")
    if run.input_masked:
        raise ValidationError(f"The input of run {run.pk} is masked. Show it, and type it into Try it.")
    spec = _open_operation(run.operation, snapshot)
    if run.version:
        content = _version_content(run.version, spec)
    else:
        texts = {name: getattr(run, f"draft_{name}") for name in TEXTS}
        parameters = {name: getattr(run, name) for name in PARAMETERS}
        content = Content(run.draft_body or spec.default_text, **parameters, **texts)
    plan = RunPlan(
        operation=run.operation,
        input=run.input,
        content=content,
        providers=snapshot.providers,
        snapshot=snapshot,
        source=RunSource.PREVIEW,
        by=user,
        template=run.template,
        version=run.version,
        count=spec.count_or_default(run.count),
        delivery="stream",
    )
    sent_place = str(data.get("place"))
    place = sent_place if PLACE.fullmatch(sent_place) else NO_PLACE
    return Try(place, _cards(place, [plan], ""), _base([run.pk], run.operation, run.input))


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


PLANNERS: dict[str, Planner] = {"run": plan_try, "again": plan_again, "smoke": plan_smoke, "test": plan_test}


def _cards(place: str, plans: list[RunPlan], provider: str) -> list[Preview]:
    """Return the runs of a group with their cards. `provider` is that of all runs, "" for the chain."""
    turns = str(len(plans)) if len(plans) > 1 and plans[0] is plans[-1] else ""
    return [
        Preview(
            plan,
            "runs/_try_answer.html",
            streams=True,
            context={"card": f"{place}-{number}", "ran": _ran(plan, provider, turn=turns and f"{number} of {turns}")},
        )
        for number, plan in enumerate(plans, start=1)
    ]


def _ran(plan: RunPlan, provider: str, turn: str) -> Ran:
    version, template = plan.version, plan.template
    is_live = version is not None and template is not None and template.live_version_id == version.pk
    return Ran(f"v{version.number}" if version else "Draft", plan.input, turn, is_live, provider)


def _base(numbers: Sequence[int], operation: str, text: str) -> Base | None:
    """Return the answer of the first of these runs that had the same input; None if there is none."""
    run = answers.first_alike(numbers, operation, text) if numbers else None
    return Base(f"run {run.pk}", run.output, run.pk) if run else None


def _live_to_compare(template: Template, version: Version | None) -> Version:
    """Return the live version, to be compared with another text. Raises ValidationError."""
    live = template.live_version
    if live is None:
        raise ValidationError(f"No version of {template.name} is live yet, so there is nothing to compare with.")
    if version == live:
        raise ValidationError(f"v{live.number} is the live version. Choose another text to run beside it.")
    return live


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
