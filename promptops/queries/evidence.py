"""What a comparison says by now, in figures: what a release keeps as its reason, and the report shows."""

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

from django.db.models import Sum

from promptops.enums import Choice, TrialState
from promptops.models import Arm, Comparison
from promptops.verdicts import Verdict, verdict

WORTH = {Choice.FIRST.value: 1.0, Choice.SECOND.value: 0.0, Choice.TIE.value: 0.5, Choice.NEITHER.value: 0.5}


@dataclass(frozen=True)
class ArmFigures:
    """What one arm's trials took. Milliseconds; `cost` in USD, None without prices; tokens of the last attempts."""

    arm: Arm
    answered: int
    failed: int
    median_ms: float | None
    p95_ms: float | None
    output_tokens: int | None
    cost: float | None


@dataclass(frozen=True)
class PairFigures:
    """The votes on two arms, counted, and how sure one may be that the first is preferred."""

    first: Arm
    second: Arm
    wins: int
    losses: int
    ties: int
    neither: int
    verdict: Verdict

    @property
    def votes(self) -> int:
        return self.wins + self.losses + self.ties + self.neither

    @property
    def winner(self) -> Arm | None:
        """The arm that is preferred, if chance does not explain it."""
        return {"first": self.first, "second": self.second}.get(self.verdict.winner or "")

    @property
    def line(self) -> str:
        """The pair in one sentence."""
        if not self.votes:
            return f"No votes on {self.first.letter} and {self.second.letter}"
        share = self.verdict.preference
        told = (
            f"{share.share:.0%} ({share.low:.0%} to {share.high:.0%}) for {self.first.letter} over {self.second.letter}"
        )
        votes = f"{self.votes} vote{'' if self.votes == 1 else 's'}"
        sure = f"{self.winner.letter} is preferred" if self.winner else "not enough votes to tell"
        return f"{told}, {votes}: {sure}"


@dataclass(frozen=True)
class Evidence:
    """All arms and all pairs."""

    arms: list[ArmFigures]
    pairs: list[PairFigures]

    @property
    def voted(self) -> bool:
        """Whether anybody has voted."""
        return any(pair.votes for pair in self.pairs)

    def kept(self, arm: Arm) -> dict[str, Any]:
        """As a release of that arm keeps it: plain values, and `line`, one sentence about the arm."""
        pairs = [pair for pair in self.pairs if arm in (pair.first, pair.second) and pair.votes]
        return {
            "arm": arm.letter,
            "line": f"Arm {arm.letter}. " + ("; ".join(pair.line for pair in pairs) or "No votes") + ".",
            "arms": [
                {
                    "letter": each.arm.letter,
                    "label": each.arm.label,
                    "answered": each.answered,
                    "failed": each.failed,
                    "median_ms": each.median_ms,
                    "cost": each.cost,
                }
                for each in self.arms
            ],
        }


def of(comparison: Comparison) -> Evidence:
    """The figures by now, in four queries."""
    arms = list(comparison.arms.select_related("template", "version", "provider"))
    rows = comparison.trials.order_by().exclude(run=None)
    times: dict[int, list[float]] = {}
    costs: dict[int, list[float]] = {}
    failed: dict[int, int] = {}
    for arm, state, latency_ms, cost in rows.values_list("arm", "state", "run__latency_ms", "run__cost"):
        if cost is not None:
            costs.setdefault(arm, []).append(cost)
        if state == TrialState.SUCCEEDED:
            times.setdefault(arm, []).append(latency_ms)
        else:
            failed[arm] = failed.get(arm, 0) + 1
    tokens = dict(rows.values_list("arm").annotate(tokens=Sum("run__attempts__output_tokens")))
    figures = []
    for arm in arms:
        taken = sorted(times.get(arm.pk, []))
        figures.append(
            ArmFigures(
                arm=arm,
                answered=len(taken),
                failed=failed.get(arm.pk, 0),
                median_ms=median(taken) if taken else None,
                p95_ms=taken[min(len(taken) - 1, int(0.95 * len(taken)))] if taken else None,
                output_tokens=tokens.get(arm.pk),
                cost=sum(costs[arm.pk]) if arm.pk in costs else None,
            )
        )
    return Evidence(figures, _pairs(comparison, arms))


def _pairs(comparison: Comparison, arms: list[Arm]) -> list[PairFigures]:
    counts: dict[tuple[int, int], dict[str, int]] = {}
    scores: dict[tuple[int, int], dict[Hashable, list[float]]] = {}
    votes = comparison.votes.order_by("id").values_list("first", "second", "input", "choice")
    for first, second, given, choice in votes:
        pair = (first, second)
        counted = counts.setdefault(pair, {})
        counted[choice] = counted.get(choice, 0) + 1
        scores.setdefault(pair, {}).setdefault(given, []).append(WORTH[choice])
    return [
        PairFigures(
            first,
            second,
            *(counts.get((first.pk, second.pk), {}).get(choice.value, 0) for choice in Choice),
            verdict=verdict(scores.get((first.pk, second.pk), {})),
        )
        for first, second in combinations(arms, 2)
    ]
