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

from django.db.models import Count, F, Max, Q, Sum

from promptops import charts
from promptops.engine.safety.guard import VerdictDecision
from promptops.enums import Choice, TrialState
from promptops.models import Arm, Attempt, Comparison, SafetyCheck, Trial, Vote
from promptops.queries.figures import percentile
from promptops.verdicts import (
    FEW_INPUTS,
    MOST_MORE,
    Interval,
    Strength,
    Verdict,
    agreement,
    share_of,
    share_of_means,
    strengths,
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
        [f"temperature {arm.temperature:g}" for arm in arms],
        [f"{arm.max_tokens} tokens" for arm in arms],
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
    identical = answers.identical.get((one, other), frozenset())
    both = (answers.answered[one] & answers.answered[other]) - identical
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
        left=len({given for given, _ in both} - votes.voted),
    )


# How often each choice was made, in this order.
CHOICES = [Choice.FIRST.value, Choice.SECOND.value, Choice.TIE.value, Choice.NEITHER.value]
FIRST, SECOND, TIE, NEITHER = range(4)


@lru_cache(maxsize=64)
def _counted(comparison: int, arms: tuple[int, ...], state: Hashable) -> _Counted:
    """The votes, counted, in two queries. `state` says which votes there are: another one is counted anew."""
    votes = Vote.objects.filter(comparison=comparison).order_by()
    rows = votes.values_list("input", "repeat", "first", "second", "choice", "first_on_left", "user") if state else []
    number = {choice: place for place, choice in enumerate(CHOICES)}
    pairs: dict[PairKey, dict[int, list[int]]] = {pair: {} for pair in combinations(arms, 2)}
    ballots: dict[Hashable, list[int]] = defaultdict(list)
    # Of decided votes: how many were for the left side, and how many there are.
    sides: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    by_voter: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    choices: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for given, repeat, first, second, chosen, first_on_left, user in rows:
        choice, pair = number[chosen], (first, second)
        by_input = pairs[pair]
        if given not in by_input:
            by_input[given] = [0, 0, 0, 0]
        by_input[given][choice] += 1
        choices[user][choice] += 1
        ballots[given, repeat, pair].append(choice)
        if choice <= SECOND:
            left = (choice == FIRST) == first_on_left
            for counts in (sides[given], by_voter[user][given]):
                counts[0] += left
                counts[1] += 1
    names = dict(votes.values_list("user").annotate(Max("user_name"))) if state else {}
    shared = [ballot for ballot in ballots.values() if len(ballot) > 1]
    return _Counted(
        pairs={pair: _pair_votes(by_input) for pair, by_input in pairs.items()},
        strengths=_strengths(pairs, arms) if len(arms) > 2 and ballots else [],
        voters=[
            Voter(names[user], sum(counts), counts[TIE], counts[NEITHER], _rate_of(by_voter[user].values()))
            for user, counts in sorted(choices.items(), key=lambda row: -sum(row[1]))
        ],
        agreement=Agreement(len(shared), sum(len(set(ballot)) == 1 for ballot in shared), agreement(shared)),
        left_side=_rate_of(sides.values()),
    )


def _pair_votes(by_input: dict[int, list[int]]) -> _PairVotes:
    def share(choice: int) -> Rate:
        return _rate_of((counts[choice], sum(counts)) for counts in by_input.values())

    decided = [(counts[FIRST], counts[FIRST] + counts[SECOND]) for counts in by_input.values()]
    votes = sum(of for _, of in decided)
    return _PairVotes(
        votes=sum(map(sum, by_input.values())),
        decided=votes,
        first_won=share(FIRST),
        second_won=share(SECOND),
        tie=share(TIE),
        neither=share(NEITHER),
        verdict=verdict_of_means([won / of for won, of in decided if of], votes),
        voted=frozenset(by_input),
    )


def _strengths(pairs: dict[PairKey, dict[int, list[int]]], arms: Sequence[int]) -> list[Strength]:
    """Bradley-Terry from the share that each pair's first arm got on each input; half of what is not decided."""
    place = {arm: position for position, arm in enumerate(arms)}
    matches: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for (first, second), by_input in pairs.items():
        for given, counts in by_input.items():
            score = (counts[FIRST] + (counts[TIE] + counts[NEITHER]) / 2) / sum(counts)
            matches[given].append((place[first], place[second], score))
    return strengths({given: matches[given] for given in sorted(matches)}, len(arms))


