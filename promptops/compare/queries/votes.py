"""Blind voting as its page shows it: the next ballot, and how far a voter is.

A ballot is two arms' answers to one input and repeat, when both succeeded, their texts are still there and not masked
by the safety filter, and they differ: `Trial.answer_hash` tells all of that, and no answer is read to count ballots.
Nothing here that goes to the page says which arm an answer is of.
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
    """Two answers to one input, by side. `mark` stands for the pair of arms (`promptops.compare.ballots`)."""

    input: int
    repeat: int
    mark: str
    prompt: str
    left: str
    right: str


@dataclass(frozen=True)
class Standing:
    """How far a voter is, in the ballots that there are by now."""

    ballots: int
    voted: int
    same: int
    """Pairs of answers that are the same word for word, and not voted on."""
    others: int
    """Other people who voted."""
    can_take_back: bool

    @property
    def left(self) -> int:
        """Ballots to go."""
        return self.ballots - self.voted


def standing(user: User, comparison: Comparison) -> Standing:
    """How far `user` is, in four queries that read no answer."""
    same = _same(comparison)
    voters = set(Vote.objects.filter(comparison=comparison).order_by().values_list("user", flat=True).distinct())
    voted = _voted(user, comparison) if user.pk in voters else 0
    return Standing(
        ballots=_pairs(comparison) - same,
        voted=voted,
        same=same,
        others=len(voters - {user.pk}),
        can_take_back=user.pk in voters,
    )


def left_to(user: User, comparison: Comparison) -> int:
    """How many ballots this person could still vote on blindly; 0 for who may not vote."""
    if not user.may(Permission.EDIT):
        return 0
    ballots = _pairs(comparison) - _same(comparison)
    return ballots - _voted(user, comparison) if ballots else 0


def next_ballot(user: User, comparison: Comparison) -> Ballot | None:
    """The first ballot that the person has not voted on, in four queries and one for each repeat that it takes.

    Inputs come in their order, one pair of arms each, and the pairs take turns: the first time through the inputs
    meets all pairs evenly, and so does every further one, repeat by repeat, until every input has met every pair.
    """
    pairs = ballots.pairs(comparison.pk, list(comparison.arms.values_list("pk", flat=True)))
    inputs = list(comparison.inputs.values_list("position", "pk"))
    votes = Vote.objects.filter(user=user, comparison=comparison).order_by()
    voted = set(votes.values_list("input", "repeat", "first", "second"))
    answers = cache(partial(_hashes, comparison))
    for turn, repeat in product(range(len(pairs)), range(comparison.repeats)):
        given = answers(repeat)
        for position, pk in inputs:
            first, second = pairs[(position + repeat - turn) % len(pairs)]
            one, other = given.get((pk, first)), given.get((pk, second))
            if one is None or other is None or one == other or (pk, repeat, first, second) in voted:
                continue
            return _ballot(user, pk, repeat, first, second)
    return None


def ballot_of(user: User, vote: Vote) -> Ballot | None:
    """The ballot of a vote that was taken back; None when it can no longer be voted on."""
    return _ballot(user, vote.input_id, vote.repeat, vote.first_id, vote.second_id)


def _answers(comparison: Comparison) -> QuerySet[Trial]:
    """Those that may be voted on."""
    return Trial.objects.filter(comparison=comparison, answer_hash__isnull=False).order_by()


def _hashes(comparison: Comparison, repeat: int) -> dict[tuple[int, int], int | None]:
    """By input and arm: what tells the answers of that repeat apart."""
    found = _answers(comparison).filter(repeat=repeat).values_list("input", "arm", "answer_hash")
    return {(given, arm): answer for given, arm, answer in found}


def _pairs(comparison: Comparison) -> int:
    """How many pairs of answers to one input and repeat there are."""
    return _paired(_answers(comparison).values("input", "repeat"))


def _same(comparison: Comparison) -> int:
    """In how many of these pairs both are the same."""
    return _paired(_answers(comparison).values("input", "repeat", "answer_hash"))


def _paired(groups: QuerySet[Trial, Any]) -> int:
    """How many pairs can be made within the groups together."""
    pairs = Sum(F("size") * (F("size") - 1) / 2)
    return int(groups.annotate(size=Count("pk")).aggregate(pairs=pairs)["pairs"] or 0)


def _voted(user: User, comparison: Comparison) -> int:
    """On how many of the ballots that there are by now the person has voted."""
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
