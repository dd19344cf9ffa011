"""Cast and undo blind votes.

Votes are not in the audit: everybody can read the audit, and other people's votes would influence the votes to come.
Each vote is a row with its voter and time. Only that voter can undo it, newest first.
"""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.crypto import constant_time_compare

from promptops.compare import ballots
from promptops.compare.enums import Choice, Side
from promptops.compare.models import Comparison, Trial, Vote
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.people.models import User
from promptops.platform import events


@transaction.atomic
def cast(comparison: Comparison, *, input: int, repeat: int, ballot: str, side: str, by: Actor) -> bool:
    """Save a vote. Return False if the person had already voted on the ballot (in another tab, say); that vote stays.

    `ballot` is the mark of the ballot (`ballots.mark`), which identifies the pair of arms. Raises ValidationError for
    an unknown side, and Stale if the mark does not belong to a ballot that this person can vote on now.
    """
    voter = _voter(by)
    if side not in Side:
        raise ValidationError("Choose A, B, a tie or neither.")
    first, second = _pair(comparison, voter, input, repeat, ballot)
    on_left = ballots.first_on_left(voter.pk, input, repeat, (first, second))
    _, is_new = Vote.objects.get_or_create(
        user=voter,
        input_id=input,
        repeat=repeat,
        first_id=first,
        second_id=second,
        defaults={
            "comparison": comparison,
            "user_name": by.name,
            "choice": _choice(Side(side), on_left),
            "first_on_left": on_left,
        },
    )
    if is_new:
        events.broadcast_on_commit(events.COMPARISON_CHANGED, comparison.pk)
    return is_new


@transaction.atomic
def undo(comparison: Comparison, *, by: Actor) -> Vote:
    """Delete the person's newest vote in the comparison and return it. Raises Refused if there is none."""
    last = Vote.objects.filter(comparison=comparison, user=_voter(by)).order_by("-pk").first()
    if last is None or not Vote.objects.filter(pk=last.pk).delete()[0]:
        raise Refused("You have no vote to undo.")
    events.broadcast_on_commit(events.COMPARISON_CHANGED, comparison.pk)
    return last


def _voter(by: Actor) -> User:
    if by.user is None:
        raise RuntimeError("Only people can vote.")
    return by.user


def _pair(comparison: Comparison, voter: User, input: int, repeat: int, ballot: str) -> ballots.Pair:
    """Return the arms of the ballot with this mark. Raises Stale unless both answers are readable and differ."""
    votable = Trial.objects.filter(comparison=comparison, input=input, repeat=repeat, answer_hash__isnull=False)
    answers = dict(votable.order_by("arm__position").values_list("arm", "answer_hash"))
    for first, second in ballots.pairs(comparison.pk, list(answers)):
        mark = ballots.mark(voter.pk, input, repeat, (first, second))
        if constant_time_compare(ballot, mark) and answers[first] != answers[second]:
            return first, second
    raise Stale("These two answers can no longer be voted on. Here are the next ones.")


def _choice(side: Side, first_on_left: bool) -> Choice:
    """Return the choice between the arms that the side stands for."""
    if side in {Side.TIE, Side.NEITHER}:
        return Choice(side.value)
    return Choice.FIRST if (side is Side.LEFT) is first_on_left else Choice.SECOND
