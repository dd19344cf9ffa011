"""Blind votes: cast and taken back.

The audit does not tell of them: everybody reads it, and what others chose would color the votes to come. Each vote is a
row of its own with its voter and its time, which only that voter can take back, and only the last one first.
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
    """Keep a vote. False when this person had voted on that ballot already, in another tab say: the first vote stays.

    `ballot` is its mark (`ballots.mark`), by which the pair of arms is found again. Raises ValidationError for a side
    that is none, and Stale for a ballot that is not, or no more, one of this person's.
    """
    voter = _voter(by)
    if side not in Side:
        raise ValidationError("Choose A, B, a tie or neither.")
    first, second = _pair(comparison, voter, input, repeat, ballot)
    on_left = ballots.first_on_left(voter.pk, input, repeat, (first, second))
    _, made = Vote.objects.get_or_create(
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
    if made:
        events.broadcast_on_commit(events.COMPARISON_CHANGED, comparison.pk)
    return made


@transaction.atomic
def take_back(comparison: Comparison, *, by: Actor) -> Vote:
    """Delete this person's newest vote in the comparison and return what it was; Refused when there is none."""
    last = Vote.objects.filter(comparison=comparison, user=_voter(by)).order_by("-pk").first()
    if last is None or not Vote.objects.filter(pk=last.pk).delete()[0]:
        raise Refused("There is no vote of yours to take back.")
    events.broadcast_on_commit(events.COMPARISON_CHANGED, comparison.pk)
    return last


def _voter(by: Actor) -> User:
    if by.user is None:
        raise RuntimeError("Only people vote.")
    return by.user


def _pair(comparison: Comparison, voter: User, input: int, repeat: int, ballot: str) -> ballots.Pair:
    """The pair of arms whose ballot has this mark, if both have answered and their texts may be read."""
    found = Trial.objects.filter(comparison=comparison, input=input, repeat=repeat, answer_hash__isnull=False)
    answers = dict(found.order_by("arm__position").values_list("arm", "answer_hash"))
    for first, second in ballots.pairs(comparison.pk, list(answers)):
        marked = ballots.mark(voter.pk, input, repeat, (first, second))
        if constant_time_compare(ballot, marked) and answers[first] != answers[second]:
            return first, second
    raise Stale("Those two answers can no longer be voted on. Here are the next ones.")


def _choice(side: Side, first_on_left: bool) -> Choice:
    """What the side means for the arms."""
    if side in {Side.TIE, Side.NEITHER}:
        return Choice(side.value)
    return Choice.FIRST if (side is Side.LEFT) is first_on_left else Choice.SECOND
