"""What the votes and the answers of a comparison say: who is preferred and how surely, and what was measured.

The figures are counted once for each state of the votes and of the trials, and kept in memory by what that state is.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import ceil, floor, log10
from statistics import fmean
from typing import Any

import numpy as np
from django.db.models import Case, Count, Max, Q, Sum, When

from promptops.compare.enums import Choice, TrialState
from promptops.compare.models import Arm, Comparison, Trial, Vote
from promptops.engine.safety.guard import VerdictDecision
from promptops.prompts.content import PARAMETERS, SETTINGS
from promptops.runs.models import Attempt, SafetyCheck
from promptops.stats import charts
from promptops.stats.percentiles import percentile
from promptops.stats.preference import (
    FEW_INPUTS,
    MOST_MORE,
    Interval,
    Strength,
    Verdict,
    agreement_of_counts,
    share_of,
    share_of_means,
    strengths_of_tables,
    verdict_of_means,
)


@dataclass(frozen=True)
class NamedArm:
    """An arm and the shortest name that tells it from the others, such as "B (v14)"."""

    arm: Arm
    name: str


@dataclass(frozen=True)
class Rate:
    """Which share it is, with the interval, and of how many (votes, answers), `count` of which have it."""

    share: Interval
    count: int
    of: int


@dataclass(frozen=True)
class Pair:
    """What the votes say of two arms.

    `verdict` is of the decided votes, those for one of the two; its inputs are those that have one. `failed` counts
    inputs (each repeat for itself) on which an arm failed, `identical` those with the same answer twice: nobody votes
    on these. `left` inputs have answers to vote on and no vote yet.
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
        """The one with more than half of the preference; the first when it is exactly half."""
        return self.second if self.verdict.preference.share < 0.5 else self.first

    @property
    def preference(self) -> Interval:
        """The preference for the arm that is ahead."""
        found = self.verdict.preference
        if self.ahead is self.first:
            return found
        return Interval(1 - found.share, 1 - found.high, 1 - found.low)

    @property
    def place(self) -> tuple[float, ...]:
        """The preference for the second arm in percent, from the left: low end, length, the share itself, high end."""
        found = self.verdict.preference
        return tuple(
            round(100 * share, 2) for share in (1 - found.high, found.high - found.low, 1 - found.share, 1 - found.low)
        )

    @property
    def winner(self) -> NamedArm | None:
        """The arm that is preferred, once the interval leaves one half out."""
        return self.ahead if self.verdict.winner else None

    @property
    def more(self) -> int | None:
        """About how many more inputs it takes, with two digits; of ties as many as so far are reckoned with."""
        if not self.verdict.more:
            return None
        wanted = self.verdict.more * self.inputs / self.verdict.inputs
        step = 10 ** max(0, floor(log10(wanted)) - 1)
        return ceil(wanted / step) * step

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        if not self.votes:
            return "No votes yet"
        if self.winner:
            return f"{self.winner.name} is preferred"
        if self.more:
            return f"Not enough votes yet: about {self.more:,} more input{'s' if self.more != 1 else ''}"
        if self.inputs < FEW_INPUTS:
            return "Not enough votes yet"
        return f"No difference that {MOST_MORE:,} more inputs would show"


@dataclass(frozen=True)
class Voter:
    """How often one person voted, and how. `left` is of the decided votes."""

    name: str
    votes: int
    ties: int
    neither: int
    left: Rate


@dataclass(frozen=True)
class Agreement:
    """Of answers that several people judged: how often all said the same, and Krippendorff's alpha (None: unknown)."""

    shared: int
    agreed: int
    alpha: float | None

    @property
    def percent(self) -> float | None:
        return 100 * self.agreed / self.shared if self.shared else None


@dataclass(frozen=True)
class Ranked:
    """An arm among more than two, with its Bradley-Terry strength as the chance to win against an average one."""

    arm: NamedArm
    chance: Interval

    @property
    def place(self) -> tuple[float, ...]:
        """In percent, from the left: low end, length, the chance itself, high end."""
        found = self.chance
        return tuple(round(100 * share, 2) for share in (found.low, found.high - found.low, found.share, found.high))


