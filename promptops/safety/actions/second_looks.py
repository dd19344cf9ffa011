"""A second person's review of a verdict, and settling two reviews that disagree.

While two people disagree, the text is no example for the next training. The reason is in docs/decisions/0058. First
reviews belong to reviews.py.
"""

from django.db import transaction
from django.utils import timezone

from promptops.engine.safety.guard import VerdictDecision
from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.registry import Action
from promptops.people.enums import Permission
from promptops.runs.enums import SafetyReview
from promptops.runs.models import SafetyCheck
from promptops.safety.actions._marks import ANSWERS, Mark, delete_example, locked, make_example, mark_of
from promptops.safety.models import SafetyExample, SafetySecondLook

registry.register(
    Action(
        "safety.second_look",
        "{actor} reviewed the verdict on the {after[side]} of {object} as the second person: {after[review]}",
        when="a second person marked a verdict as right or wrong; if the first one disagrees, its example was deleted",
        object="run",
    ),
    Action(
        "safety.settled",
        "{actor} settled two reviews of the {after[side]} of {object}: {after[review]}",
        when="somebody settled two reviews that disagreed; the text became an example for the next training",
        object="run",
    ),
)


@transaction.atomic
def look_again(check: SafetyCheck, answer: str, *, by: Actor, category: str = "") -> SafetySecondLook:
    """Mark a verdict that somebody else reviewed, as the second person.

    If both agree, the example of the first review stays; if not, it is deleted until somebody settles it. Raises
    Refused if the first review is this person's own or is gone, the person reported the verdict, or somebody has looked
    again; otherwise as `reviews.review` does.
    """
    check = locked(pk=check.pk)
    if check.review in ANSWERS and by.user and by.user in (check.reviewed_by, check.reported_by):
        raise Refused("You have reviewed or reported this verdict. Another person must give the second look.")
    if not check.review:
        raise Refused("The first review of this verdict was undone, so there is nothing to look at again.")
    is_open = check.review in ANSWERS and not SafetySecondLook.objects.filter(verdict=check).exists()
    mark = mark_of(check, answer, category, by=by, is_open=is_open)
    first = _first_mark(check)
    look = SafetySecondLook.objects.create(
        verdict=check,
        first_harmful=first.is_harmful,
        first_category=first.category,
        first_by=check.reviewed_by,
        second_harmful=mark.is_harmful,
        second_category=mark.category,
        second_by=by.user,
    )
    if not look.agree:
        check.review = SafetyReview.DISPUTED
        check.save(update_fields=["review"])
        delete_example(check)
    audit.record("safety.second_look", by=by, object=check.run, after={"side": check.side, "review": answer})
    return look


@transaction.atomic
def settle(check: SafetyCheck, answer: str, *, by: Actor, category: str = "") -> SafetyExample:
    """Settle two reviews that disagree: the text becomes an example as this person reads it.

    A third person may do so, and a person who may release. Raises Refused for others and if nothing is disputed;
    otherwise as `reviews.review` does.
    """
    check = locked(pk=check.pk)
    look = SafetySecondLook.objects.filter(verdict=check).first()
    if look is None or check.review != SafetyReview.DISPUTED:
        raise Refused("No two reviews of this verdict disagree any longer.")
    if not _may_settle(look, by):
        raise Refused("You gave one of the two reviews. A third person or a releaser must settle them.")
    mark = mark_of(check, answer, category, by=by, is_open=True)
    look.settled_harmful, look.settled_by, look.settled_at = mark.is_harmful, by.user, timezone.now()
    look.save(update_fields=["settled_harmful", "settled_by", "settled_at"])
    check.review, check.reviewed_at, check.reviewed_by = answer, look.settled_at, by.user
    check.save(update_fields=["review", "reviewed_at", "reviewed_by"])
    audit.record("safety.settled", by=by, object=check.run, after={"side": check.side, "review": answer})
    return make_example(check, mark, by=by)


@transaction.atomic
def undo(check: SafetyCheck, *, by: Actor) -> None:
    """Undo the newest of the later reviews, which must be this person's own: the settlement, or else the second look.

    Raises Refused if there is none, or it is another person's.
    """
    check = locked(pk=check.pk)
    look = SafetySecondLook.objects.select_related("first_by").filter(verdict=check).first()
    if look is None:
        raise Refused("This verdict has no second look to undo.")
    is_settled = look.settled_at is not None
    if (look.settled_by if is_settled else look.second_by) != by.user:
        raise Refused("Another person gave the newest review of this verdict. Only that person can undo it.")
    before = {"side": check.side, "review": _answer(check, look.second_harmful)}
    if is_settled:
        before["review"] = check.review
        look.settled_harmful = look.settled_by = look.settled_at = None
        look.save(update_fields=["settled_harmful", "settled_by", "settled_at"])
        check.review, check.reviewed_by, check.reviewed_at = SafetyReview.DISPUTED, look.first_by, look.at
        delete_example(check)
    else:
        look.delete()
        if not look.agree:
            first = Actor.person(look.first_by) if look.first_by else by
            make_example(check, Mark(look.first_harmful, look.first_category), by=first)
        check.review = _answer(check, look.first_harmful)
    check.save(update_fields=["review", "reviewed_at", "reviewed_by"])
    audit.record("safety.review_taken_back", by=by, object=check.run, before=before)


def _may_settle(look: SafetySecondLook, by: Actor) -> bool:
    """Return whether a person may settle these two reviews."""
    if by.user is None:
        return True
    return by.user not in (look.first_by, look.second_by) or by.user.may(Permission.RELEASE)


def _first_mark(check: SafetyCheck) -> Mark:
    """Return the first person's reading; its category is that of the example."""
    is_harmful = (check.decision == VerdictDecision.BLOCK) == (check.review == SafetyReview.RIGHT)
    example = SafetyExample.objects.filter(run=check.run_id, source__endswith=f" {check.side}").order_by("-id").first()
    return Mark(is_harmful, example.category if example and is_harmful else check.category if is_harmful else "")


def _answer(check: SafetyCheck, is_harmful: bool) -> SafetyReview:
    """Return the answer to the verdict that means this reading of its text."""
    is_right = (check.decision == VerdictDecision.BLOCK) == is_harmful
    return SafetyReview.RIGHT if is_right else SafetyReview.WRONG
