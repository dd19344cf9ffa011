"""The verdicts of the votes: which arm of each pair is preferred, how surely, and how the arms rank.

Counting the votes is done in `vote_counts`; the measures of the answers are in `measures`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, floor, log10

from promptops.compare.models import Comparison
from promptops.compare.queries.answer_counts import AnswerCounts, answer_counts
from promptops.compare.queries.arm_names import NamedArm
from promptops.compare.queries.rates import Rate
from promptops.compare.queries.vote_counts import Agreement, PairVotes, Voter, vote_counts
from promptops.stats.preference import FEW_INPUTS, Interval, Verdict


@dataclass(frozen=True)
class Pair:
    """The votes on two arms and their verdict.

    `verdict` counts the decided votes, those for one of the two arms; its `inputs` are the inputs with such a vote.
    `failed` counts inputs (each repeat separately) on which an arm failed, `identical` those with the same answer
    twice: neither can be voted on. `left` inputs have answers to vote on and no vote yet.
    """

    first: NamedArm
    second: NamedArm
    votes: int
    inputs: int
    decided: int
    first_won: Rate
    second_won: Rate
    tie: Rate
    neither: Rate
    verdict: Verdict
    failed: int
    identical: int
    left: int

    @property
    def ahead(self) -> NamedArm:
        """Return the arm with more than half of the preference; the first one if it is exactly half."""
        return self.second if self.verdict.preference.share < 0.5 else self.first

    @property
    def preference(self) -> Interval:
        """Return the preference for the arm that is ahead."""
        of_first = self.verdict.preference
        if self.ahead is self.first:
            return of_first
        return Interval(1 - of_first.share, 1 - of_first.high, 1 - of_first.low)

    @property
    def place(self) -> tuple[float, ...]:
        """Return the preference for the second arm in percent: low end, length, the share itself, high end."""
        of_first = self.verdict.preference
        return tuple(
            round(100 * share, 2)
            for share in (1 - of_first.high, of_first.high - of_first.low, 1 - of_first.share, 1 - of_first.low)
        )

    @property
    def winner(self) -> NamedArm | None:
        """Return the preferred arm once the interval excludes one half, else None."""
        return self.ahead if self.verdict.winner else None

    @property
    def more(self) -> int | None:
        """Return about how many more inputs are needed, rounded up to two digits, if the share of ties stays."""
        if not self.verdict.more:
            return None
        wanted = self.verdict.more * self.inputs / self.verdict.inputs
        step = 10 ** max(0, floor(log10(wanted)) - 1)
        return ceil(wanted / step) * step

    @property
    def is_even(self) -> bool:
        """Return whether the inputs are so many and so even that 10,000 more would show no difference."""
        return bool(self.decided) and not self.winner and not self.more and self.inputs >= FEW_INPUTS

    @property
    def headline(self) -> str:
        """Return the verdict in one line, with its votes and its interval."""
        if not self.votes:
            return "No votes yet"
        if not self.decided:
            return f"No winner yet: {self.votes:,} vote{'' if self.votes == 1 else 's'}, all ties or “neither”"
        ahead = (self.first_won if self.ahead is self.first else self.second_won).count
        figures = f"{ahead:,} of {self.decided:,} vote{'' if self.decided == 1 else 's'}, {self.preference}"
        if self.winner:
            return f"{self.winner.name} is preferred: {figures}"
        return f"{'No difference' if self.is_even else 'No winner yet'}: {self.ahead.name} has {figures}"


@dataclass(frozen=True)
class Ranked:
    """One of more than two arms with its Bradley-Terry strength: its chance to win against an average arm."""

    arm: NamedArm
    chance: Interval

    @property
    def place(self) -> tuple[float, ...]:
        """Return the chance in percent: low end, length, the chance itself, high end."""
        low, high = self.chance.low, self.chance.high
        return tuple(round(100 * share, 2) for share in (low, high - low, self.chance.share, high))


@dataclass(frozen=True)
class Verdicts:
    """Everything that the votes say. `ranking` is empty for two arms; `left_side` is a rate of all decided votes."""

    votes: int
    inputs: int
    pairs: list[Pair]
    ranking: list[Ranked]
    voters: list[Voter]
    agreement: Agreement
    left_side: Rate

    to_vote: int
    """Inputs without a vote that have answers to vote on, of the pair that has most of them."""

    @property
    def winner(self) -> NamedArm | None:
        """Return the arm that is preferred to each of the others, None if there is none."""
        others = len({arm for pair in self.pairs for arm in (pair.first, pair.second)}) - 1
        won = Counter(pair.winner for pair in self.pairs if pair.winner)
        return next((arm for arm, pairs in won.items() if pairs == others), None)

    @property
    def open_pair(self) -> Pair | None:
        """Return the two strongest arms if the votes on them name no winner."""
        if len(self.pairs) == 1:
            [strongest] = self.pairs
        elif self.ranking:
            top = {ranked.arm for ranked in self.ranking[:2]}
            strongest = next(pair for pair in self.pairs if {pair.first, pair.second} == top)
        else:
            return None
        return None if strongest.winner or not strongest.votes else strongest

    @property
    def leaning(self) -> str:
        """Return the side that voters chose more often than chance explains: "left", "right", or ""."""
        if not self.left_side.of or self.left_side.share.includes_half:
            return ""
        return "left" if self.left_side.share.share > 0.5 else "right"


def verdicts(comparison: Comparison, arms: Sequence[NamedArm]) -> Verdicts:
    """Return the verdicts, pair by pair, in at most seven queries."""
    votes = vote_counts(comparison, arms)
    answers = answer_counts(comparison, arms)
    pairs = [
        _pair(first, second, votes.pairs[first.arm.pk, second.arm.pk], answers)
        for first, second in combinations(arms, 2)
    ]
    ranking = [Ranked(arm, strength.chance) for arm, strength in zip(arms, votes.strengths, strict=False)]
    return Verdicts(
        votes=sum(pair.votes for pair in pairs),
        inputs=len(frozenset().union(*(pair_votes.voted for pair_votes in votes.pairs.values()))),
        pairs=pairs,
        ranking=sorted(ranking, key=lambda ranked: -ranked.chance.share),
        voters=votes.voters,
        agreement=votes.agreement,
        left_side=votes.left_side,
        to_vote=max((pair.left for pair in pairs), default=0),
    )


def _pair(first: NamedArm, second: NamedArm, votes: PairVotes, answers: AnswerCounts) -> Pair:
    one, other = first.arm.pk, second.arm.pk
    both = answers.votable[one].keys() & answers.votable[other].keys()
    identical = {ballot for ballot in both if answers.votable[one][ballot] == answers.votable[other][ballot]}
    return Pair(
        first=first,
        second=second,
        votes=votes.votes,
        inputs=len(votes.voted),
        decided=votes.decided,
        first_won=votes.first_won,
        second_won=votes.second_won,
        tie=votes.tie,
        neither=votes.neither,
        verdict=votes.verdict,
        failed=len(answers.failed[one] | answers.failed[other]),
        identical=len(identical),
        left=len({input_id for input_id, _ in both - identical} - votes.voted),
    )