@dataclass(frozen=True)
class Verdicts:
    """Everything that the votes say. `ranking` is empty for two arms; `left_side` is of all decided votes."""

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
    def leaning(self) -> str:
        """The side that is chosen more often than chance would have it: "left", "right" or none."""
        if not self.left_side.of or self.left_side.share.includes_half:
            return ""
        return "left" if self.left_side.share.share > 0.5 else "right"


@dataclass(frozen=True)
class Mean:
    """A mean and of how many answers it is; None of none."""

    value: float | None
    of: int


@dataclass(frozen=True)
class ArmMeasures:
    """What was measured of one arm's answers. Times are milliseconds, of answers; failures are in `failed` alone.

    `subject` and `repetition` are means of shares; `obeyed` is of rewrites alone. Answers from before measures were
    counted are in no `of` of theirs. `cost` is USD for 1,000 answers.
    """

    arm: NamedArm
    answered: int
    failed: Rate
    open: int
    truncated: int
    p50: float | None
    p95: float | None
    p99: float | None
    box: charts.Box | None
    tokens_in: Mean
    tokens_out: Mean
    tokens_estimated: bool
    cost: Mean
    cost_estimated: bool
    words: Mean
    characters: Mean
    subject: Rate
    repetition: Rate
    obeyed: Rate
    finish_reasons: list[tuple[str, int]]

    judged: int
    """Trials that the safety filter looked at, and how many of these it blocked, or would have."""
    flagged: int


@dataclass(frozen=True)
class Measured:
    """The measures of all arms, and the axis of their plots of latency. `priced`: any arm has prices."""

    arms: list[ArmMeasures]
    ticks: list[charts.Tick]

    @property
    def answered(self) -> int:
        return sum(row.answered for row in self.arms)

    @property
    def obedience(self) -> bool:
        """Whether there is anything to obey: rewrites with measures."""
        return any(row.obeyed.of for row in self.arms)

    @property
    def judged(self) -> int:
        return sum(row.judged for row in self.arms)

    @property
    def finish_reasons(self) -> list[str]:
        """All that occurred, sorted."""
        return sorted({reason for row in self.arms for reason, _ in row.finish_reasons})


def named(comparison: Comparison) -> list[NamedArm]:
    """The arms by position, each named by its letter and by what differs between them, in one query."""
    arms = list(comparison.arms.select_related("template", "version"))
    told: list[list[str]] = [[] for _ in arms]
    texts = [f"v{arm.version.number}" if arm.version else "draft" for arm in arms]
    if len({arm.template_id for arm in arms}) > 1:
        texts = [f"{arm.template.name} {text}" for arm, text in zip(arms, texts, strict=True)]
    parts = (
        texts,
        [arm.provider_name for arm in arms],
        *([SETTINGS[name].in_words(getattr(arm, name)) for arm in arms] for name in PARAMETERS),
    )
    for values in parts:
        if len(set(values)) > 1:
            for names, value in zip(told, values, strict=True):
                names.append(value)
    return [
        NamedArm(arm, f"{arm.letter} ({', '.join(names)})" if names else arm.letter)
        for arm, names in zip(arms, told, strict=True)
    ]


# ---------------------------------------------------------------- votes

PairKey = tuple[int, int]
Ballot = tuple[int, int]
"""An input and a repeat."""


@dataclass(frozen=True)
class _PairVotes:
    """The votes on one pair, counted; the fields are those of `Pair`. `voted` are the inputs with a vote."""

    votes: int
    decided: int
    first_won: Rate
    second_won: Rate
    tie: Rate
    neither: Rate
    verdict: Verdict
    voted: frozenset[int]


@dataclass(frozen=True)
class _Counted:
    pairs: dict[PairKey, _PairVotes]
    strengths: list[Strength]
    voters: list[Voter]
    agreement: Agreement
    left_side: Rate


