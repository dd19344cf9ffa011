"""The safety filter as pages show it: its settings, its state, today's counts, its models and its review queue.

Replays of past runs belong to replay.py, hits.py and quality.py, the forecast of enforcing to forecast.py.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from promptops.engine.safety.evaluation import read_figures
from promptops.engine.safety.guard import SHIPPED
from promptops.engine.snapshot import SafetySpec
from promptops.ledger.models import Release
from promptops.live import snapshots as live
from promptops.runs.enums import SafetyMode, SafetyQueue
from promptops.runs.models import WAITS, SafetyCheck
from promptops.runs.queries.outcomes import NOT_JUDGED
from promptops.safety.enums import TrainingState
from promptops.safety.models import LOST, SafetyExample, SafetyModelVersion, SafetySettings, SafetyTerm, SafetyTraining


@dataclass(frozen=True)
class Alert:
    """A message that nobody may overlook; `level` is bad or warn."""

    level: str
    text: str


@dataclass(frozen=True)
class SafetyToday:
    """Counts of the texts judged since midnight (UTC). `would_block` counts those that shadow mode let through."""

    texts: int
    blocked: int
    would_block: int
    not_judged: int


@dataclass(frozen=True)
class SafetyState:
    """The filter that this process runs, its problems, and today's counts."""

    spec: SafetySpec
    problems: list[str]
    today: SafetyToday

    @property
    def mode(self) -> SafetyMode:
        return SafetyMode(self.spec.mode)

    @property
    def alerts(self) -> list[Alert]:
        """The messages that nobody may overlook, the worst first."""
        if self.mode == SafetyMode.OFF:
            return [Alert("bad", "The safety filter is off. No text is judged, and every answer of a model is shown.")]
        alerts = []
        if self.problems:
            if self.mode == SafetyMode.SHADOW:
                meaning = "It is in shadow mode: runs continue, but its verdicts are missing or wrong."
            elif self.spec.blocks_when_down:
                meaning = "Texts that it can't judge are blocked."
            else:
                meaning = "It fails open: texts that it can't judge pass unjudged."
            reasons = " ".join(f"{problem.removesuffix('.')}." for problem in self.problems)
            alerts.append(Alert("bad", f"The safety filter is failing. {meaning} {reasons}"))
        if self.mode == SafetyMode.ENFORCE and not self.spec.blocks_when_down and not self.problems:
            alerts.append(Alert("warn", "The safety filter fails open. While it is down, every text passes."))
        if self.mode == SafetyMode.ENFORCE and not self.spec.blocks_languages:
            alerts.append(Alert("warn", "Texts in languages that the safety filter doesn't know pass unjudged."))
        return alerts

    @property
    def unjudged(self) -> str:
        """The treatment of texts that can't be judged, in a few words."""
        choices = (self.spec.blocks_languages, self.spec.blocks_when_down)
        return {
            (True, True): "unjudged texts are blocked",
            (False, False): "unjudged texts pass",
            (False, True): "unknown languages pass",
            (True, False): "all texts pass while it is down",
        }[choices]


def state() -> SafetyState:
    """Return the state of the filter. One query, and a self-test of under a millisecond, unless the model must load."""
    spec = live.current().safety
    problems = [] if spec.mode == SafetyMode.OFF else spec.guard.self_test()
    return SafetyState(spec, problems, today(timezone.now()))


def today(now: datetime) -> SafetyToday:
    """Count the texts judged since midnight (UTC). One query."""
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    counts: dict[str, Any] = SafetyCheck.objects.filter(at__gte=start).aggregate(
        texts=Count("id"),
        withheld=Count("id", filter=Q(blocked=True)),
        would_block=Count("id", filter=Q(blocked=False, decision="block")),
        not_judged=Count("id", filter=Q(decision__in=NOT_JUDGED)),
    )
    return SafetyToday(counts["texts"], counts["withheld"], counts["would_block"], counts["not_judged"])


def set_now() -> SafetySettings:
    """Return the settings in the database, with their model."""
    return SafetySettings.objects.select_related("model").defer("model__data").get(pk=1)


def terms() -> list[SafetyTerm]:
    """Return all terms, allowed and denied."""
    return list(SafetyTerm.objects.all())


def versions() -> list[SafetyModelVersion]:
    """Return all models, the newest first, without their files."""
    return list(SafetyModelVersion.objects.defer("data"))


HISTORY_SHOWN = 10


def newest_releases() -> QuerySet[Release]:
    """Return the newest releases that changed the filter."""
    return Release.objects.filter(action__startswith="safety.").defer("configuration", "evidence")[:HISTORY_SHOWN]


def training() -> SafetyTraining | None:
    """Return the last training that somebody started on a page; it failed if its server ended. One query."""
    newest = SafetyTraining.objects.select_related("version").defer("version__data").first()
    if newest and newest.lost:
        newest.state, newest.said = TrainingState.FAILED, LOST
    return newest


MAX_ID = 2**63 - 1
WAITING_COUNTED = 1_000
"""Waiting verdicts of a queue are counted up to this number: no person reviews more, and the page is fast."""


@dataclass(frozen=True)
class Waiting:
    """The number of verdicts that wait for a review, "1,000+" if there are more than were counted."""

    count: int = 0
    is_more: bool = False

    def __add__(self, other: "Waiting") -> "Waiting":
        return Waiting(self.count + other.count, self.is_more or other.is_more)

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        return f"{self.count:,}{'+' if self.is_more else ''}"


def queue_counts() -> dict[str, Waiting]:
    """Count the verdicts that wait for a review, by queue; "" counts all of them. One query for each queue."""
    counts = {}
    for queue in SafetyQueue.values:
        count = _waiting(queue).order_by("-id")[: WAITING_COUNTED + 1].count()
        counts[queue] = Waiting(min(count, WAITING_COUNTED), count > WAITING_COUNTED)
    return {"": sum(counts.values(), Waiting()), **counts}


def next_in_queue(queue: str = "", before: int | None = None) -> SafetyCheck | None:
    """Return the newest verdict that waits for a review, with its run; with `before`, the newest of the older ones."""
    waiting = _waiting(queue).select_related("run", "model", "reported_by").defer("model__data", "run__draft_body")
    # A bound in any case: without one, SQLite sorts all that wait.
    waiting = waiting.filter(pk__lt=MAX_ID if before is None else before)
    return waiting.order_by("-id").first()


def find_check(pk: int) -> SafetyCheck | None:
    """Return one verdict with its run, or None."""
    checks = SafetyCheck.objects.select_related("run", "model", "reported_by").defer("model__data", "run__draft_body")
    return checks.filter(pk=pk).first()


def example_count() -> int:
    """Count the reviewed texts that the next training adds to the rubric."""
    return SafetyExample.objects.count()


def _waiting(queue: str = "") -> QuerySet[SafetyCheck]:
    waiting = SafetyCheck.objects.filter(WAITS, run__erased_at=None)
    return waiting.filter(queue=queue) if queue else waiting


def figures_of(version: SafetyModelVersion) -> dict[str, Any] | None:
    """Return the model's figures on the evaluation sets: `tables` by title; None if it was not evaluated.

    The file beside the model that ships covers one more set, which is not in the repository.
    """
    if evaluation := version.manifest.get("evaluation"):
        return dict(evaluation)
    file = Path(str(version.manifest.get("file"))).name
    return read_figures((SHIPPED / file).with_suffix(".evaluation.json"), version.sha256)
