"""Pinning sample inputs. The audit records only their length, because an input may be personal data."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.engine.inputs import check_input
from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.platform.text import clean_input
from promptops.prompts.actions._operations import check_operation
from promptops.prompts.live_operations import operation_spec
from promptops.prompts.models import Operation, Sample

registry.noun("sample", "Sample inputs")
registry.object_kind("sample", "Sample input")
registry.register(
    Action(
        "sample.pinned",
        "{actor} pinned a sample input for {after[operation]}",
        when="an input was pinned for smoke runs; the entry has only its length, because the input may be personal",
        object="sample",
    ),
    Action(
        "sample.unpinned",
        "{actor} unpinned a sample input of {before[operation]}",
        when="a sample input was unpinned",
        object="sample",
    ),
)

MAX_SAMPLES = 5  # of an operation: a smoke run makes two runs of each


@transaction.atomic
def pin(operation: str, text: str, *, by: Actor) -> Sample:
    """Pin an input for the smoke runs of its operation. What is live does not change.

    Raises ValidationError for an invalid input, Refused when it is already pinned or `MAX_SAMPLES` inputs are.
    """
    text = clean_input(text.replace("\r\n", "\n")).strip()
    # Locked, so that two people who pin at the same time do not exceed the limit.
    LiveConfiguration.objects.select_for_update().get(pk=1)
    check_operation(operation)
    try:
        check_input(operation_spec(Operation.objects.get(name=operation)), text)
    except ValueError as error:
        raise ValidationError(str(error)) from None
    pinned = list(Sample.objects.filter(operation=operation).values_list("text", flat=True))
    if text in pinned:
        raise Refused("This input is already pinned.")
    if len(pinned) >= MAX_SAMPLES:
        raise Refused(
            f"{MAX_SAMPLES} inputs are already pinned for {operation}, and more are not allowed. Unpin one first."
        )
    sample = Sample.objects.create(operation=operation, text=text)
    audit.record("sample.pinned", by=by, object=sample, after=_audit_values(sample))
    return sample


@transaction.atomic
def unpin(operation: str, sample_id: int, *, by: Actor) -> None:
    """Unpin an input. Raises Stale when it is already unpinned."""
    LiveConfiguration.objects.select_for_update().get(pk=1)
    sample = Sample.objects.filter(operation=operation, pk=sample_id).first()
    if sample is None:
        raise Stale("This input is already unpinned.")
    audit.record("sample.unpinned", by=by, object=sample, before=_audit_values(sample))
    sample.delete()


def _audit_values(sample: Sample) -> dict[str, Any]:
    return {"operation": sample.operation, "characters": len(sample.text)}
