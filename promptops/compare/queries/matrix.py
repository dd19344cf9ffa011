"""The answers of a comparison as a matrix of inputs by arms: pages of it, filters, marked differences, and one pair.

Counting answers for the verdict is done in `answer_counts`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Left

from promptops.compare.enums import Choice, TrialState
from promptops.compare.models import Arm, Comparison, ComparisonInput, Trial
from promptops.compare.models.comparisons import LETTERS
from promptops.engine.safety.guard import VerdictDecision
from promptops.prompts.content import PARAMETERS
from promptops.runs.enums import ContractOutcome, RunStatus
from promptops.runs.models import Attempt, SafetyCheck
from promptops.texts.diffs import Budget, Piece, marked
from promptops.texts.json_lines import indented

FIRST_ROWS = 6
"""The rows on the page of a comparison, one for each repeat of an input; a press shows more."""

ROWS = 20
"""The rows that one press adds: up to 80 answers of a few hundred words."""

SHOWN_CHARACTERS = 4_000
"""The characters of an answer in the matrix; a pair shows the whole answer."""

ARM_FIELDS = ("comparison", "position", *PARAMETERS, "provider_name")

STEPS = 1_000_000
"""The steps for comparing words on one page. When they are used up, the rest is compared more coarsely."""

SHOWS = {
    "": "all inputs",
    "different": "arms that answered differently",
    "failed": "an arm failed",
    "breached": "an arm broke the contract",
    "blocked": "an answer was blocked",
    "disagreeing": "voters disagree",
}


@dataclass(frozen=True)
class Filters:
    """The filters of the matrix: one of SHOWS, and words in inputs and answers."""

    show: str = ""
    search: str = ""


class Answer(NamedTuple):
    """A trial as a cell shows it, in the order of FIELDS. The text ends one character after `SHOWN_CHARACTERS`."""

    trial: int
    input: int
    repeat: int
    arm: int
    state: str
    run: int | None
    status: str
    text: str
    error: str
    erased_at: datetime | None
    input_masked: bool
    output_masked: bool
    latency_ms: float
    truncated: bool
    cost: float | None
    cost_estimated: bool
    input_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    contract: str | None

    @property
    def readable(self) -> bool:
        """Return whether pages may show the text of the answer."""
        return self.state == TrialState.SUCCEEDED and not self.erased_at and not self.output_masked

    @property
    def shown(self) -> str:
        """Return the part of the text that the matrix shows."""
        return self.text[:SHOWN_CHARACTERS]

    @property
    def cut(self) -> bool:
        """Return whether the matrix shows only a part of the text."""
        return len(self.text) > SHOWN_CHARACTERS


FIELDS = (
    "pk", "input", "repeat", "arm", "state", "run", "run__status", Left("run__output", SHOWN_CHARACTERS + 1),
    "run__error", "run__erased_at", "run__input_masked", "run__output_masked", "run__latency_ms", "run__truncated",
    "run__cost", "run__cost_estimated", "input_tokens", "output_tokens", "finish_reason",
    "run__contract",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One arm's answer, None without a trial. Pieces of kind `insert` are not in the base arm's answer."""

    letter: str
    number: int
    """The number of the input, from 1."""
    answer: Answer | None
    pieces: tuple[Piece, ...] = ()
    waits: bool = False
    """The cell may still change: its trial has not ended, or the base arm's trial has not."""
    checks: Sequence[SafetyCheck] = ()
    """The checks in which the safety filter did not allow a text."""

    @property
    def other(self) -> str:
        """Return the letter of the arm that this one is put beside."""
        return "B" if self.letter == "A" else "A"

    @property
    def unjudged(self) -> bool:
        """Return whether a text was blocked because the filter could not judge it."""
        return any(check.blocked and check.decision == VerdictDecision.UNAVAILABLE for check in self.checks)


@dataclass(frozen=True)
class Row:
    """One input and repeat with its cells, in the order of the arms."""

    input: ComparisonInput
    repeat: int
    cells: list[Cell]
    votes: int
    disagreeing: bool

    @property
    def masked(self) -> bool:
        """Return whether the safety filter masks the input in any of its runs here."""
        return any(cell.answer is not None and cell.answer.input_masked for cell in self.cells)


@dataclass(frozen=True)
class Matrix:
    """Some inputs by arms. `matches` inputs match the filters; others are compared with the arm `base`.

    `start` is the place of the first input that is shown among those that match, from 1; `end` that of the last one.
    """

    arms: list[Arm]
    rows: list[Row]
    matches: int
    start: int
    end: int
    base: Arm | None

    @property
    def next(self) -> int | None:
        """Return the place of the next input, None after the last one."""
        return self.end + 1 if self.end < self.matches else None

    @property
    def previous(self) -> int | None:
        """Return the place that shows the inputs before these, None at the first one."""
        return max(1, self.start - ROWS) if self.start > 1 else None


