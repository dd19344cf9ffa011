"""The answers of a comparison, inputs by arms: a page of them, filtered, with what differs marked; and one pair."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, Subquery

from promptops.diffs import Budget, Piece, marked
from promptops.enums import Choice, RunStatus, TrialState
from promptops.models import Arm, Attempt, Comparison, ComparisonInput, Trial
from promptops.models.comparisons import LETTERS

ROWS = 20
"""Inputs on one page: up to 80 answers of a few hundred words."""

SHOWN_CHARACTERS = 4_000
"""Of an answer in the matrix; the page of a pair has all of it."""

STEPS = 1_000_000
"""Of difflib for one page, 0.15 microseconds each at most; what is left then is compared more coarsely."""

SHOWS = {
    "": "all inputs",
    "different": "arms that answered differently",
    "failed": "an arm failed",
    "blocked": "an answer was blocked",
    "disagreeing": "voters disagree",
}


@dataclass(frozen=True)
class Filters:
    """What the matrix is narrowed to: one of SHOWS, and words in inputs and answers."""

    show: str = ""
    search: str = ""


@dataclass(frozen=True)
class Cell:
    """One trial (None: there is none) and its text; pieces of kind `insert` are not in the base arm's answer."""

    trial: Trial | None
    pieces: tuple[Piece, ...] = ()
    cut: bool = False
    waits: bool = False
    """Whether it may still change: its trial has not ended, or the one that it is compared with."""


@dataclass(frozen=True)
class Row:
    """One input and repeat with its cells, in the order of the arms."""

    input: ComparisonInput
    repeat: int
    cells: list[Cell]
    votes: int
    disagreeing: bool


@dataclass(frozen=True)
class Matrix:
    """One page of inputs by arms. `found` is how many inputs match; `base` the arm that others are compared with."""

    arms: list[Arm]
    rows: list[Row]
    found: int
    page: int
    pages: int
    base: Arm | None


@dataclass(frozen=True)
class Pair:
    """Two arms' answers to one input, and the numbers of the inputs before and after it that match the filters."""

    input: ComparisonInput
    repeat: int
    first: Trial
    second: Trial
    arms: list[Arm]
    previous: int | None
    next: int | None
    place: int
    found: int
    choices: dict[str, int]
    """How often the two were voted on, by choice; the first is the arm with the earlier letter."""

    @property
    def differences(self) -> bool:
        """Whether both have an answer that pages show."""
        return readable(self.first) and readable(self.second)

    @property
    def votes(self) -> list[tuple[str, int]]:
        """The choices in words with their counts."""
        low, high = sorted((self.first.arm.letter, self.second.arm.letter))
        words = {Choice.FIRST: f"for {low}", Choice.SECOND: f"for {high}", Choice.TIE: "tie", Choice.NEITHER: "neither"}
        return [(told, self.choices[choice]) for choice, told in words.items() if choice in self.choices]


def inputs(comparison: Comparison, filters: Filters) -> QuerySet[ComparisonInput]:
    """The inputs that match, in their order."""
    found = comparison.inputs.all()
    ended = Trial.objects.filter(comparison=comparison).order_by()
    if filters.search:
        answered = ended.filter(input=OuterRef("pk"), run__output_masked=False, run__output__icontains=filters.search)
        found = found.filter(Q(text__icontains=filters.search) | Exists(answered))
    if filters.show == "failed":
        found = found.filter(pk__in=ended.filter(state=TrialState.FAILED).values("input"))
    elif filters.show == "blocked":
        found = found.filter(pk__in=ended.filter(run__status=RunStatus.BLOCKED).values("input"))
    elif filters.show == "different":
        answers = ended.filter(state=TrialState.SUCCEEDED, run__erased_at=None).values("input", "repeat")
        unlike = answers.annotate(low=Min("run__output"), high=Max("run__output")).exclude(low=F("high"))
        found = found.filter(pk__in=unlike.values("input"))
    elif filters.show == "disagreeing":
        found = found.filter(pk__in=_disagreeing(comparison).values("input"))
    return found


def matrix(comparison: Comparison, filters: Filters, *, number: int = 1, base: str = "A") -> Matrix:
    """A page of the answers, in seven queries; `base` is an arm's letter, or "" for no marks."""
    arms = list(comparison.arms.select_related("template", "version", "provider"))
    paged = Paginator(inputs(comparison, filters), ROWS).get_page(number)
    shown = list(paged.object_list)
    base_arm = next((arm for arm in arms if arm.letter == base), None)
    rows = _rows(comparison, shown, arms, base_arm)
    return Matrix(arms, rows, paged.paginator.count, paged.number, paged.paginator.num_pages, base_arm)


def cells(comparison: Comparison, trial_ids: Iterable[int], *, base: str) -> list[Cell]:
    """Of the cells of these trials, those that changed since a page showed them as waiting: they wait no more."""
    asked = set(trial_ids)
    shown = ComparisonInput.objects.filter(comparison=comparison, trials__in=asked).distinct()
    arms = list(comparison.arms.select_related("template", "version", "provider"))
    rows = _rows(comparison, list(shown), arms, next((arm for arm in arms if arm.letter == base), None))
    found = [cell for row in rows for cell in row.cells]
    return [cell for cell in found if cell.trial and cell.trial.pk in asked and not cell.waits]


