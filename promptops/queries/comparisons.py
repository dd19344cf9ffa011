"""Comparisons as pages show them."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Exists, Max, Min, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from promptops.enums import ComparisonState, TrialState
from promptops.models import Arm, Attempt, Comparison, ComparisonInput, Draft, PromptSet, Trial, User, Version
from promptops.text import estimate_tokens

RECENT = timedelta(minutes=2)
"""The time left is told from the trials that ended within this time."""


@dataclass(frozen=True)
class Progress:
    """How far a comparison is. `seconds_left` is None until it can be told."""

    total: int
    succeeded: int
    failed: int
    running: int
    waiting: int
    delayed: int
    """Of the waiting ones, those for which their provider had no room the last time."""
    seconds_left: float | None

    @property
    def milliseconds_left(self) -> float | None:
        """For the page's filter, which takes milliseconds."""
        return None if self.seconds_left is None else self.seconds_left * 1000

    @property
    def ended(self) -> int:
        """Trials that have their answer or their error."""
        return self.succeeded + self.failed


@dataclass(frozen=True)
class ArmProgress:
    """One arm and its trials."""

    arm: Arm
    succeeded: int
    failed: int
    open: int
    last_error: str


def listed() -> QuerySet[Comparison]:
    """All comparisons, newest first, each with `total` and `ended`: trials, and those that ended."""
    ended = Q(trials__state__in=[TrialState.SUCCEEDED, TrialState.FAILED])
    return Comparison.objects.annotate(
        total=Count("trials", distinct=True),
        ended=Count("trials", filter=ended, distinct=True),
    ).order_by("-id")


def found(pk: int) -> Comparison:
    """One comparison, or Comparison.DoesNotExist."""
    return Comparison.objects.select_related("user").get(pk=pk)


def arms(comparison: Comparison) -> list[ArmProgress]:
    """The arms with the counts of their trials and what went wrong last, in three queries."""
    counts: dict[int, Counter[str]] = {}
    newest: dict[int, int] = {}
    rows = (
        comparison.trials.order_by()
        .values("arm", "state")
        .annotate(trials=Count("id"), run=Max("run", filter=Q(state=TrialState.FAILED)))
    )
    for row in rows:
        counts.setdefault(row["arm"], Counter())[row["state"]] = row["trials"]
        if row["run"]:
            newest[row["arm"]] = row["run"]
    errors = dict(Trial.objects.filter(run__in=newest.values()).values_list("arm", "run__error"))
    return [
        ArmProgress(
            arm=arm,
            succeeded=counts.get(arm.pk, Counter())[TrialState.SUCCEEDED],
            failed=counts.get(arm.pk, Counter())[TrialState.FAILED],
            open=counts.get(arm.pk, Counter())[TrialState.WAITING] + counts.get(arm.pk, Counter())[TrialState.RUNNING],
            last_error=errors.get(arm.pk, ""),
        )
        for arm in comparison.arms.select_related("template", "version", "provider")
    ]


def progress(comparison: Comparison) -> Progress:
    """How far it is, and about how long the rest takes at the pace of the last two minutes."""
    now = timezone.now()
    recent = Q(finished_at__gte=now - RECENT)
    counts = comparison.trials.order_by().aggregate(
        total=Count("id"),
        succeeded=Count("id", filter=Q(state=TrialState.SUCCEEDED)),
        failed=Count("id", filter=Q(state=TrialState.FAILED)),
        running=Count("id", filter=Q(state=TrialState.RUNNING)),
        waiting=Count("id", filter=Q(state=TrialState.WAITING)),
        delayed=Count("id", filter=Q(state=TrialState.WAITING, not_before__gt=now, tries__gt=0)),
        lately=Count("id", filter=recent),
        since=Min("finished_at", filter=recent),
    )
    lately, since = counts.pop("lately"), counts.pop("since")
    left = counts["running"] + counts["waiting"]
    return Progress(**counts, seconds_left=_left(left, lately, since, now) if _goes_on(comparison) else None)


def _goes_on(comparison: Comparison) -> bool:
    return comparison.state == ComparisonState.RUNNING


def _left(left: int, lately: int, since: datetime | None, now: datetime) -> float | None:
    """Seconds for `left` trials when `lately` of them took from `since` until now; unknown below 3."""
    if lately < 3 or since is None:
        return None
    return left * (now - since).total_seconds() / lately


