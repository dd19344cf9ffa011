"""People's answers to the safety filter's verdicts: reporting one, reviewing it, undoing a review.

A reviewed text becomes an example that the next training adds to the rubric. The audit records the review, never the
text. Unmasking a text belongs to `promptops.runs`, training to actions/training.py.
"""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from promptops.engine.safety.guard import SafetyCategory, VerdictDecision
from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.registry import Action
from promptops.platform import events
from promptops.runs.enums import SafetyQueue, SafetyReview
from promptops.runs.erasers import erases_with_runs
from promptops.runs.keepers import keeps_runs
from promptops.runs.models import Run, SafetyCheck
from promptops.safety.models import SafetyExample

registry.register(
    Action(
        "safety.reported",
        "{actor} reported the verdict on the {after[side]} of {object}",
        when="somebody put a verdict of the safety filter into the review queue",
        object="run",
    ),
    Action(
        "safety.reviewed",
        "{actor} reviewed the verdict on the {after[side]} of {object}: {after[review]}",
        when="somebody marked a verdict as right or wrong; its text became an example for the next training",
        object="run",
    ),
    Action(
        "safety.review_taken_back",
        "{actor} undid a review of the {before[side]} of {object}",
        when="somebody undid a review, and its example was deleted",
        object="run",
    ),
)

MAX_NOTE = 500


@transaction.atomic
def report(run: Run, side: str, note: str = "", *, by: Actor) -> SafetyCheck:
    """Put the verdict on one side of a run into the review queue. An earlier review of it is undone.

    Raises Refused if there is no verdict, or the text is erased.
    """
    check = _locked(run_id=run.pk, side=side)
    _delete_example(check)
    check.queue, check.review = SafetyQueue.REPORTED, ""
    check.reported_at, check.reported_by = timezone.now(), by.user
    check.reviewed_at = check.reviewed_by = None
    check.report_note = " ".join(note.replace("\x00", "").split())[:MAX_NOTE]
    check.save()
    audit.record("safety.reported", by=by, object=run, after={"side": side})
    events.broadcast_on_commit(events.RUN_RECORDED, run.pk)
    return check


@transaction.atomic
def review(check: SafetyCheck, answer: str, *, by: Actor, category: str = "") -> SafetyExample:
    """Mark a verdict as right or wrong, and save its text as an example for the next training.

    `category` is that of a harmful text; by default the one that scored highest. Raises Refused if somebody has
    reviewed the verdict already, the text is erased, or it is masked and this person has not unmasked it;
    ValidationError for an unknown category.
    """
    check = _locked(pk=check.pk)
    if answer not in set(SafetyReview):
        raise ValidationError("Choose whether the verdict is right or wrong.")
    if check.review:
        raise Refused("Someone has already reviewed this verdict.")
    if getattr(check.run, f"{check.side}_masked") and not _has_unmasked(check.run, by):
        raise Refused("Show the text before you review its verdict.")
    blocked = check.decision == VerdictDecision.BLOCK
    harmful = blocked == (answer == SafetyReview.RIGHT)
    category = (category or check.category or _highest(check)) if harmful else ""
    if harmful and category not in set(SafetyCategory):
        raise ValidationError("Choose the kind of harm.")
    check.review, check.reviewed_at, check.reviewed_by = answer, timezone.now(), by.user
    check.save(update_fields=["review", "reviewed_at", "reviewed_by"])
    audit.record("safety.reviewed", by=by, object=check.run, after={"side": check.side, "review": answer})
    return SafetyExample.objects.create(
        label="unsafe" if harmful else "hard" if blocked else "safe",
        category=category,
        text=getattr(check.run, check.side),
        source=_source(check),
        run=check.run,
        user=by.user,
        user_name=by.name,
    )


@transaction.atomic
def undo(check: SafetyCheck, *, by: Actor) -> None:
    """Undo a review and delete its example. Raises Refused if the verdict is not reviewed."""
    check = _locked(pk=check.pk)
    if not check.review:
        raise Refused("This verdict has no review to undo.")
    before = {"side": check.side, "review": check.review}
    check.review, check.reviewed_at, check.reviewed_by = "", None, None
    check.save(update_fields=["review", "reviewed_at", "reviewed_by"])
    _delete_example(check)
    audit.record("safety.review_taken_back", by=by, object=check.run, before=before)


def _locked(**which: object) -> SafetyCheck:
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


def _delete_example(check: SafetyCheck) -> None:
    SafetyExample.objects.filter(run=check.run_id, source=_source(check)).delete()


@keeps_runs
def _run_of_an_example() -> Q:
    return Q(Exists(SafetyExample.objects.filter(run=OuterRef("pk"))))


@erases_with_runs
def _delete_examples(runs: QuerySet[Run], is_expiry: bool) -> None:
    """Delete the examples of a run that a person erased; an example outlives the expiry of its run."""
    if not is_expiry:
        SafetyExample.objects.filter(run__in=runs).delete()
