"""Unmasking a run's texts, which the audit records. The rule for masking a text is `engine.judging.masks`."""

from django.db import transaction

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.registry import Action
from promptops.runs.models import Run

registry.register(
    Action(
        "run.revealed",
        "{actor} unmasked the blocked text of {object}",
        when="somebody unmasked text that the safety filter blocked or would have blocked; the entry does not quote it",
        object="run",
        is_change=False,
    ),
)


@transaction.atomic
def reveal(run: Run, *, by: Actor) -> None:
    """Record that `by` unmasks the texts of a run. Raises Refused if none is masked."""
    if run.erased_at or not (run.input_masked or run.output_masked or run.raw_masked):
        raise Refused(f"Run {run.pk} has no masked text.")
    audit.record("run.revealed", by=by, object=run)
