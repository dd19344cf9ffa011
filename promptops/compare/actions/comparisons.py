"""Comparisons: started, paused, resumed, canceled; what they are made of is frozen when they start."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from promptops.compare.enums import ComparisonState, TrialState
from promptops.compare.models import Arm, Comparison, ComparisonInput, Trial
from promptops.compare.models.comparisons import LETTERS
from promptops.engine.operations import operation_spec
from promptops.engine.snapshot import Snapshot
from promptops.ledger import audit, registry
from promptops.ledger.actions.exports import record_export
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Stale
from promptops.ledger.registry import Action
from promptops.platform import events
from promptops.platform.text import clean_input
from promptops.prompts.checks import failures, run_checks
from promptops.prompts.content import Content, effective
from promptops.prompts.models import Template, Version
from promptops.providers.models import Provider
from promptops.runs.plans import MAX_COUNT

registry.noun("comparison", "Comparisons")
registry.object_kind("comparison", "Comparison", url=lambda entry: reverse("comparison", args=[entry.object_id]))
registry.register(
    Action(
        "comparison.started",
        "{actor} started the comparison {object}: {after[inputs]} inputs of {after[from]}",
        when="a comparison began; its arms and inputs are frozen",
        object="comparison",
    ),
    Action(
        "comparison.paused",
        "{actor} paused the comparison {object}",
        when="a comparison was paused; no more trials are started",
        object="comparison",
    ),
    Action(
        "comparison.resumed",
        "{actor} resumed the comparison {object}",
        when="a paused comparison was resumed; its trials go on",
        object="comparison",
    ),
    Action(
        "comparison.canceled",
        "{actor} canceled the comparison {object} with {after[waiting]} trials to go",
        when="a comparison was ended before all its trials ran",
        object="comparison",
    ),
    Action(
        "comparison.done",
        "The comparison {object} is done: {after[trials]} trials, {after[failed]} failed",
        when="all trials of a comparison have ended",
        object="comparison",
    ),
    Action(
        "comparison.exported",
        "{actor} exported the {after[what]} of the comparison {object} as {after[format]}",
        when="trials, votes or arms of a comparison were exported as a file",
        object="comparison",
        is_change=False,
    ),
)

MIN_ARMS, MAX_ARMS = 2, len(LETTERS)
MAX_REPEATS = 5
MAX_INPUTS = 2_000
MAX_TRIALS = 10_000


@dataclass(frozen=True)
class ArmChoice:
    """One arm as it was chosen: a version, or a draft's content, on one provider."""

    template: Template
    version: Version | None
    content: Content
    provider: Provider


@transaction.atomic
def start(
    name: str,
    operation: str,
    inputs: Sequence[str],
    arms: Sequence[ArmChoice],
    *,
    by: Actor,
    snapshot: Snapshot,
    inputs_from: str,
    repeats: int = 1,
    count: int | None = None,
    note: str = "",
) -> Comparison:
    """Freeze inputs and arms, and let the trials begin. `snapshot` gives the settings that an arm leaves open.

    Raises ValidationError for what cannot be compared: arms that are the same, an input that cannot be sent, or more
    than 10,000 trials.
    """
    _check(operation, inputs, arms, repeats, count)
    for arm, letter in zip(arms, LETTERS, strict=False):
        if failed := failures(run_checks(arm.content.body, snapshot.variables.get(operation, {}))):
            raise ValidationError(f"The text of arm {letter} cannot be run. {' '.join(failed)}")
    comparison = Comparison(
        name=name.strip(),
        note=note.strip(),
        operation=operation,
        count=operation_spec(operation).count_or_default(count),
        variables=dict(snapshot.variables.get(operation, {})),
        inputs_from=inputs_from,
        repeats=repeats,
        revision=snapshot.revision,
        timeout_ms=snapshot.settings.timeout_ms,
        user=by.user,
        user_name=by.name,
    )
    comparison.full_clean()
    comparison.save()
    kept_arms = [
        Arm.objects.create(**_pinned(arm, snapshot), comparison=comparison, position=position)
        for position, arm in enumerate(arms)
    ]
    kept_inputs = ComparisonInput.objects.bulk_create(
        ComparisonInput(comparison=comparison, position=position, text=text) for position, text in enumerate(inputs)
    )
    # Input by input, so that a comparison that is cut short has whole rows.
    Trial.objects.bulk_create(
        (
            Trial(comparison=comparison, input=given, arm=arm, repeat=repeat)
            for given in kept_inputs
            for repeat in range(repeats)
            for arm in kept_arms
        ),
        batch_size=1000,
    )
    audit.record(
        "comparison.started",
        by=by,
        object=comparison,
        after={
            "operation": comparison.operation,
            "arms": [arm.label for arm in kept_arms],
            "inputs": len(inputs),
            "from": inputs_from,
            "repeats": repeats,
        },
        note=comparison.note,
    )
    events.broadcast_on_commit(events.COMPARISON_CHANGED, comparison.pk)
    return comparison


def pause(comparison: Comparison, *, by: Actor) -> None:
    """Start no more trials; those under way end."""
    _move(comparison, ComparisonState.RUNNING, ComparisonState.PAUSED, "comparison.paused", by)