@dataclass(frozen=True)
class Pair:
    """Two arms' answers to one input, with the numbers of the previous and next inputs that match the filters."""

    input: ComparisonInput
    masked: bool
    """The safety filter masks the input in one of its runs here."""
    repeat: int
    first: Trial
    second: Trial
    arms: list[Arm]
    previous: int | None
    next: int | None
    place: int
    matches: int
    choices: dict[str, int]
    """The number of votes on the two arms by choice; the first arm is the one with the earlier letter."""

    @property
    def differences(self) -> bool:
        """Return whether pages may show both answers, so that they can be compared."""
        return readable(self.first) and readable(self.second)

    @property
    def votes(self) -> list[tuple[str, int]]:
        """Return the choices in words with their counts."""
        low, high = sorted((self.first.arm.letter, self.second.arm.letter))
        words = {Choice.FIRST: f"for {low}", Choice.SECOND: f"for {high}", Choice.TIE: "tie", Choice.NEITHER: "neither"}
        return [(label, self.choices[choice]) for choice, label in words.items() if choice in self.choices]


def inputs(comparison: Comparison, filters: Filters) -> QuerySet[ComparisonInput]:
    """Return the inputs that match the filters, in their order."""
    matching = comparison.inputs.all()
    ended = Trial.objects.filter(comparison=comparison).order_by()
    if filters.search:
        answered = ended.filter(input=OuterRef("pk"), run__output_masked=False, run__output__icontains=filters.search)
        masked = ended.filter(input=OuterRef("pk"), run__input_masked=True)
        matching = matching.filter((Q(text__icontains=filters.search) & ~Exists(masked)) | Exists(answered))
    if filters.show == "failed":
        matching = matching.filter(pk__in=ended.filter(state=TrialState.FAILED).values("input"))
    elif filters.show == "breached":
        breached = ended.filter(run__contract=ContractOutcome.BREACHED)
        matching = matching.filter(pk__in=breached.values("input"))
    elif filters.show == "blocked":
        matching = matching.filter(pk__in=ended.filter(run__status=RunStatus.BLOCKED).values("input"))
    elif filters.show == "different":
        answers = ended.filter(answer_hash__isnull=False).values("input", "repeat")
        unlike = answers.annotate(low=Min("answer_hash"), high=Max("answer_hash")).exclude(low=F("high"))
        matching = matching.filter(pk__in=unlike.values("input"))
    elif filters.show == "disagreeing":
        matching = matching.filter(pk__in=_disagreeing(comparison).values("input"))
    return matching