def _rate_of(counts: Iterable[Sequence[int]]) -> Rate:
    """The share, with the input as the unit, from how many of how many on each input have it."""
    found = [(count, of) for count, of in counts if of]
    votes = sum(of for _, of in found)
    return Rate(share_of_means([count / of for count, of in found], votes), sum(count for count, _ in found), votes)


def _rate(scores: dict[int, list[float]]) -> Rate:
    """The mean of scores from 0 to 1, with the input as the unit."""
    every = [score for votes in scores.values() for score in votes]
    return Rate(share_of(scores), round(sum(every)), len(every))


# ---------------------------------------------------------------- answers


@dataclass(frozen=True)
class _Answers:
    """By arm: which inputs and repeats it answered or failed on, and its measures without names. By pair: same text."""

    answered: dict[int, frozenset[Ballot]]
    failed: dict[int, frozenset[Ballot]]
    identical: dict[PairKey, frozenset[Ballot]]
    measures: dict[int, dict[str, object]]
    latencies: dict[int, list[float]]


def measured(comparison: Comparison, arms: Sequence[NamedArm]) -> Measured:
    """What was measured of each arm's answers, in at most five queries."""
    answers = _answers(comparison.pk, tuple(named.arm.pk for named in arms), _trials_state(comparison))
    boxes, ticks = charts.boxes([answers.latencies[named.arm.pk] for named in arms])
    return Measured(
        [ArmMeasures(arm=arm, box=box, **answers.measures[arm.arm.pk]) for arm, box in zip(arms, boxes, strict=True)],
        ticks,
    )


def _trials_state(comparison: Comparison) -> Hashable:
    """What tells one state of the trials from another; an erased answer is another state."""
    counts = comparison.trials.order_by().values_list("state").annotate(
        Count("id"), Max("finished_at"), Count("run__erased_at")
    )  # fmt: skip
    return tuple(sorted(counts))


@lru_cache(maxsize=64)
def _answers(comparison: int, arms: tuple[int, ...], state: Hashable) -> _Answers:
    """The trials, counted, in four queries. `state` says how far they are: another one is counted anew."""
    trials = Trial.objects.filter(comparison=comparison).order_by()
    fields = (
        "arm", "input", "repeat", "state", "run__latency_ms", "run__truncated", "run__cost", "run__cost_estimated",
        "characters", "words", "subject_kept", "repetition", "alternatives", "comparison__count",
    )  # fmt: skip
    by_arm: dict[int, list[tuple]] = {arm: [] for arm in arms}
    for arm, *row in trials.values_list(*fields):
        by_arm[arm].append(tuple(row))
    tokens = _tokens(comparison)
    judged = _judged(comparison)
    ended = {
        wanted: {
            arm: frozenset((row[0], row[1]) for row in rows if row[2] == wanted) for arm, rows in by_arm.items()
        }
        for wanted in (TrialState.SUCCEEDED, TrialState.FAILED)
    }  # fmt: skip
    return _Answers(
        answered=ended[TrialState.SUCCEEDED],
        failed=ended[TrialState.FAILED],
        identical=_identical(comparison),
        measures={arm: _measures(rows, tokens.get(arm, []), judged.get(arm, (0, 0))) for arm, rows in by_arm.items()},
        latencies={arm: [row[3] for row in rows if row[2] == TrialState.SUCCEEDED] for arm, rows in by_arm.items()},
    )


def _identical(comparison: int) -> dict[PairKey, frozenset[Ballot]]:
    """Where two arms gave the same answer, letter by letter; erased answers are not known to be the same."""
    rows = Trial.objects.filter(
        comparison=comparison,
        state=TrialState.SUCCEEDED,
        run__erased_at=None,
        input__trials__state=TrialState.SUCCEEDED,
        input__trials__repeat=F("repeat"),
        input__trials__arm__position__gt=F("arm__position"),
        input__trials__run__output=F("run__output"),
        input__trials__run__erased_at=None,
    )
    found: dict[PairKey, set[Ballot]] = defaultdict(set)
    for first, second, given, repeat in rows.order_by().values_list("arm", "input__trials__arm", "input", "repeat"):
        found[first, second].add((given, repeat))
    return {pair: frozenset(ballots) for pair, ballots in found.items()}


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
