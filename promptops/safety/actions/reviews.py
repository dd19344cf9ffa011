"""People's answers to the safety filter's verdicts: reporting one, reviewing it, undoing a review.

A reviewed text becomes an example that the next training adds to the rubric. The audit records the review, never the
text. Another person's review of the same text belongs to second_looks.py, unmasking a text to `promptops.runs`,
training to actions/training.py.
"""

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.registry import Action
from promptops.platform import events
from promptops.runs.enums import SafetyQueue
from promptops.runs.erasers import erases_with_runs
from promptops.runs.keepers import keeps_runs
from promptops.runs.models import Run, SafetyCheck
from promptops.safety.actions._marks import delete_example, locked, make_example, mark_of
from promptops.safety.models import SafetyExample, SafetySecondLook

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
    """Put the verdict on one side of a run at the top of the review queue: it is wrong, or blocked a text by mistake.

    An earlier review of it is undone. Raises Refused if there is no verdict, its text is erased, or two people have
    reviewed it.
    """
    check = locked(run_id=run.pk, side=side)
    if SafetySecondLook.objects.filter(verdict=check).exists():
        raise Refused("Two people have reviewed this verdict already, so it cannot be reported again.")
    delete_example(check)
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
    check = locked(pk=check.pk)
    mark = mark_of(check, answer, category, by=by, is_open=not check.review)
    check.review, check.reviewed_at, check.reviewed_by = answer, timezone.now(), by.user
    check.save(update_fields=["review", "reviewed_at", "reviewed_by"])
    audit.record("safety.reviewed", by=by, object=check.run, after={"side": check.side, "review": answer})
    return make_example(check, mark, by=by)


@transaction.atomic
def undo(check: SafetyCheck, *, by: Actor) -> None:
    """Undo a review and delete its example.

    Raises Refused if the verdict is not reviewed, or another person has reviewed it, too.
    """
    check = locked(pk=check.pk)
    if not check.review:
        raise Refused("This verdict has no review to undo.")
    if SafetySecondLook.objects.filter(verdict=check).exists():
        raise Refused("Another person has reviewed this verdict, too. Only that person can undo their review.")
    before = {"side": check.side, "review": check.review}
    check.review, check.reviewed_at, check.reviewed_by = "", None, None
    check.save(update_fields=["review", "reviewed_at", "reviewed_by"])
    delete_example(check)
    audit.record("safety.review_taken_back", by=by, object=check.run, before=before)


@keeps_runs
def _run_of_an_example() -> Q:
    return Q(Exists(SafetyExample.objects.filter(run=OuterRef("pk"))))


@erases_with_runs
def _delete_examples(runs: QuerySet[Run], is_expiry: bool) -> None:
    """Delete the examples of a run that a person erased; an example outlives the expiry of its run."""
    if not is_expiry:
        SafetyExample.objects.filter(run__in=runs).delete()