def verdicts(comparison: Comparison, arms: Sequence[NamedArm]) -> Verdicts:
    """What the votes say, pair by pair, in at most six queries."""
    ids = tuple(named.arm.pk for named in arms)
    votes = comparison.votes.order_by().values_list("choice").annotate(Count("id"), Max("id"), Max("at"))
    counted = _counted(comparison.pk, ids, tuple(sorted(votes)))
    answers = _answers(comparison.pk, ids, _trials_state(comparison))
    pairs = [
        _pair(first, second, counted.pairs[first.arm.pk, second.arm.pk], answers)
        for first, second in combinations(arms, 2)
    ]
    ranking = [Ranked(arm, strength.chance) for arm, strength in zip(arms, counted.strengths, strict=False)]
    return Verdicts(
        votes=sum(pair.votes for pair in pairs),
        inputs=len(frozenset().union(*(found.voted for found in counted.pairs.values()))),
        pairs=pairs,
        ranking=sorted(ranking, key=lambda ranked: -ranked.chance.share),
        voters=counted.voters,
        agreement=counted.agreement,
        left_side=counted.left_side,
        to_vote=max((pair.left for pair in pairs), default=0),
    )


def _pair(first: NamedArm, second: NamedArm, votes: _PairVotes, answers: "_Answers") -> Pair:
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
        left=len({given for given, _ in both - identical} - votes.voted),
    )


# How often each choice was made, in this order.
CHOICES = [Choice.FIRST.value, Choice.SECOND.value, Choice.TIE.value, Choice.NEITHER.value]
FIRST, SECOND, TIE, NEITHER = range(4)


@lru_cache(maxsize=64)
def _counted(comparison: int, arms: tuple[int, ...], state: Hashable) -> _Counted:
    """The votes, counted, in two queries. `state` says which votes there are: another one is counted anew."""
    votes = Vote.objects.filter(comparison=comparison).order_by()
    pairs = list(combinations(arms, 2))
    # What is one of a few is told by one number, since most of the time goes into handing out the rows.
    pair_number = Case(*(When(first=one, second=other, then=place) for place, (one, other) in enumerate(pairs)))
    choice_number = Case(*(When(choice=choice, then=place) for place, choice in enumerate(CHOICES)))
    left_number = Case(When(first_on_left=True, then=1), default=0)
    said = (pair_number * len(CHOICES) + choice_number) * 2 + left_number
    fields = votes.values_list("input", "repeat", "user", said) if state else []
    rows = np.array(list(fields), dtype=np.int64).reshape(-1, 4)
    inputs, given = np.unique(rows[:, 0], return_inverse=True)
    voters, voter = np.unique(rows[:, 2], return_inverse=True)
    pair, choice, first_on_left = np.unravel_index(rows[:, 3], (len(pairs), len(CHOICES), 2))
    by_input = _tally((len(pairs), len(inputs), len(CHOICES)), pair, given, choice)
    ballots, ballot = np.unique((rows[:, 1] * len(inputs) + given) * len(pairs) + pair, return_inverse=True)
    by_ballot = _tally((len(ballots), len(CHOICES)), ballot, choice)
    shared = by_ballot[by_ballot.sum(axis=1) > 1]
    # Of decided votes of each voter on each input: how many were for the left side, and how many there are.
    decided = choice <= SECOND
    left = decided & ((choice == FIRST) == (first_on_left == 1))
    lefts, sides = (_tally((len(voters), len(inputs)), voter[chosen], given[chosen]) for chosen in (left, decided))
    choices = _tally((len(voters), len(CHOICES)), voter, choice)
    names = dict(votes.values_list("user").annotate(Max("user_name"))) if state else {}
    found = [
        Voter(
            name=names[user],
            votes=int(choices[place].sum()),
            ties=int(choices[place, TIE]),
            neither=int(choices[place, NEITHER]),
            left=_rate_of(lefts[place], sides[place]),
        )
        for place, user in enumerate(voters.tolist())
    ]
    return _Counted(
        pairs={pair: _pair_votes(by_input[place], inputs) for place, pair in enumerate(pairs)},
        strengths=_strengths(by_input, len(arms)) if len(arms) > 2 and len(rows) else [],
        voters=sorted(found, key=lambda voter: -voter.votes),
        agreement=Agreement(
            len(shared), int((shared.max(axis=1, initial=0) == shared.sum(axis=1)).sum()), agreement_of_counts(shared)
        ),
        left_side=_rate_of(lefts.sum(axis=0), sides.sum(axis=0)),
    )


def _tally(shape: tuple[int, ...], *places: np.ndarray) -> np.ndarray:
    """How often each place of a table of that shape was named."""
    size = int(np.prod(shape))
    return np.bincount(np.ravel_multi_index(places, shape) if size else [], minlength=size).reshape(shape)


