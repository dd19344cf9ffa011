"""Blind voting as its page shows it: the next ballot, and the progress of a voter.

A ballot is two arms' answers to one input and repeat if both succeeded, are neither erased nor masked, and differ.
`Trial.answer_hash` records all of this, so that counting ballots reads no answer. Nothing that this module gives to a
page reveals the arm of an answer. Counting votes for the verdict is done in `vote_counts`.
"""

from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum

from promptops.compare import ballots
from promptops.compare.models import Comparison, Trial, Vote
from promptops.people.enums import Permission
from promptops.people.models import User


@dataclass(frozen=True)
class Ballot:
    """Two answers to one input, by side. `mark` identifies the pair of arms (`promptops.compare.ballots`)."""

    input: int
    repeat: int
    mark: str
    prompt: str
    left: str
    right: str


@dataclass(frozen=True)
class Standing:
    """The progress of a voter on the ballots that exist now."""

    ballots: int
    voted: int
    same: int
    """Pairs of identical answers, which need no vote."""
    others: int
    """Other people who voted."""
    can_undo: bool

    @property
    def left(self) -> int:
        """Return how many ballots are left."""
        return self.ballots - self.voted


def standing(user: User, comparison: Comparison) -> Standing:
    """Return the progress of `user`, in four queries that read no answer."""
    same = _same(comparison)
    voters = set(Vote.objects.filter(comparison=comparison).order_by().values_list("user", flat=True).distinct())
    voted = _voted(user, comparison) if user.pk in voters else 0
    return Standing(
        ballots=_pairs(comparison) - same,
        voted=voted,
        same=same,
        others=len(voters - {user.pk}),
        can_undo=user.pk in voters,
    )


def left_to(user: User, comparison: Comparison) -> int:
    """Return how many ballots the person can still vote on blindly; 0 for a person who may not vote."""
    if not user.may(Permission.EDIT):
        return 0
    ballots = _pairs(comparison) - _same(comparison)
    return ballots - _voted(user, comparison) if ballots else 0


def next_ballot(user: User, comparison: Comparison) -> Ballot | None:
    """Return the first ballot that the person has not voted on, in four queries and one for each repeat it looks at.

    Inputs come in their order with one pair of arms each, and the pairs take turns. Each pass through the inputs shows
    all pairs equally often, repeat by repeat, until every input has met every pair.
    """
    pairs = ballots.pairs(comparison.pk, list(comparison.arms.values_list("pk", flat=True)))
    inputs = list(comparison.inputs.values_list("position", "pk"))
    votes = Vote.objects.filter(user=user, comparison=comparison).order_by()
    voted = set(votes.values_list("input", "repeat", "first", "second"))
    answers = cache(partial(_hashes, comparison))
    for turn, repeat in product(range(len(pairs)), range(comparison.repeats)):
        hashes = answers(repeat)
        for position, pk in inputs:
            first, second = pairs[(position + repeat - turn) % len(pairs)]
            one, other = hashes.get((pk, first)), hashes.get((pk, second))
            if one is None or other is None or one == other or (pk, repeat, first, second) in voted:
                continue
            return _ballot(user, pk, repeat, first, second)
    return None


def ballot_of(user: User, vote: Vote) -> Ballot | None:
    """Return the ballot of a vote that was undone, or None if it can no longer be voted on."""
    return _ballot(user, vote.input_id, vote.repeat, vote.first_id, vote.second_id)


def _answers(comparison: Comparison) -> QuerySet[Trial]:
    """Return the trials whose answers may be voted on."""
    return Trial.objects.filter(comparison=comparison, answer_hash__isnull=False).order_by()


def _hashes(comparison: Comparison, repeat: int) -> dict[tuple[int, int], int | None]:
    """Return the hashes of the answers of that repeat, by input and arm."""
    rows = _answers(comparison).filter(repeat=repeat).values_list("input", "arm", "answer_hash")
    return {(input_id, arm): answer_hash for input_id, arm, answer_hash in rows}


def _pairs(comparison: Comparison) -> int:
    """Return how many pairs of answers to the same input and repeat exist."""
    return _paired(_answers(comparison).values("input", "repeat"))


def _same(comparison: Comparison) -> int:
    """Return in how many of these pairs both answers are the same."""
    return _paired(_answers(comparison).values("input", "repeat", "answer_hash"))


def _paired(groups: QuerySet[Trial, Any]) -> int:
    """Return how many pairs of trials can be made within the groups, summed over all groups."""
    pairs = Sum(F("size") * (F("size") - 1) / 2)
    return int(groups.annotate(size=Count("pk")).aggregate(pairs=pairs)["pairs"] or 0)


def _voted(user: User, comparison: Comparison) -> int:
    """Return on how many of the ballots that exist now the person has voted."""
    answers = _answers(comparison).filter(input=OuterRef("input"), repeat=OuterRef("repeat"))
    votes = Vote.objects.filter(user=user, comparison=comparison).annotate(
        one=Subquery(answers.filter(arm=OuterRef("first")).values("answer_hash")),
        other=Subquery(answers.filter(arm=OuterRef("second")).values("answer_hash")),
    )
    return votes.filter(Q(one__lt=F("other")) | Q(one__gt=F("other"))).count()


def _ballot(user: User, input: int, repeat: int, first: int, second: int) -> Ballot | None:
    answers = {
        arm: (prompt, output)
        for arm, prompt, output in Trial.objects.filter(
            input=input,
            repeat=repeat,
            arm__in=[first, second],
            answer_hash__isnull=False,
        ).values_list("arm", "input__text", "run__output")
    }
    if len(answers) < 2:
        return None
    prompt, one = answers[first]
    _, other = answers[second]
    if not ballots.first_on_left(user.pk, input, repeat, (first, second)):
        one, other = other, one
    return Ballot(input, repeat, ballots.mark(user.pk, input, repeat, (first, second)), prompt, one, other)
