"""Blind voting as its page shows it: the next ballot, and how far a voter is.

A ballot is two arms' answers to one input and repeat, when both succeeded, their texts are still there, and they
differ. Nothing here that goes to the page says which arm an answer is of.
"""

from dataclasses import dataclass
from typing import Any

from django.db.models import BooleanField, Case, Count, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Value, When

from promptops import ballots
from promptops.enums import Permission, TrialState
from promptops.models import Comparison, Trial, User, Vote


@dataclass(frozen=True)
class Ballot:
    """Two answers to one input, by side. `mark` stands for the pair of arms (`promptops.ballots`)."""

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
    """How far `user` is, in two queries."""
    groups = _pairs(user, comparison).values("same", "voted").annotate(pairs=Count("pk"))
    counts = {(group["same"], group["voted"]): group["pairs"] for group in groups}
    voted, to_go = counts.get((False, True), 0), counts.get((False, False), 0)
    same = sum(pairs for (alike, _), pairs in counts.items() if alike)
    voters = set(Vote.objects.filter(comparison=comparison).order_by().values_list("user", flat=True).distinct())
    return Standing(voted + to_go, voted, same, others=len(voters - {user.pk}), can_take_back=user.pk in voters)


def left_to(user: User, comparison: Comparison) -> int:
    """How many ballots this person could still vote on blindly; 0 for who may not vote."""
    if not user.may(Permission.EDIT):
        return 0
    return _pairs(user, comparison).filter(same=False, voted=False).count()


def next_ballot(user: User, comparison: Comparison) -> Ballot | None:
    """The first ballot that the person has not voted on, in three queries.

    Inputs come in their order, one pair of arms each, and the pairs take turns: the first time through the inputs
    meets all pairs evenly, and so does every further one, repeat by repeat, until every input has met every pair.
    """
    arms = list(comparison.arms.values_list("pk", flat=True))
    pairs = ballots.pairs(comparison.pk, arms)
    place = Case(
        *(When(arm=first, input__trials__arm=second, then=Value(place)) for place, (first, second) in enumerate(pairs))
    )
    found = (
        _pairs(user, comparison)
        .filter(same=False, voted=False)
        .annotate(round=(F("input__position") + F("repeat") + len(pairs) - place) % len(pairs))
        .order_by("round", "repeat", "input__position")
        .values_list("input", "repeat", "arm", "input__trials__arm")
        .first()
    )
    return _ballot(user, *found) if found else None


def ballot_of(user: User, vote: Vote) -> Ballot | None:
    """The ballot of a vote that was taken back; None when it can no longer be voted on."""
    return _ballot(user, vote.input_id, vote.repeat, vote.first_id, vote.second_id)


def _pairs(user: User, comparison: Comparison) -> QuerySet[Trial, Any]:
    """The first trial of each pair that can be compared, joined with its second (`input__trials`).

    Annotated with whether the answers are the `same` and whether this person has `voted`; texts stay in the database.
    """
    vote = Vote.objects.filter(
        user=user,
        input=OuterRef("input"),
        repeat=OuterRef("repeat"),
        first=OuterRef("arm"),
        second=OuterRef("input__trials__arm"),
    )
    return (
        Trial.objects.filter(
            comparison=comparison,
            state=TrialState.SUCCEEDED,
            run__erased_at=None,
            input__trials__repeat=F("repeat"),
            input__trials__arm__position__gt=F("arm__position"),
            input__trials__state=TrialState.SUCCEEDED,
            input__trials__run__erased_at=None,
        )
        .order_by()
        .annotate(
            same=ExpressionWrapper(Q(run__output=F("input__trials__run__output")), output_field=BooleanField()),
            voted=Exists(vote),
        )
    )


def _ballot(user: User, input: int, repeat: int, first: int, second: int) -> Ballot | None:
    answers = {
        arm: (prompt, output)
        for arm, prompt, output in Trial.objects.filter(
            input=input, repeat=repeat, arm__in=[first, second], state=TrialState.SUCCEEDED, run__erased_at=None
        ).values_list("arm", "input__text", "run__output")
    }
    if len(answers) < 2:
        return None
    prompt, one = answers[first]
    _, other = answers[second]
    if not ballots.first_on_left(user.pk, input, repeat, (first, second)):
        one, other = other, one
    return Ballot(input, repeat, ballots.mark(user.pk, input, repeat, (first, second)), prompt, one, other)
