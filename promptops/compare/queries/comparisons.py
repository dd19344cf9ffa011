"""Comparisons as pages show them: the list, the progress, the texts to choose from, and the estimate before the start.

Answers are in `matrix`, votes in `votes`, verdicts and measures in modules of those names.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, Count, F, Max, Min, Q, QuerySet, When, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from promptops.compare.enums import ComparisonState, TrialState
from promptops.compare.models import Arm, Comparison, PromptSet, Trial
from promptops.compare.models.comparisons import delayed
from promptops.people.models import User
from promptops.prompts.models import Draft, Version
from promptops.prompts.queries import operations
from promptops.runs.enums import RunStatus
from promptops.texts.numbers import estimate_tokens

RECENT = timedelta(minutes=2)
"""The remaining time is estimated from the trials that ended within this time."""
MASKED_ERROR = "the error is masked, since it may quote the input"


@dataclass(frozen=True)
class Progress:
    """The progress of a comparison. `seconds_left` is None until it can be estimated."""

    total: int
    succeeded: int
    failed: int
    running: int
    waiting: int
    delayed: int
    """The waiting trials whose provider had no room the last time."""
    seconds_left: float | None

    @property
    def milliseconds_left(self) -> float | None:
        """Return the remaining time in milliseconds, the unit of the template filter `duration`."""
        return None if self.seconds_left is None else self.seconds_left * 1000

    @property
    def ended(self) -> int:
        """Return how many trials have an answer or an error."""
        return self.succeeded + self.failed


@dataclass(frozen=True)
class ArmProgress:
    """One arm with the counts of its trials."""

    arm: Arm
    succeeded: int
    failed: int
    open: int
    last_error: str


def listed() -> QuerySet[Comparison]:
    """Return all comparisons, newest first, each with `total` trials and `ended` trials."""
    ended = Q(trials__state__in=[TrialState.SUCCEEDED, TrialState.FAILED])
    return Comparison.objects.annotate(
        total=Count("trials"),
        ended=Count("trials", filter=ended),
    ).order_by("-id")


def comparison_by_id(pk: int) -> Comparison:
    """Return the comparison, with `spec` (its operation as it is now). Raises Comparison.DoesNotExist."""
    comparison = Comparison.objects.select_related("user").get(pk=pk)
    comparison.spec = operations.of(comparison.operation)  # type: ignore[attr-defined]
    return comparison


def answers_in_json(comparison: Comparison) -> bool:
    """Return whether the answers of a comparison with `spec` are JSON."""
    return bool(comparison.spec.answer == "json")  # type: ignore[attr-defined]


def arms(comparison: Comparison) -> list[ArmProgress]:
    """Return the arms with the counts of their trials and their last errors, in three queries."""
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
    fields = ("arm", "run__error", "run__input_masked", "run__status")
    errors = {
        arm: MASKED_ERROR if error and masked and status != RunStatus.BLOCKED else error
        for arm, error, masked, status in Trial.objects.filter(run__in=newest.values()).values_list(*fields)
    }
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
    """Return the progress, with the remaining time at the pace of the last two minutes."""
    now = timezone.now()
    recent = Q(finished_at__range=(now - RECENT, now))
    counts = comparison.trials.order_by().aggregate(
        total=Count("id"),
        succeeded=Count("id", filter=Q(state=TrialState.SUCCEEDED)),
        failed=Count("id", filter=Q(state=TrialState.FAILED)),
        running=Count("id", filter=Q(state=TrialState.RUNNING)),
        waiting=Count("id", filter=Q(state=TrialState.WAITING)),
        delayed=Count("id", filter=delayed(now) & Q(state=TrialState.WAITING, tries__gt=0)),
        lately=Count("id", filter=recent),
        since=Min("finished_at", filter=recent),
    )
    lately, since = counts.pop("lately"), counts.pop("since")
    left = counts["running"] + counts["waiting"]
    is_running = comparison.state == ComparisonState.RUNNING
    return Progress(**counts, seconds_left=_seconds_left(left, lately, since, now) if is_running else None)


def _seconds_left(left: int, lately: int, since: datetime | None, now: datetime) -> float | None:
    """Return the seconds for `left` trials if `lately` trials took from `since` until now; None below 3 trials."""
    if lately < 3 or since is None:
        return None
    return left * (now - since).total_seconds() / lately


TEXTS_OFFERED = 200
"""The most versions that the form offers, newest first, so that the list can still be searched by typing."""


def prompt_sets() -> QuerySet[PromptSet]:
    """Return the sets that a comparison can use, by name."""
    return PromptSet.objects.filter(archived_at=None, input_count__gt=0).defer("inputs").order_by("name")


def text_choices(operation: str, user: User) -> list[Any]:
    """Return the texts of an operation as choices, by template: the person's draft, then versions, newest first.

    If there are too many, each template keeps its live version and its newest ones.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    is_live = Case(When(pk=F("template__live_version"), then=0), default=1)
    versions = Version.objects.filter(template__operation=operation, template__archived_at=None).annotate(
        place=Window(RowNumber(), partition_by=F("template"), order_by=[is_live.asc(), F("number").desc()])
    )
    order = ("-template__is_default", "template__name")
    columns = ("template", "template__name", "number", "note", "template__live_version__number")
    rows = list(versions.order_by("place", *order).values_list("template__is_default", *columns)[:TEXTS_OFFERED])
    rows.sort(key=lambda row: (not row[0], row[2], -row[3]))
    for draft in Draft.objects.filter(user=user, template__operation=operation, template__archived_at=None).values_list(
        "template", "template__name"
    ):
        groups.setdefault(draft[1], []).append((f"{draft[0]}:draft", f"{draft[1]}: your draft"))
    for _, template, name, number, note, live in rows:
        label = f"{name} v{number}{' (live)' if number == live else ''}{f': {note[:60]}' if note else ''}"
        groups.setdefault(name, []).append((f"{template}:{number}", label))
    return [("", "none"), *groups.items()]


