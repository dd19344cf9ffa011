"""What people say of the safety filter's verdicts: reporting one, reviewing it, taking a review back.

A reviewed text becomes an example that the next training adds to the rubric. The audit tells that somebody reviewed a
verdict and how, never the text.
"""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from promptops.engine.safety.guard import SafetyCategory, VerdictDecision
from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.registry import Action
from promptops.platform import events
from promptops.runs.enums import SafetyQueue, SafetyReview
from promptops.runs.erasers import erases_with_runs
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
        "{actor} found the verdict on the {after[side]} of {object} {after[review]}",
        when="somebody said whether a verdict is right; its text became an example for the next training",
        object="run",
    ),
    Action(
        "safety.review_taken_back",
        "{actor} took back a review of the {before[side]} of {object}",
        when="a review was taken back, and its example dropped",
        object="run",
    ),
)

MAX_NOTE = 500


@transaction.atomic
def report(run: Run, side: str, note: str = "", *, by: Actor) -> SafetyCheck:
    """Put the verdict on one side of a run into the review queue; a review that was made before is open again.

    Raises Refused where there is no verdict, or no text any more.
    """
    check = _locked(run_id=run.pk, side=side)
    _forget_example(check)
    check.queue, check.review = SafetyQueue.REPORTED, ""
    check.reported_at, check.reported_by = timezone.now(), by.user
    check.reviewed_at = check.reviewed_by = None
    check.report_note = " ".join(note.replace("\x00", "").split())[:MAX_NOTE]
    check.save()
    audit.record("safety.reported", by=by, object=run, after={"side": side})
    events.broadcast_on_commit(events.RUN_RECORDED, run.pk)
    return check


@transaction.atomic
def review(check: SafetyCheck, says: str, *, by: Actor, category: str = "") -> SafetyExample:
    """Say that a verdict is right or wrong, and keep its text as an example for the next training.

    `category` is what a text that should have been blocked is; by default the one that scored highest. Raises Refused
    when somebody else was faster, the text is erased, or it is masked and this person has not looked at it;
    ValidationError for a category that there is not.
    """
    check = _locked(pk=check.pk)
    if says not in set(SafetyReview):
        raise ValidationError("A verdict is right or wrong.")
    if check.review:
        raise Refused("Somebody has reviewed this verdict already.")
    if getattr(check.run, f"{check.side}_masked") and not _seen(check.run, by):
        raise Refused("Show the text before you say whether its verdict is right.")
    blocked = check.decision == VerdictDecision.BLOCK
    harmful = blocked == (says == SafetyReview.RIGHT)
    category = (category or check.category or _highest(check)) if harmful else ""
    if harmful and category not in set(SafetyCategory):
        raise ValidationError("Choose what kind of harm it is.")
    check.review, check.reviewed_at, check.reviewed_by = says, timezone.now(), by.user
    check.save(update_fields=["review", "reviewed_at", "reviewed_by"])
    audit.record("safety.reviewed", by=by, object=check.run, after={"side": check.side, "review": says})
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
def take_back(check: SafetyCheck, *, by: Actor) -> None:
    """Open a review again and drop its example; Refused when the verdict is not reviewed."""
    check = _locked(pk=check.pk)
    if not check.review:
        raise Refused("This verdict is not reviewed.")
    before = {"side": check.side, "review": check.review}
    check.review, check.reviewed_at, check.reviewed_by = "", None, None
    check.save(update_fields=["review", "reviewed_at", "reviewed_by"])
    _forget_example(check)
    audit.record("safety.review_taken_back", by=by, object=check.run, before=before)


def _locked(**which: object) -> SafetyCheck:
    check = SafetyCheck.objects.select_for_update(of=("self",)).select_related("run").filter(**which).first()
    if check is None:
        raise Refused("The safety filter did not judge this text, so there is no verdict to look at.")
    if check.run.erased_at:
        raise Refused("The text of this run is erased, so nobody can tell any more.")
    return check


def _seen(run: Run, by: Actor) -> bool:
    """Whether this person asked to see the masked text, which the audit knows."""
    shown = audit.AuditEntry.objects.filter(action="run.revealed", object_type="run", object_id=str(run.pk))
    return shown.filter(actor=by.user).exists()


def _highest(check: SafetyCheck) -> str:
    return max(check.scores, key=check.scores.__getitem__, default="")


def _source(check: SafetyCheck) -> str:
    return f"review of an {check.side}"


def _forget_example(check: SafetyCheck) -> None:
    SafetyExample.objects.filter(run=check.run_id, source=_source(check)).delete()


@erases_with_runs
def _forget_examples(runs: QuerySet[Run], is_expiry: bool) -> None:
    """Delete the examples of a run that a person erased; an example outlives the expiry of its run."""
    if not is_expiry:
        SafetyExample.objects.filter(run__in=runs).delete()