def resume(comparison: Comparison, *, by: Actor) -> None:
    """Go on where it was paused."""
    _move(comparison, ComparisonState.PAUSED, ComparisonState.RUNNING, "comparison.resumed", by)


@transaction.atomic
def cancel(comparison: Comparison, *, by: Actor) -> None:
    """Start no more trials, for good. What was answered stays, and can be voted on."""
    open_states = [ComparisonState.RUNNING, ComparisonState.PAUSED]
    changed = Comparison.objects.filter(pk=comparison.pk, state__in=open_states).update(
        state=ComparisonState.CANCELED, finished_at=timezone.now()
    )
    if not changed:
        raise Stale(f"{comparison.name} has ended already.")
    _tell(comparison, "comparison.canceled", by)


@transaction.atomic
def record_download(comparison: Comparison, what: str, format: str, *, by: Actor) -> None:
    """Note that somebody takes a part of it (`what`) along, before the file begins."""
    record_export("comparison.exported", by=by, object=comparison, after={"what": what, "format": format})


@transaction.atomic
def _move(comparison: Comparison, old: ComparisonState, new: ComparisonState, action: str, by: Actor) -> None:
    if not Comparison.objects.filter(pk=comparison.pk, state=old).update(state=new):
        comparison.refresh_from_db()
        raise Stale(f"{comparison.name} is {comparison.get_state_display().lower()}. Nothing was changed.")
    _tell(comparison, action, by)


def _tell(comparison: Comparison, action: str, by: Actor) -> None:
    waiting = Trial.objects.filter(comparison=comparison, state=TrialState.WAITING).count()
    audit.record(action, by=by, object=comparison, after={"waiting": waiting})
    events.broadcast_on_commit(events.COMPARISON_CHANGED, comparison.pk)


def _check(operation: str, inputs: Sequence[str], arms: Sequence[ArmChoice], repeats: int, count: int | None) -> None:
    if not MIN_ARMS <= len(arms) <= MAX_ARMS:
        raise ValidationError(f"Choose {MIN_ARMS} to {MAX_ARMS} arms; these are {len(arms)}.")
    if not inputs:
        raise ValidationError("The prompt set is empty. Put prompts into it, or choose another.")
    if not 1 <= repeats <= MAX_REPEATS:
        raise ValidationError(f"Ask for 1 to {MAX_REPEATS} repeats.")
    if count is not None and not 1 <= count <= MAX_COUNT:
        raise ValidationError(f"Ask for 1 to {MAX_COUNT} alternatives.")
    trials = len(inputs) * len(arms) * repeats
    if len(inputs) > MAX_INPUTS or trials > MAX_TRIALS:
        raise ValidationError(
            f"{len(inputs):,} inputs are {trials:,} trials; at most {MAX_INPUTS:,} inputs and {MAX_TRIALS:,} trials "
            "are allowed. Take fewer inputs, arms or repeats."
        )
    for position, text in enumerate(inputs, start=1):
        try:
            clean_input(text)
        except ValidationError as error:
            raise ValidationError(f"Input {position} cannot be used. {' '.join(error.messages)}") from None
    for arm in arms:
        if arm.template.operation != operation:
            raise ValidationError(f"{arm.template.name} is for {arm.template.operation}, not for {operation}.")
        if arm.version is not None and arm.version.template_id != arm.template.pk:
            raise ValidationError(f"That version is not one of {arm.template.name}.")
    seen: dict[tuple[Content, int], int] = {}
    for position, arm in enumerate(arms):
        same = seen.setdefault((arm.content.cleaned(), arm.provider.pk), position)
        if same != position:
            raise ValidationError(
                f"Arms {LETTERS[same]} and {LETTERS[position]} are the same: choose another text or provider for one."
            )


def _pinned(arm: ArmChoice, snapshot: Snapshot) -> dict[str, object]:
    content, provider = arm.content.cleaned(), arm.provider
    return {
        "template": arm.template,
        "version": arm.version,
        "body": content.body,
        **effective(content, snapshot.settings),
        "provider": provider,
        "provider_name": provider.name,
        "provider_kind": provider.kind,
        "provider_url": provider.base_url,
        "provider_model": provider.model,
    }


@transaction.atomic
def finish_if_done(comparison_id: int) -> bool:
    """Note the end of a comparison whose trials have all ended. Returns whether this call did it."""
    if Trial.objects.filter(comparison=comparison_id, state__in=[TrialState.WAITING, TrialState.RUNNING]).exists():
        return False
    running = Comparison.objects.filter(pk=comparison_id, state=ComparisonState.RUNNING)
    if not running.update(state=ComparisonState.DONE, finished_at=timezone.now()):
        return False
    comparison = Comparison.objects.get(pk=comparison_id)
    failed = Trial.objects.filter(comparison=comparison, state=TrialState.FAILED).count()
    total = Trial.objects.filter(comparison=comparison).count()
    audit.record("comparison.done", by=audit.SYSTEM, object=comparison, after={"trials": total, "failed": failed})
    events.broadcast_on_commit(events.COMPARISON_CHANGED, comparison.pk)
    return True
