"""What reviews, second looks and settlements of a verdict share: reading an answer, and the example that it makes."""

from dataclasses import dataclass

from django.core.exceptions import ValidationError

from promptops.engine.safety.guard import SafetyCategory, VerdictDecision
from promptops.ledger import audit
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.runs.enums import SafetyReview
from promptops.runs.models import Run, SafetyCheck
from promptops.safety.models import SafetyExample

ANSWERS = (SafetyReview.RIGHT, SafetyReview.WRONG)


@dataclass(frozen=True)
class Mark:
    """A person's reading of a text. `category` is that of a harmful one, else ""."""

    is_harmful: bool
    category: str


def mark_of(check: SafetyCheck, answer: str, category: str, *, by: Actor, is_open: bool) -> Mark:
    """Return the reading of the text that an answer to its verdict means. Raises as `review` does."""
    if answer not in ANSWERS:
        raise ValidationError("Choose whether the verdict is right or wrong.")
    if not is_open:
        raise Refused("Someone has already reviewed this verdict.")
    if getattr(check.run, f"{check.side}_masked") and not _has_unmasked(check.run, by):
        raise Refused("Show the text before you review its verdict.")
    is_harmful = (check.decision == VerdictDecision.BLOCK) == (answer == SafetyReview.RIGHT)
    category = (category or check.category or _highest(check)) if is_harmful else ""
    if is_harmful and category not in set(SafetyCategory):
        raise ValidationError("Choose the kind of harm.")
    return Mark(is_harmful, category)


def make_example(check: SafetyCheck, mark: Mark, *, by: Actor) -> SafetyExample:
    """Save the text of a verdict as an example for the next training, as this person read it."""
    is_blocked = check.decision == VerdictDecision.BLOCK
    return SafetyExample.objects.create(
        label="unsafe" if mark.is_harmful else "hard" if is_blocked else "safe",
        category=mark.category,
        text=getattr(check.run, check.side),
        source=_source(check),
        run=check.run,
        user=by.user,
        user_name=by.name,
    )


def delete_example(check: SafetyCheck) -> None:
    """Delete the example of a verdict, if there is one."""
    SafetyExample.objects.filter(run=check.run_id, source=_source(check)).delete()


def locked(**which: object) -> SafetyCheck:
    """Return the verdict, locked and with its run. Raises Refused if it is missing or its text is erased."""
    check = SafetyCheck.objects.select_for_update(of=("self",)).select_related("run").filter(**which).first()
    if check is None:
        raise Refused("The safety filter did not judge this text, so there is no verdict to review.")
    if check.run.erased_at:
        raise Refused("The text of this run is erased, so its verdict cannot be reviewed.")
    return check


def _has_unmasked(run: Run, by: Actor) -> bool:
    """Return whether this person has unmasked the text; the audit has an entry of it."""
    entries = audit.AuditEntry.objects.filter(action="run.revealed", object_type="run", object_id=str(run.pk))
    return entries.filter(actor=by.user).exists()


def _highest(check: SafetyCheck) -> str:
    return max(check.scores, key=check.scores.__getitem__, default="")


def _source(check: SafetyCheck) -> str:
    return f"review of an {check.side}"
