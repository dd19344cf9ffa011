"""Start, pause, resume and cancel comparisons. A comparison copies its texts, settings and inputs when it starts.

Running the trials is done in `trials`, voting in `votes`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from promptops.compare.enums import ComparisonState, TrialState
from promptops.compare.models import Arm, Comparison, ComparisonInput, Trial
from promptops.compare.models.comparisons import LETTERS
from promptops.engine.inputs import check_input
from promptops.engine.operations import OperationSpec
from promptops.engine.snapshot import Snapshot
from promptops.ledger import audit, registry
from promptops.ledger.actions.exports import record_export
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Stale
from promptops.ledger.registry import Action
from promptops.platform import events
from promptops.platform.text import clean_input
from promptops.prompts.checks import check_content, failures
from promptops.prompts.content import Content, effective
from promptops.prompts.models import Template, Version
from promptops.prompts.operation_needs import needs_operation
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
        "{actor} canceled the comparison {object} with {after[waiting]} trials left",
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

STARTED_STATES = (ComparisonState.RUNNING, ComparisonState.PAUSED)
MIN_ARMS, MAX_ARMS = 2, len(LETTERS)
MAX_REPEATS = 5
MAX_INPUTS = 2_000
MAX_TRIALS = 10_000


@dataclass(frozen=True)
class ArmChoice:
    """An arm as a person chose it: a version, or the content of a draft, on one provider."""

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
    """Copy inputs and arms, and start the trials. `snapshot` supplies the settings that an arm leaves open.

    Raises ValidationError if arms are the same, an input cannot be sent, or there are more than 10,000 trials.
    """
    spec = snapshot.operations.get(operation)
    if spec is None:
        raise ValidationError(f"The operation {operation} is archived. Restore it first.")
    _check(spec, inputs, arms, repeats, count)
    for arm, letter in zip(arms, LETTERS, strict=False):
        if failed := failures(check_content(arm.content, snapshot.variables.get(operation, {}), spec)):
            raise ValidationError(f"The text of arm {letter} cannot be run. {' '.join(failed)}")
    comparison = Comparison(
        name=name.strip(),
        note=note.strip(),
        operation=operation,
        count=spec.count_or_default(count),
        variables=dict(snapshot.variables.get(operation, {})),
        inputs_from=inputs_from,
        repeats=repeats,
        revision=snapshot.revision,
        timeout_ms=snapshot.settings_for(operation).timeout_ms,
        user=by.user,
        user_name=by.name,
    )
    comparison.full_clean()
    comparison.save()
    frozen_arms = [
        Arm.objects.create(**_pinned(arm, snapshot), comparison=comparison, position=position)
        for position, arm in enumerate(arms)
    ]
    _create_trials(comparison, frozen_arms, inputs)
    audit.record(
        "comparison.started",
        by=by,
        object=comparison,
        after={
            "operation": comparison.operation,
            "arms": [arm.label for arm in frozen_arms],
            "inputs": len(inputs),
            "from": inputs_from,
            "repeats": repeats,
        },
        note=comparison.note,
    )
    events.broadcast_on_commit(events.COMPARISON_CHANGED, comparison.pk)
    return comparison


def _create_trials(comparison: Comparison, arms: Sequence[Arm], inputs: Sequence[str]) -> None:
    """Create the trials input by input, so that a comparison that is canceled early has whole rows."""
    frozen_inputs = ComparisonInput.objects.bulk_create(
        ComparisonInput(comparison=comparison, position=position, text=text) for position, text in enumerate(inputs)
    )
    Trial.objects.bulk_create(
        (
            Trial(comparison=comparison, input=frozen_input, arm=arm, repeat=repeat)
            for frozen_input in frozen_inputs
            for repeat in range(comparison.repeats)
            for arm in arms
        ),
        batch_size=1000,
    )


def pause(comparison: Comparison, *, by: Actor) -> None:
    """Start no more trials for now; running trials finish."""
    _move(comparison, ComparisonState.RUNNING, ComparisonState.PAUSED, "comparison.paused", by)


def resume(comparison: Comparison, *, by: Actor) -> None:
    """Continue a paused comparison."""
    _move(comparison, ComparisonState.PAUSED, ComparisonState.RUNNING, "comparison.resumed", by)


@transaction.atomic
def cancel(comparison: Comparison, *, by: Actor) -> None:
    """Start no more trials, permanently. Existing answers stay and can be voted on."""
    changed = Comparison.objects.filter(pk=comparison.pk, state__in=STARTED_STATES).update(
        state=ComparisonState.CANCELED, finished_at=timezone.now()
    )
    if not changed:
        raise Stale(f"{comparison.name} has already ended.")
    _record_step(comparison, "comparison.canceled", by)


@transaction.atomic
def record_download(comparison: Comparison, what: str, format: str, *, by: Actor) -> None:
    """Record that a person exports a part of the comparison (`what`), before the file is sent."""
    record_export("comparison.exported", by=by, object=comparison, after={"what": what, "format": format})


@transaction.atomic
def _move(comparison: Comparison, old: ComparisonState, new: ComparisonState, action: str, by: Actor) -> None:
    if not Comparison.objects.filter(pk=comparison.pk, state=old).update(state=new):
        comparison.refresh_from_db()
        raise Stale(f"{comparison.name} is {comparison.get_state_display().lower()}. Nothing was changed.")
    _record_step(comparison, action, by)


def _record_step(comparison: Comparison, action: str, by: Actor) -> None:
    waiting = Trial.objects.filter(comparison=comparison, state=TrialState.WAITING).count()
    audit.record(action, by=by, object=comparison, after={"waiting": waiting})
    events.broadcast_on_commit(events.COMPARISON_CHANGED, comparison.pk)


def _check(
    spec: OperationSpec, inputs: Sequence[str], arms: Sequence[ArmChoice], repeats: int, count: int | None
) -> None:
    if not MIN_ARMS <= len(arms) <= MAX_ARMS:
        raise ValidationError(f"Choose {MIN_ARMS} to {MAX_ARMS} arms; you chose {len(arms)}.")
    if not inputs:
        raise ValidationError("The prompt set is empty. Add inputs to it, or choose another one.")
    if not 1 <= repeats <= MAX_REPEATS:
        raise ValidationError(f"Choose 1 to {MAX_REPEATS} repeats.")
    if count is not None and not 1 <= count <= MAX_COUNT:
        raise ValidationError(f"Choose 1 to {MAX_COUNT} alternatives.")
    trials = len(inputs) * len(arms) * repeats
    if len(inputs) > MAX_INPUTS or trials > MAX_TRIALS:
        raise ValidationError(
            f"{len(inputs):,} inputs make {trials:,} trials. At most {MAX_INPUTS:,} inputs and {MAX_TRIALS:,} trials "
            "are allowed. Use fewer inputs, arms or repeats."
        )
    for position, text in enumerate(inputs, start=1):
        try:
            clean_input(text)
            check_input(spec, text)
        except (ValidationError, ValueError) as error:
            reason = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
            raise ValidationError(f"Input {position} cannot be used. {reason}") from None
    for arm in arms:
        if arm.template.operation != spec.name:
            raise ValidationError(f"{arm.template.name} is for {arm.template.operation}, not for {spec.name}.")
        if arm.version is not None and arm.version.template_id != arm.template.pk:
            raise ValidationError(f"This version does not belong to {arm.template.name}.")
    seen: dict[tuple[Content, int], int] = {}
    for position, arm in enumerate(arms):
        same = seen.setdefault((arm.content.cleaned(), arm.provider.pk), position)
        if same != position:
            raise ValidationError(
                f"Arms {LETTERS[same]} and {LETTERS[position]} are the same. Choose another text or provider for one."
            )


def _pinned(arm: ArmChoice, snapshot: Snapshot) -> dict[str, object]:
    content, provider = arm.content.cleaned(), arm.provider
    return {
        "template": arm.template,
        "version": arm.version,
        "body": content.body,
        **effective(content, snapshot.settings_for(arm.template.operation)),
        "provider": provider,
        "provider_name": provider.name,
        "provider_kind": provider.kind,
        "provider_url": provider.base_url,
        "provider_model": provider.model,
    }


@needs_operation
def _comparisons(name: str, before: OperationSpec, after: OperationSpec | None) -> str:
    """Comparisons in progress need the input and the answer of their operation as they are."""
    shape = (before.input, before.fields, before.answer, before.contract)
    if after is not None and shape == (after.input, after.fields, after.answer, after.contract):
        return ""
    running = Comparison.objects.filter(operation=name, state__in=STARTED_STATES).first()
    if running is None:
        return ""
    return f"The comparison {running.name} of {name} is in progress. Cancel it, or wait for its end."


@transaction.atomic
def finish_if_done(comparison_id: int) -> bool:
    """Mark a comparison as done if all its trials have ended. Return whether this call marked it."""
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