def changed_since(comparison: Comparison) -> list[str]:
    """Return sentences about what has changed since the comparison started, for a person who repeats it."""
    changes = []
    arms = comparison.arms.select_related("template", "provider")
    for arm in arms:
        provider = arm.provider
        if provider is None:
            changes.append(f"Arm {arm.letter}: {arm.provider_name} was removed. Choose another provider.")
        elif (provider.kind, provider.base_url) != (arm.provider_kind, arm.provider_url):
            changes.append(f"Arm {arm.letter}: the kind or address of {provider.name} was changed.")
        elif provider.model != arm.provider_model:
            was, now = (name or "the default" for name in (arm.provider_model, provider.model))
            changes.append(f"Arm {arm.letter}: the model of {provider.name} was {was} and is {now}.")
        if arm.template.archived_at:
            changes.append(f"Arm {arm.letter}: {arm.template.name} is archived. The comparison still has its text.")
    prompt_set = PromptSet.objects.filter(name=comparison.inputs_from).first()
    if prompt_set is None or prompt_set.archived_at:
        gone = "archived" if prompt_set else "renamed"
        changes.append(f"The prompt set {comparison.inputs_from} was {gone}. The comparison still has its inputs.")
    elif prompt_set.inputs != list(comparison.inputs.values_list("text", flat=True)):
        changes.append(f"The prompt set {comparison.inputs_from} was changed. Choose its inputs of then or of now.")
    return changes


@dataclass(frozen=True)
class Estimate:
    """The size of a comparison before its start. `cost` is in USD, None if a provider has no prices."""

    trials: int
    cost: float | None


def estimate(arms: list[Any], inputs: list[str], repeats: int, max_tokens: int) -> Estimate:
    """Estimate the cost of the arms (`actions.comparisons.ArmChoice`) if every answer uses half of its token limit."""
    cost: float | None = 0.0
    for arm in arms:
        provider = arm.provider
        if cost is None or provider.price_input is None or provider.price_output is None:
            cost = None
            continue
        content = arm.content
        texts = (content.body, content.user_template or "", content.examples or "")
        tokens_in = sum(estimate_tokens(text) for text in inputs)
        tokens_in += len(inputs) * sum(estimate_tokens(text) for text in texts if text)
        tokens_out = len(inputs) * (arm.content.max_tokens or max_tokens) / 2
        cost += repeats * (tokens_in * provider.price_input + tokens_out * provider.price_output) / 1_000_000
    return Estimate(trials=len(arms) * len(inputs) * repeats, cost=cost)