def pair(comparison: Comparison, number: int, filters: Filters, *, first: str, second: str, repeat: int) -> Pair | None:
    """The answers of two arms (by letter) to the input of that number, from 1; None where there are none."""
    arms = list(comparison.arms.select_related("template", "version", "provider"))
    given = comparison.inputs.filter(position=number - 1).first()
    letters = {arm.letter: arm for arm in arms}
    if given is None or first not in letters or second not in letters or first == second:
        return None
    asked = {trial.arm_id: trial for trial in trials().filter(input=given, repeat=repeat)}
    if not {letters[first].pk, letters[second].pk} <= set(asked):
        return None
    found = inputs(comparison, filters)
    earlier = found.filter(position__lt=given.position)
    before = earlier.order_by("-position").values_list("position", flat=True).first()
    after = found.filter(position__gt=given.position).values_list("position", flat=True).first()
    low, high = sorted((letters[first], letters[second]), key=lambda arm: arm.position)
    votes = comparison.votes.order_by().filter(input=given, repeat=repeat, first=low, second=high)
    return Pair(
        input=given,
        repeat=repeat,
        first=asked[letters[first].pk],
        second=asked[letters[second].pk],
        arms=arms,
        previous=None if before is None else before + 1,
        next=None if after is None else after + 1,
        place=earlier.count() + 1,
        found=found.count(),
        choices=dict(votes.values_list("choice").annotate(votes=Count("id"))),
    )


def trials() -> QuerySet[Trial]:
    """Trials with their runs, the safety filter's verdicts, and the tokens and finish reason of their last attempts."""
    newest = Attempt.objects.filter(run=OuterRef("run")).order_by("-position")
    related = Trial.objects.select_related("run", "input", "arm__template", "arm__version", "arm__provider")
    return related.prefetch_related("run__safety_checks").annotate(
        input_tokens=Subquery(newest.values("input_tokens")[:1]),
        output_tokens=Subquery(newest.values("output_tokens")[:1]),
        finish_reason=Subquery(newest.values("finish_reason")[:1]),
    )


def _disagreeing(comparison: Comparison) -> QuerySet[Any]:
    """Inputs and repeats on which two voters chose differently between the same two arms."""
    pairs = comparison.votes.order_by().values("input", "repeat", "first", "second")
    return pairs.annotate(said=Count("choice", distinct=True)).filter(said__gt=1)


def _rows(comparison: Comparison, shown: list[ComparisonInput], arms: list[Arm], base: Arm | None) -> list[Row]:
    asked = {(trial.input_id, trial.repeat, trial.arm_id): trial for trial in trials().filter(input__in=shown)}
    votes = comparison.votes.order_by().filter(input__in=shown).values_list("input", "repeat")
    counts = {(given, repeat): count for given, repeat, count in votes.annotate(votes=Count("id"))}
    unlike = set(_disagreeing(comparison).filter(input__in=shown).values_list("input", "repeat"))
    budget = Budget(STEPS)
    rows = []
    for given in shown:
        for repeat in range(comparison.repeats):
            compared = asked.get((given.pk, repeat, base.pk)) if base else None
            found = [_cell(asked.get((given.pk, repeat, arm.pk)), compared, budget) for arm in arms]
            place = (given.pk, repeat)
            rows.append(Row(given, repeat, found, counts.get(place, 0), place in unlike))
    return rows


def readable(trial: Trial) -> bool:
    """Whether it has an answer that pages show."""
    run = trial.run
    shown = run is not None and run.erased_at is None and not run.output_masked
    return shown and trial.state == TrialState.SUCCEEDED


def _cell(trial: Trial | None, base: Trial | None, budget: Budget) -> Cell:
    if trial is None:
        return Cell(None)
    if trial.run is None:
        return Cell(trial, waits=True)
    text = trial.run.output[:SHOWN_CHARACTERS]
    cut = len(trial.run.output) > SHOWN_CHARACTERS
    if trial.run.output_masked:  # by the safety filter
        return Cell(trial)
    if base is None or base.pk == trial.pk or not readable(trial):
        return Cell(trial, (Piece("equal", text),), cut)
    if base.run is None:
        return Cell(trial, (Piece("equal", text),), cut, waits=True)
    if not readable(base):
        return Cell(trial, (Piece("equal", text),), cut)
    return Cell(trial, marked(base.run.output[:SHOWN_CHARACTERS], text, budget), cut)


def selection(comparison: Comparison, numbers: Iterable[int] = (), *, count: int = 6) -> Matrix:
    """Some inputs for a report, all repeats: those of these numbers (from 1), or `count` spread evenly over all."""
    wanted = sorted({number - 1 for number in numbers})[:ROWS]
    arms = list(comparison.arms.select_related("template", "version", "provider"))
    total = comparison.inputs.count()
    if not wanted:
        count = min(count, total)
        wanted = [place * total // count for place in range(count)]
    shown = list(comparison.inputs.filter(position__in=wanted))
    return Matrix(arms, _rows(comparison, shown, arms, None), total, 1, 1, None)


def letter(given: str, usual: str) -> str:
    """The letter of an arm that an address names; `usual` for what is none, "" for "none"."""
    return "" if given == "none" else given if given and given in LETTERS else usual