def _pair_votes(counts: np.ndarray, inputs: np.ndarray) -> _PairVotes:
    """From how often each choice (column) was made on each input (row)."""
    votes, decided = counts.sum(axis=1), counts[:, FIRST] + counts[:, SECOND]
    known = decided > 0
    return _PairVotes(
        votes=int(votes.sum()),
        decided=int(decided.sum()),
        first_won=_rate_of(counts[:, FIRST], votes),
        second_won=_rate_of(counts[:, SECOND], votes),
        tie=_rate_of(counts[:, TIE], votes),
        neither=_rate_of(counts[:, NEITHER], votes),
        verdict=verdict_of_means(counts[known, FIRST] / decided[known], int(decided.sum())),
        voted=frozenset(inputs[votes > 0].tolist()),
    )


def _strengths(by_input: np.ndarray, arms: int) -> list[Strength]:
    """Bradley-Terry from the share that each pair's first arm got on each input; half of what is not decided."""
    tables = np.zeros((by_input.shape[1], arms, arms))
    for (first, second), counts in zip(combinations(range(arms), 2), by_input, strict=True):
        votes = counts.sum(axis=1)
        met = votes > 0
        share = (counts[met, FIRST] + (counts[met, TIE] + counts[met, NEITHER]) / 2) / votes[met]
        tables[met, first, second], tables[met, second, first] = share, 1 - share
    return strengths_of_tables(tables, arms)


def _rate_of(counts: np.ndarray, of: np.ndarray) -> Rate:
    """The share, with the input as the unit, from how many (`counts`) of how many on each input have it."""
    known = of > 0
    votes = int(of.sum())
    return Rate(share_of_means(counts[known] / of[known], votes), int(counts.sum()), votes)


def _rate(scores: dict[int, list[float]]) -> Rate:
    """The mean of scores from 0 to 1, with the input as the unit."""
    every = [score for votes in scores.values() for score in votes]
    return Rate(share_of(scores), round(sum(every)), len(every))


# ---------------------------------------------------------------- answers


@dataclass(frozen=True)
class _Answers:
    """By arm: inputs and repeats with an answer to vote on (its hash), or on which it failed; its measures."""

    votable: dict[int, dict[Ballot, int]]
    failed: dict[int, frozenset[Ballot]]
    measures: dict[int, dict[str, Any]]
    latencies: dict[int, list[float]]


def measured(comparison: Comparison, arms: Sequence[NamedArm]) -> Measured:
    """What was measured of each arm's answers, in at most four queries."""
    answers = _answers(comparison.pk, tuple(named.arm.pk for named in arms), _trials_state(comparison))
    boxes, ticks = charts.boxes([answers.latencies[named.arm.pk] for named in arms])
    return Measured(
        [ArmMeasures(arm=arm, box=box, **answers.measures[arm.arm.pk]) for arm, box in zip(arms, boxes, strict=True)],
        ticks,
    )


def _trials_state(comparison: Comparison) -> Hashable:
    """What tells one state of the trials from another; one with an answer erased is another."""
    counts = comparison.trials.order_by().values_list("state")
    counts = counts.annotate(Count("id"), Max("finished_at"), Count("answer_hash"))
    return tuple(sorted(counts))


@lru_cache(maxsize=64)
def _answers(comparison: int, arms: tuple[int, ...], state: Hashable) -> _Answers:
    """The trials, counted, in three queries. `state` says how far they are: another one is counted anew."""
    trials = Trial.objects.filter(comparison=comparison).order_by()
    fields = (
        "arm", "input", "repeat", "state", "run__latency_ms", "run__truncated", "run__cost", "run__cost_estimated",
        "characters", "words", "subject_kept", "repetition", "alternatives", "comparison__count",
        "answer_hash",
    )  # fmt: skip
    by_arm: dict[int, list[tuple]] = {arm: [] for arm in arms}
    for arm, *row in trials.values_list(*fields):
        by_arm[arm].append(tuple(row))
    tokens = _tokens(comparison)
    judged = _judged(comparison)
    return _Answers(
        votable={
            arm: {(row[0], row[1]): row[13] for row in rows if row[13] is not None} for arm, rows in by_arm.items()
        },
        failed={
            arm: frozenset((row[0], row[1]) for row in rows if row[2] == TrialState.FAILED)
            for arm, rows in by_arm.items()
        },
        measures={arm: _measures(rows, tokens.get(arm, []), judged.get(arm, (0, 0))) for arm, rows in by_arm.items()},
        latencies={arm: [row[3] for row in rows if row[2] == TrialState.SUCCEEDED] for arm, rows in by_arm.items()},
    )


