"""The votes of a comparison, counted: by pair of arms, by voter, by ballot and by side.

The counts are cached in memory by the state of the votes, so that a page of an unchanged comparison reads no vote.
What the counts say about the arms is in `verdicts`.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from django.db.models import Case, Count, Max, QuerySet, When

from promptops.compare.enums import Choice
from promptops.compare.models import Comparison, Vote
from promptops.compare.queries.arm_names import NamedArm
from promptops.compare.queries.rates import Rate, rate_of_counts
from promptops.stats.preference import Strength, Verdict, agreement_of_counts, strengths_of_tables, verdict_of_means

PairKey = tuple[int, int]
"""The ids of two arms, in the order of their positions."""

# The columns of every table of choices here.
CHOICES = [Choice.FIRST.value, Choice.SECOND.value, Choice.TIE.value, Choice.NEITHER.value]
FIRST, SECOND, TIE, NEITHER = range(4)


@dataclass(frozen=True)
class PairVotes:
    """The votes on one pair of arms. The fields are those of `verdicts.Pair`; `voted` is the inputs with a vote."""

    votes: int
    decided: int
    first_won: Rate
    second_won: Rate
    tie: Rate
    neither: Rate
    verdict: Verdict
    voted: frozenset[int]


@dataclass(frozen=True)
class Voter:
    """The votes of one person. `left` is a rate of the decided votes."""

    name: str
    votes: int
    ties: int
    neither: int
    left: Rate


@dataclass(frozen=True)
class Agreement:
    """The agreement of voters on ballots that several people voted on. `alpha` is Krippendorff's, None if unknown."""

    shared: int
    agreed: int
    alpha: float | None

    @property
    def percent(self) -> float | None:
        """Return the share of shared ballots on which all voters agreed, in percent."""
        return 100 * self.agreed / self.shared if self.shared else None


@dataclass(frozen=True)
class VoteCounts:
    """All votes of a comparison, counted. `strengths` is empty for two arms."""

    pairs: dict[PairKey, PairVotes]
    strengths: list[Strength]
    voters: list[Voter]
    agreement: Agreement
    left_side: Rate


def vote_counts(comparison: Comparison, arms: Sequence[NamedArm]) -> VoteCounts:
    """Return the votes, counted, in at most three queries."""
    state = comparison.votes.order_by().values_list("choice").annotate(Count("id"), Max("id"), Max("at"))
    return _counted(comparison.pk, tuple(named.arm.pk for named in arms), tuple(sorted(state)))


@lru_cache(maxsize=64)
def _counted(comparison: int, arms: tuple[int, ...], state: Hashable) -> VoteCounts:
    """Count the votes in two queries. `state` is the cache key: it differs whenever the votes differ."""
    votes = Vote.objects.filter(comparison=comparison).order_by()
    pairs = list(combinations(arms, 2))
    rows = np.array(_rows(votes, pairs) if state else [], dtype=np.int64).reshape(-1, 4)
    # Ids become positions: `inputs[input_at[n]]` is the input of vote n, and so on.
    inputs, input_at = np.unique(rows[:, 0], return_inverse=True)
    voters, voter_at = np.unique(rows[:, 2], return_inverse=True)
    pair_at, choice, first_on_left = np.unravel_index(rows[:, 3], (len(pairs), len(CHOICES), 2))
    by_input = _tally((len(pairs), len(inputs), len(CHOICES)), pair_at, input_at, choice)
    ballots, ballot_at = np.unique((rows[:, 1] * len(inputs) + input_at) * len(pairs) + pair_at, return_inverse=True)
    # Of the decided votes of each voter on each input: how many were for the left side, and how many there are.
    decided = choice <= SECOND
    left = decided & ((choice == FIRST) == (first_on_left == 1))
    lefts, sides = (
        _tally((len(voters), len(inputs)), voter_at[chosen], input_at[chosen]) for chosen in (left, decided)
    )
    choices = _tally((len(voters), len(CHOICES)), voter_at, choice)
    names = dict(votes.values_list("user").annotate(Max("user_name"))) if state else {}
    voter_counts = [
        Voter(
            name=names[user],
            votes=int(choices[place].sum()),
            ties=int(choices[place, TIE]),
            neither=int(choices[place, NEITHER]),
            left=rate_of_counts(lefts[place], sides[place]),
        )
        for place, user in enumerate(voters.tolist())
    ]
    return VoteCounts(
        pairs={pair: _pair_votes(by_input[place], inputs) for place, pair in enumerate(pairs)},
        strengths=_strengths(by_input, len(arms)) if len(arms) > 2 and len(rows) else [],
        voters=sorted(voter_counts, key=lambda voter: -voter.votes),
        agreement=_agreement(_tally((len(ballots), len(CHOICES)), ballot_at, choice)),
        left_side=rate_of_counts(lefts.sum(axis=0), sides.sum(axis=0)),
    )


