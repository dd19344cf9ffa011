"""Pinned sample inputs. The audit tells of them by length alone, since an input may be personal."""

from typing import Any

from django.db import transaction

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.platform.text import clean_input
from promptops.prompts.models import Sample

registry.noun("sample", "Sample inputs")
registry.object_kind("sample", "Sample input")
registry.register(
    Action(
        "sample.pinned",
        "{actor} pinned a sample input for {after[operation]}",
        when="an input was pinned for smoke runs; the entry has its length only, since it may be personal",
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
    """Keep an input for the smoke runs of its operation; it changes nothing that is live.

    Raises ValidationError for a text that is no input, Refused when it is pinned already or five are.
    """
    text = clean_input(text.replace("\r\n", "\n")).strip()
    # Locked, so that two who pin at once do not exceed the number.
    LiveConfiguration.objects.select_for_update().get(pk=1)
    pinned = list(Sample.objects.filter(operation=operation).values_list("text", flat=True))
    if text in pinned:
        raise Refused("This input is pinned already.")
    if len(pinned) >= MAX_SAMPLES:
        raise Refused(
            f"{MAX_SAMPLES} inputs are pinned for {operation}, which is all that there may be. Unpin one first."
        )
    sample = Sample.objects.create(operation=operation, text=text)
    audit.record("sample.pinned", by=by, object=sample, after=_told(sample))
    return sample


@transaction.atomic
def unpin(operation: str, sample_id: int, *, by: Actor) -> None:
    """Take an input out of the smoke runs. Stale when it is gone already."""
    LiveConfiguration.objects.select_for_update().get(pk=1)
    sample = Sample.objects.filter(operation=operation, pk=sample_id).first()
    if sample is None:
        raise Stale("This input was unpinned already.")
    audit.record("sample.unpinned", by=by, object=sample, before=_told(sample))
    sample.delete()


def _told(sample: Sample) -> dict[str, Any]:
    return {"operation": sample.operation, "characters": len(sample.text)}