def _tokens(comparison: int) -> dict[int, list[tuple]]:
    """By arm: for each reason why answers ended, how many, and their tokens, in one query."""
    answered = Attempt.objects.filter(run__trial__comparison=comparison, outcome="succeeded").order_by()
    found: dict[int, list[tuple]] = defaultdict(list)
    for arm, *row in answered.values_list("run__trial__arm", "finish_reason").annotate(
        Count("id"),
        Sum("input_tokens"),
        Count("input_tokens"),
        Sum("output_tokens"),
        Count("output_tokens"),
        estimated=Count("id", filter=Q(usage_estimated=True)),
    ):
        found[arm].append(tuple(row))
    return found


def _judged(comparison: int) -> dict[int, tuple[int, int]]:
    """By arm: trials that the safety filter looked at, and those on which it blocked a side, or would have."""
    checks = SafetyCheck.objects.filter(run__trial__comparison=comparison).order_by()
    blocked = Count("run", filter=Q(decision=VerdictDecision.BLOCK.value), distinct=True)
    found = checks.values_list("run__trial__arm").annotate(judged=Count("run", distinct=True), flagged=blocked)
    return {arm: (judged, flagged) for arm, judged, flagged in found}


def _measures(rows: list[tuple], tokens: list[tuple], judged: tuple[int, int]) -> dict[str, object]:
    """The fields of `ArmMeasures` for one arm's trials and what `_tokens` and `_judged` found of it."""
    answers = [row for row in rows if row[2] == TrialState.SUCCEEDED]
    ended = [row for row in rows if row[2] in {TrialState.SUCCEEDED, TrialState.FAILED}]
    latencies = [row[3] for row in answers]
    costs = [row[5] for row in answers if row[5] is not None]
    obeyed = [(row[0], float(row[11] == row[12])) for row in answers if row[11] is not None]
    reasons = Counter({reason: count for reason, count, *_ in tokens if reason})
    return {
        "answered": len(answers),
        "failed": _rate(_by_input((row[0], float(row[2] == TrialState.FAILED)) for row in ended)),
        "open": len(rows) - len(ended),
        "truncated": sum(row[4] for row in answers),
        "p50": percentile(latencies, 50),
        "p95": percentile(latencies, 95),
        "p99": percentile(latencies, 99),
        "tokens_in": _mean_of_sums((row[2], row[3]) for row in tokens),
        "tokens_out": _mean_of_sums((row[4], row[5]) for row in tokens),
        "tokens_estimated": any(row[6] for row in tokens),
        "cost": Mean(1000 * fmean(costs) if costs else None, len(costs)),
        "cost_estimated": any(row[6] for row in answers),
        "words": _mean(row[8] for row in answers),
        "characters": _mean(row[7] for row in answers),
        "subject": _rate(_by_input((row[0], row[9]) for row in answers if row[9] is not None)),
        "repetition": _rate(_by_input((row[0], row[10]) for row in answers if row[10] is not None)),
        "obeyed": _rate(_by_input(obeyed)),
        "finish_reasons": reasons.most_common(),
        "judged": judged[0],
        "flagged": judged[1],
    }


def _by_input(scores: Iterable[tuple[int, float]]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = defaultdict(list)
    for given, score in scores:
        found[given].append(score)
    return found


def _mean(values: Iterable[float | None]) -> Mean:
    known = [value for value in values if value is not None]
    return Mean(fmean(known) if known else None, len(known))


def _mean_of_sums(sums: Iterable[tuple[int | None, int]]) -> Mean:
    pairs = [(total or 0, count) for total, count in sums]
    count = sum(count for _, count in pairs)
    return Mean(sum(total for total, _ in pairs) / count if count else None, count)