def matrix(
    comparison: Comparison,
    filters: Filters,
    *,
    start: int = 1,
    rows: int = ROWS,
    base: str = "A",
    is_json: bool = False,
) -> Matrix:
    """Return answers from the input at the place `start` on, in eight queries; at most `rows` repeats of inputs.

    `base` is an arm's letter, or "" for no marks. Answers in JSON (`is_json`) are shown with one value a line.
    """
    arms = _arms(comparison)
    matching = inputs(comparison, filters)
    matches = matching.count()
    start = max(1, min(start, matches))
    shown = list(matching[start - 1 : start - 1 + max(1, rows // comparison.repeats)])
    base_arm = next((arm for arm in arms if arm.letter == base), None)
    cells = _rows(comparison, shown, arms, base_arm, is_json)
    return Matrix(arms, cells, matches, start, start - 1 + len(shown), base_arm)


def cells(comparison: Comparison, trial_ids: Iterable[int], *, base: str, is_json: bool = False) -> list[Cell]:
    """Return those cells of the trials that no longer wait, to update a page that shows them as waiting."""
    wanted = set(trial_ids)
    shown = ComparisonInput.objects.filter(comparison=comparison, trials__in=wanted).distinct()
    arms = _arms(comparison)
    base_arm = next((arm for arm in arms if arm.letter == base), None)
    rows = _rows(comparison, list(shown), arms, base_arm, is_json)
    every = [cell for row in rows for cell in row.cells]
    return [cell for cell in every if cell.answer and cell.answer.trial in wanted and not cell.waits]


def _arms(comparison: Comparison) -> list[Arm]:
    """Return the arms without their texts."""
    arms = comparison.arms.select_related("template", "version")
    return list(arms.only(*ARM_FIELDS, "template__name", "version__number"))


def pair(comparison: Comparison, number: int, filters: Filters, *, first: str, second: str, repeat: int) -> Pair | None:
    """Return two arms' answers (by letter) to the input of that number, from 1; None if there are none."""
    arms = list(comparison.arms.select_related("template", "version", "provider"))
    shown = comparison.inputs.filter(position=number - 1).first()
    letters = {arm.letter: arm for arm in arms}
    if shown is None or first not in letters or second not in letters or first == second:
        return None
    by_arm = {trial.arm_id: trial for trial in trials().filter(input=shown, repeat=repeat)}
    if not {letters[first].pk, letters[second].pk} <= set(by_arm):
        return None
    matching = inputs(comparison, filters)
    earlier = matching.filter(position__lt=shown.position)
    before = earlier.order_by("-position").values_list("position", flat=True).first()
    after = matching.filter(position__gt=shown.position).values_list("position", flat=True).first()
    low, high = sorted((letters[first], letters[second]), key=lambda arm: arm.position)
    votes = comparison.votes.order_by().filter(input=shown, repeat=repeat, first=low, second=high)
    return Pair(
        input=shown,
        masked=any(trial.run is not None and trial.run.input_masked for trial in by_arm.values()),
        repeat=repeat,
        first=by_arm[letters[first].pk],
        second=by_arm[letters[second].pk],
        arms=arms,
        previous=None if before is None else before + 1,
        next=None if after is None else after + 1,
        place=earlier.count() + 1,
        matches=matching.count(),
        choices=dict(votes.values_list("choice").annotate(votes=Count("id"))),
    )


def trials() -> QuerySet[Trial]:
    """Return trials with their runs, safety checks, and the tokens and finish reason of their last attempts."""
    related = Trial.objects.select_related("run", "input", "arm__template", "arm__version", "arm__provider")
    return _with_attempts(related.prefetch_related("run__safety_checks"))


def _with_attempts(trials: QuerySet[Trial]) -> QuerySet[Trial]:
    newest = Attempt.objects.filter(run=OuterRef("run")).order_by("-position")
    return trials.annotate(
        input_tokens=Subquery(newest.values("input_tokens")[:1]),
        output_tokens=Subquery(newest.values("output_tokens")[:1]),
        finish_reason=Subquery(newest.values("finish_reason")[:1]),
    )


def _disagreeing(comparison: Comparison) -> QuerySet[Any]:
    """Return inputs and repeats on which two voters chose differently between the same two arms."""
    pairs = comparison.votes.order_by().values("input", "repeat", "first", "second")
    return pairs.annotate(choices=Count("choice", distinct=True)).filter(choices__gt=1)


def _rows(
    comparison: Comparison, shown: list[ComparisonInput], arms: list[Arm], base: Arm | None, is_json: bool
) -> list[Row]:
    trial_rows = _with_attempts(Trial.objects.filter(input__in=shown).order_by()).values_list(*FIELDS)
    answers = {(answer.input, answer.repeat, answer.arm): answer for answer in map(Answer._make, trial_rows)}
    if is_json:
        answers = {place: each._replace(text=indented(each.text or "")) for place, each in answers.items()}
    votes = comparison.votes.order_by().filter(input__in=shown).values_list("input", "repeat")
    counts = {(input_id, repeat): count for input_id, repeat, count in votes.annotate(votes=Count("id"))}
    unlike = set(_disagreeing(comparison).filter(input__in=shown).values_list("input", "repeat"))
    checks: dict[int, list[SafetyCheck]] = {}
    stopped = SafetyCheck.objects.filter(run__trial__input__in=shown).exclude(decision=VerdictDecision.ALLOW.value)
    for check in stopped.order_by("pk").only("run", "side", "decision", "category", "mode", "blocked"):
        checks.setdefault(check.run_id, []).append(check)
    budget = Budget(STEPS)
    rows = []
    for each in shown:
        for repeat in range(comparison.repeats):
            base_answer = answers.get((each.pk, repeat, base.pk)) if base else None
            cells = []
            for arm in arms:
                answer = answers.get((each.pk, repeat, arm.pk))
                pieces, waits = _compared(answer, base_answer, budget)
                run_checks = checks.get(answer.run, ()) if answer and answer.run else ()
                cells.append(Cell(arm.letter, each.position + 1, answer, pieces, waits, run_checks))
            place = (each.pk, repeat)
            rows.append(Row(each, repeat, cells, counts.get(place, 0), place in unlike))
    return rows


def readable(trial: Trial) -> bool:
    """Return whether the trial has an answer that pages may show."""
    run = trial.run
    shown = run is not None and run.erased_at is None and not run.output_masked
    return shown and trial.state == TrialState.SUCCEEDED


def _compared(answer: Answer | None, base: Answer | None, budget: Budget) -> tuple[tuple[Piece, ...], bool]:
    """Return the answer in pieces that mark what the base does not have, and whether the cell may still change."""
    if answer is None:
        return (), False
    if answer.run is None:
        return (), True
    if answer.output_masked:
        return (), False
    if base is None or base.trial == answer.trial or not answer.readable or not base.readable:
        return (Piece("equal", answer.shown),), bool(base and base.run is None and answer.readable)
    return marked(base.shown, answer.shown, budget), False


def selection(comparison: Comparison, numbers: Iterable[int] = (), *, count: int = 6, is_json: bool = False) -> Matrix:
    """Return some inputs with all repeats: those with these numbers (from 1), or `count` spread evenly over all."""
    wanted = sorted({number - 1 for number in numbers})[:ROWS]
    arms = list(comparison.arms.select_related("template", "version", "provider"))
    total = comparison.inputs.count()
    if not wanted:
        count = min(count, total)
        wanted = [place * total // count for place in range(count)]
    shown = list(comparison.inputs.filter(position__in=wanted))
    return Matrix(arms, _rows(comparison, shown, arms, None, is_json), total, 1, len(shown), None)


def letter(parameter: str, usual: str) -> str:
    """Return the arm's letter from a URL parameter: "" for "none", and `usual` if it is no letter of an arm."""
    return "" if parameter == "none" else parameter if parameter and parameter in LETTERS else usual
