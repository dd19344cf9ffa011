"""Unmasking a run's texts: the audit records who looked."""

from django.db import transaction

from promptops.ledger import audit
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.runs.models import Run


@transaction.atomic
def reveal(run: Run, *, by: Actor) -> None:
    """Note that somebody looks at the masked text of a run; Refused where there is none."""
    if run.erased_at or not (run.input_masked or run.output_masked or run.raw_masked):
        raise Refused(f"Nothing of run {run.pk} is masked.")
    audit.record("run.revealed", by=by, object=run)
