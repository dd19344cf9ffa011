"""The measures of the answers as the verdict page and the report show them, arm by arm.

Counting the answers is done in `answer_counts`; votes are in `verdicts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from promptops.compare.models import Comparison
from promptops.compare.queries.answer_counts import answer_counts
from promptops.compare.queries.arm_names import NamedArm
from promptops.compare.queries.rates import Mean, Rate
from promptops.stats import charts


@dataclass(frozen=True)
class ArmMeasures:
    """The measures of one arm's answers. Times are milliseconds of succeeded trials; failures count in `failed` only.

    `subject` and `repetition` are means of shares; `obeyed` exists for rewrites only. Answers that are older than a
    measure do not count in its `of`. `cost` is USD for 1,000 answers.
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

    at_once: Rate
    """Trials that met the contract of the answer at once, of those that were checked."""

    repaired: int
    breached: int

    judged: int
    """Trials that the safety filter judged."""

    flagged: int
    """The judged trials that the filter blocked, or would have blocked in enforce mode."""


@dataclass(frozen=True)
class Measured:
    """The measures of all arms, and the axis of their latency plots."""

    arms: list[ArmMeasures]
    ticks: list[charts.Tick]

    @property
    def answered(self) -> int:
        """Return the number of answers of all arms."""
        return sum(row.answered for row in self.arms)

    @property
    def obedience(self) -> bool:
        """Return whether any answer is a rewrite whose alternatives were counted."""
        return any(row.obeyed.of for row in self.arms)

    @property
    def has_contract(self) -> bool:
        """Return whether any trial was checked by a contract."""
        return any(row.at_once.of for row in self.arms)

    @property
    def judged(self) -> int:
        """Return the number of trials of all arms that the safety filter judged."""
        return sum(row.judged for row in self.arms)

    @property
    def finish_reasons(self) -> list[str]:
        """Return all finish reasons that occurred, sorted."""
        return sorted({reason for row in self.arms for reason, _ in row.finish_reasons})


def measured(comparison: Comparison, arms: Sequence[NamedArm]) -> Measured:
    """Return the measures of each arm's answers, in at most four queries."""
    answers = answer_counts(comparison, arms)
    boxes, ticks = charts.boxes([answers.latencies[named.arm.pk] for named in arms])
    return Measured(
        [ArmMeasures(arm=arm, box=box, **answers.measures[arm.arm.pk]) for arm, box in zip(arms, boxes, strict=True)],
        ticks,
    )