ROWS = 20
"""Inputs on one page of the matrix: up to 80 answers of a few hundred words."""


@dataclass(frozen=True)
class Row:
    """One input and repeat with its trials, in the order of the arms; None where there is none."""

    input: ComparisonInput
    repeat: int
    cells: list[Trial | None]


@dataclass(frozen=True)
class Matrix:
    """One page of inputs by arms. `found` is how many inputs match the search."""

    arms: list[Arm]
    rows: list[Row]
    found: int
    page: int
    pages: int


def matrix(comparison: Comparison, *, number: int = 1, search: str = "", failed: bool = False) -> Matrix:
    """A page of the answers, in four queries. `failed` keeps the inputs on which an arm failed."""
    arms = list(comparison.arms.select_related("template", "version"))
    inputs = comparison.inputs.all()
    if search:
        inputs = inputs.filter(text__icontains=search)
    if failed:
        inputs = inputs.filter(Exists(Trial.objects.filter(input=OuterRef("pk"), state=TrialState.FAILED)))
    paged = Paginator(inputs, ROWS).get_page(number)
    shown = list(paged.object_list)
    newest = Attempt.objects.filter(run=OuterRef("run")).order_by("-position")
    trials = (
        Trial.objects.filter(input__in=shown)
        .select_related("run")
        .annotate(
            input_tokens=Subquery(newest.values("input_tokens")[:1]),
            output_tokens=Subquery(newest.values("output_tokens")[:1]),
            finish_reason=Subquery(newest.values("finish_reason")[:1]),
        )
    )
    cells = {(trial.input_id, trial.repeat, trial.arm_id): trial for trial in trials}
    rows = [
        Row(given, repeat, [cells.get((given.pk, repeat, arm.pk)) for arm in arms])
        for given in shown
        for repeat in range(comparison.repeats)
    ]
    return Matrix(arms, rows, paged.paginator.count, paged.number, paged.paginator.num_pages)


TEXTS_OFFERED = 200
"""Versions that the form offers, newest first: a list that can still be searched by typing."""


def prompt_sets() -> QuerySet[PromptSet]:
    """The sets that can be compared on, by name."""
    return PromptSet.objects.filter(archived_at=None, input_count__gt=0).defer("inputs").order_by("name")


def text_choices(operation: str, user: User) -> list[Any]:
    """The texts of an operation for a select: by template, the person's draft first, then versions, newest first."""
    groups: dict[str, list[tuple[str, str]]] = {}
    versions = Version.objects.filter(template__operation=operation, template__archived_at=None)
    rows = versions.order_by("-template__is_default", "template__name", "-number").values_list(
        "template", "template__name", "number", "note", "template__live_version__number"
    )
    for draft in Draft.objects.filter(user=user, template__operation=operation, template__archived_at=None).values_list(
        "template", "template__name"
    ):
        groups.setdefault(draft[1], []).append((f"{draft[0]}:draft", f"{draft[1]}: your draft"))
    for template, name, number, note, live in rows[:TEXTS_OFFERED]:
        told = f"{name} v{number}{' (live)' if number == live else ''}{f': {note[:60]}' if note else ''}"
        groups.setdefault(name, []).append((f"{template}:{number}", told))
    return [("", "none"), *groups.items()]


@dataclass(frozen=True)
class Estimate:
    """What a comparison would take. `cost` is in USD, None where a provider has no prices."""

    trials: int
    cost: float | None


def estimate(arms: list[Any], inputs: list[str], repeats: int, max_tokens: int) -> Estimate:
    """About what the arms (`actions.comparisons.ArmChoice`) would cost, if every answer took half of its tokens."""
    cost: float | None = 0.0
    for arm in arms:
        provider = arm.provider
        if cost is None or provider.price_input is None or provider.price_output is None:
            cost = None
            continue
        tokens_in = sum(estimate_tokens(text) for text in inputs) + len(inputs) * estimate_tokens(arm.content.body)
        tokens_out = len(inputs) * (arm.content.max_tokens or max_tokens) / 2
        cost += repeats * (tokens_in * provider.price_input + tokens_out * provider.price_output) / 1_000_000
    return Estimate(trials=len(arms) * len(inputs) * repeats, cost=cost)