def _rows(votes: QuerySet[Vote], pairs: list[PairKey]) -> list[tuple[int, ...]]:
    """Return (input, repeat, user, code) of each vote; the code is one number for its pair, choice and side.

    Most of the time goes into building the rows in Python, so three columns with few values become one.
    """
    pair_number = Case(*(When(first=one, second=other, then=place) for place, (one, other) in enumerate(pairs)))
    choice_number = Case(*(When(choice=choice, then=place) for place, choice in enumerate(CHOICES)))
    left_number = Case(When(first_on_left=True, then=1), default=0)
    code = (pair_number * len(CHOICES) + choice_number) * 2 + left_number
    return list(votes.values_list("input", "repeat", "user", code))


def _tally(shape: tuple[int, ...], *places: np.ndarray) -> np.ndarray:
    """Return a table of that shape with the number of times that each cell is named; `places` has one axis each."""
    size = int(np.prod(shape))
    return np.bincount(np.ravel_multi_index(places, shape) if size else [], minlength=size).reshape(shape)


def _pair_votes(counts: np.ndarray, inputs: np.ndarray) -> PairVotes:
    """Return the votes on a pair from the table of inputs (rows) by choices (columns)."""
    votes, decided = counts.sum(axis=1), counts[:, FIRST] + counts[:, SECOND]
    known = decided > 0
    return PairVotes(
        votes=int(votes.sum()),
        decided=int(decided.sum()),
        first_won=rate_of_counts(counts[:, FIRST], votes),
        second_won=rate_of_counts(counts[:, SECOND], votes),
        tie=rate_of_counts(counts[:, TIE], votes),
        neither=rate_of_counts(counts[:, NEITHER], votes),
        verdict=verdict_of_means(counts[known, FIRST] / decided[known], int(decided.sum())),
        voted=frozenset(inputs[votes > 0].tolist()),
    )


def _strengths(by_input: np.ndarray, arms: int) -> list[Strength]:
    """Return the Bradley-Terry strengths from the share of each input's votes that went to a pair's first arm.

    A tie or "neither" counts as half a win for both arms.
    """
    tables = np.zeros((by_input.shape[1], arms, arms))
    for (first, second), counts in zip(combinations(range(arms), 2), by_input, strict=True):
        votes = counts.sum(axis=1)
        met = votes > 0
        share = (counts[met, FIRST] + (counts[met, TIE] + counts[met, NEITHER]) / 2) / votes[met]
        tables[met, first, second], tables[met, second, first] = share, 1 - share
    return strengths_of_tables(tables, arms)


def _agreement(by_ballot: np.ndarray) -> Agreement:
    """Return the agreement from the table of ballots (rows) by choices (columns)."""
    shared = by_ballot[by_ballot.sum(axis=1) > 1]
    agreed = int((shared.max(axis=1, initial=0) == shared.sum(axis=1)).sum())
    return Agreement(len(shared), agreed, agreement_of_counts(shared))
