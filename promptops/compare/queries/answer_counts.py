"""The answers of a comparison, counted: which can be voted on, which failed, and the measures of each arm.

The counts are cached in memory by the state of the trials, so that a page of an unchanged comparison reads no trial.
What pages show of them is in `measures` and `verdicts`; what is counted of a single answer is in
`promptops.stats.measures`.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import Any, NamedTuple

from django.db.models import Count, Max, Q, Sum

from promptops.compare.enums import TrialState
from promptops.compare.models import Comparison, Trial
from promptops.compare.queries.arm_names import NamedArm
from promptops.compare.queries.rates import Mean, mean_of, mean_of_sums, rate_of_scores
from promptops.engine.safety.guard import VerdictDecision
from promptops.runs.enums import ContractOutcome
from promptops.runs.models import Attempt, SafetyCheck
from promptops.stats.percentiles import percentile

Ballot = tuple[int, int]
"""The id of an input, and a repeat."""


@dataclass(frozen=True)
class AnswerCounts:
    """All by the id of the arm. `votable` has the hash of each answer that may be voted on; latencies are in ms."""

    votable: dict[int, dict[Ballot, int]]
    failed: dict[int, frozenset[Ballot]]
    measures: dict[int, dict[str, Any]]
    latencies: dict[int, list[float]]


class _Trial(NamedTuple):
    """A trial of one arm, in the order of TRIAL_FIELDS."""

    input: int
    repeat: int
    state: str
    latency_ms: float
    truncated: bool
    cost: float | None
    cost_estimated: bool
    characters: int | None
    words: int | None
    subject_kept: float | None
    repetition: float | None
    alternatives: int | None
    alternatives_asked: int | None
    answer_hash: int | None
    contract: str | None


TRIAL_FIELDS = (
    "input", "repeat", "state", "run__latency_ms", "run__truncated", "run__cost", "run__cost_estimated",
    "characters", "words", "subject_kept", "repetition", "alternatives", "comparison__count", "answer_hash",
    "run__contract",
)  # fmt: skip


class _Tokens(NamedTuple):
    """The tokens of one arm's answers that ended for the same reason, in the order of the query in `_tokens`."""

    finish_reason: str | None
    answers: int
    tokens_in: int | None
    counted_in: int
    tokens_out: int | None
    counted_out: int
    estimated: int


def answer_counts(comparison: Comparison, arms: Sequence[NamedArm]) -> AnswerCounts:
    """Return the answers, counted, in at most four queries."""
    state = comparison.trials.order_by().values_list("state")
    # An erased answer loses its hash, so that erasing changes the state, too.
    state = state.annotate(Count("id"), Max("finished_at"), Count("answer_hash"))
    return _counted(comparison.pk, tuple(named.arm.pk for named in arms), tuple(sorted(state)))


@lru_cache(maxsize=64)
def _counted(comparison: int, arms: tuple[int, ...], state: Hashable) -> AnswerCounts:
    """Count the trials in three queries. `state` is the cache key: it differs whenever the trials differ."""
    by_arm: dict[int, list[_Trial]] = {arm: [] for arm in arms}
    trials = Trial.objects.filter(comparison=comparison).order_by()
    for arm, *row in trials.values_list("arm", *TRIAL_FIELDS):
        by_arm[arm].append(_Trial._make(row))
    tokens = _tokens(comparison)
    judged = _judged(comparison)
    return AnswerCounts(
        votable={
            arm: {(row.input, row.repeat): row.answer_hash for row in rows if row.answer_hash is not None}
            for arm, rows in by_arm.items()
        },
        failed={
            arm: frozenset((row.input, row.repeat) for row in rows if row.state == TrialState.FAILED)
            for arm, rows in by_arm.items()
        },
        measures={arm: _measures(rows, tokens.get(arm, []), judged.get(arm, (0, 0))) for arm, rows in by_arm.items()},
        latencies={
            arm: [row.latency_ms for row in rows if row.state == TrialState.SUCCEEDED] for arm, rows in by_arm.items()
        },
    )


def _tokens(comparison: int) -> dict[int, list[_Tokens]]:
    """Return the tokens of the answers by arm and finish reason, in one query."""
    answered = Attempt.objects.filter(run__trial__comparison=comparison, outcome="succeeded").order_by()
    by_arm: dict[int, list[_Tokens]] = defaultdict(list)
    for arm, *row in answered.values_list("run__trial__arm", "finish_reason").annotate(
        Count("id"),
        Sum("input_tokens"),
        Count("input_tokens"),
        Sum("output_tokens"),
        Count("output_tokens"),
        estimated=Count("id", filter=Q(usage_estimated=True)),
    ):
        by_arm[arm].append(_Tokens._make(row))
    return by_arm


def _judged(comparison: int) -> dict[int, tuple[int, int]]:
    """Return by arm how many trials the safety filter judged, and in how many it blocked a text or would have."""
    checks = SafetyCheck.objects.filter(run__trial__comparison=comparison).order_by()
    blocked = Count("run", filter=Q(decision=VerdictDecision.BLOCK.value), distinct=True)
    counts = checks.values_list("run__trial__arm").annotate(judged=Count("run", distinct=True), flagged=blocked)
    return {arm: (judged, flagged) for arm, judged, flagged in counts}


def _measures(rows: list[_Trial], tokens: list[_Tokens], judged: tuple[int, int]) -> dict[str, object]:
    """Return the fields of `measures.ArmMeasures` for the trials of one arm."""
    answers = [row for row in rows if row.state == TrialState.SUCCEEDED]
    ended = [row for row in rows if row.state in {TrialState.SUCCEEDED, TrialState.FAILED}]
    latencies = [row.latency_ms for row in answers]
    costs = [row.cost for row in answers if row.cost is not None]
    reasons = Counter({row.finish_reason: row.answers for row in tokens if row.finish_reason})
    return {
        "answered": len(answers),
        "failed": rate_of_scores((row.input, float(row.state == TrialState.FAILED)) for row in ended),
        "open": len(rows) - len(ended),
        "truncated": sum(row.truncated for row in answers),
        "p50": percentile(latencies, 50),
        "p95": percentile(latencies, 95),
        "p99": percentile(latencies, 99),
        "tokens_in": mean_of_sums((row.tokens_in, row.counted_in) for row in tokens),
        "tokens_out": mean_of_sums((row.tokens_out, row.counted_out) for row in tokens),
        "tokens_estimated": any(row.estimated for row in tokens),
        "cost": Mean(1000 * fmean(costs) if costs else None, len(costs)),
        "cost_estimated": any(row.cost_estimated for row in answers),
        "words": mean_of(row.words for row in answers),
        "characters": mean_of(row.characters for row in answers),
        "subject": rate_of_scores((row.input, row.subject_kept) for row in answers if row.subject_kept is not None),
        "repetition": rate_of_scores((row.input, row.repetition) for row in answers if row.repetition is not None),
        "obeyed": rate_of_scores(
            (row.input, float(row.alternatives == row.alternatives_asked))
            for row in answers
            if row.alternatives is not None
        ),
        "at_once": rate_of_scores(
            (row.input, float(row.contract == ContractOutcome.AT_ONCE)) for row in ended if row.contract
        ),
        "repaired": sum(row.contract == ContractOutcome.REPAIRED for row in ended),
        "breached": sum(row.contract == ContractOutcome.BREACHED for row in ended),
        "finish_reasons": reasons.most_common(),
        "judged": judged[0],
        "flagged": judged[1],
    }
