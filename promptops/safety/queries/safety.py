"""The safety filter as pages show it: how it is set, whether it works, what it found."""

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
from promptops.runs.models import SafetyCheck
from promptops.runs.queries.outcomes import NOT_JUDGED
from promptops.safety.enums import TrainingState
from promptops.safety.models import LOST, SafetyExample, SafetyModelVersion, SafetySettings, SafetyTerm, SafetyTraining


@dataclass(frozen=True)
class Alert:
    """Something that must not be overlooked: `level` is bad or warn."""

    level: str
    text: str


@dataclass(frozen=True)
class SafetyToday:
    """What became of the texts that were judged since midnight (UTC). `would_block` are those let through in shadow."""

    texts: int
    blocked: int
    would_block: int
    not_judged: int


@dataclass(frozen=True)
class SafetyState:
    """The filter that this process runs, what is wrong with it, and what it did today."""

    spec: SafetySpec
    problems: list[str]
    today: SafetyToday

    @property
    def mode(self) -> SafetyMode:
        return SafetyMode(self.spec.mode)

    @property
    def alerts(self) -> list[Alert]:
        """What pages shout, the worst first."""
        if self.mode == SafetyMode.OFF:
            return [Alert("bad", "The safety filter is off: no text is judged, and whatever a model writes is shown.")]
        found = []
        if self.problems:
            if self.mode == SafetyMode.SHADOW:
                meaning = "It is in shadow, so runs go on; nobody knows what it would have blocked."
            elif self.spec.blocks_when_down:
                meaning = "Texts that it cannot judge are blocked."
            else:
                meaning = "It fails open: texts that it cannot judge pass unseen."
            reasons = " ".join(f"{problem.removesuffix('.')}." for problem in self.problems)
            found.append(Alert("bad", f"The safety filter is failing. {meaning} {reasons}"))
        if self.mode == SafetyMode.ENFORCE and not self.spec.blocks_when_down and not self.problems:
            found.append(Alert("warn", "The safety filter fails open: every text passes while it is down."))
        if self.mode == SafetyMode.ENFORCE and not self.spec.blocks_languages:
            found.append(Alert("warn", "Texts in languages that the safety filter doesn't know pass unjudged."))
        return found

    @property
    def unjudged(self) -> str:
        """What becomes of texts that cannot be judged, in a few words."""
        choices = (self.spec.blocks_languages, self.spec.blocks_when_down)
        return {
            (True, True): "unjudged texts are blocked",
            (False, False): "unjudged texts pass",
            (False, True): "unknown languages pass",
            (True, False): "all texts pass while it is down",
        }[choices]


def state() -> SafetyState:
    """Read it: one query, and a fraction of a millisecond for the self-test (more where the model is to be loaded)."""
    spec = live.current().safety
    problems = [] if spec.mode == SafetyMode.OFF else spec.guard.self_test()
    return SafetyState(spec, problems, today(timezone.now()))


def today(now: datetime) -> SafetyToday:
    """What was judged since midnight."""
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    counts: dict[str, Any] = SafetyCheck.objects.filter(at__gte=start).aggregate(
        texts=Count("id"),
        withheld=Count("id", filter=Q(blocked=True)),
        would_block=Count("id", filter=Q(blocked=False, decision="block")),
        not_judged=Count("id", filter=Q(decision__in=NOT_JUDGED)),
    )
    return SafetyToday(counts["texts"], counts["withheld"], counts["would_block"], counts["not_judged"])


def set_now() -> SafetySettings:
    """The settings as the database has them, with their model."""
    return SafetySettings.objects.select_related("model").defer("model__data").get(pk=1)


def terms() -> list[SafetyTerm]:
    """All terms, allowed and denied."""
    return list(SafetyTerm.objects.all())


def versions() -> list[SafetyModelVersion]:
    """All models, the newest first, without their files."""
    return list(SafetyModelVersion.objects.defer("data"))


HISTORY_SHOWN = 10


def newest_releases() -> QuerySet[Release]:
    """Return the newest releases that changed the filter."""
    return Release.objects.filter(action__startswith="safety.").defer("configuration", "evidence")[:HISTORY_SHOWN]


def training() -> SafetyTraining | None:
    """The last training that somebody started on a page; one whose server ended has failed. One query."""
    found = SafetyTraining.objects.select_related("version").defer("version__data").first()
    if found and found.lost:
        found.state, found.said = TrainingState.FAILED, LOST
    return found


def queue_counts() -> dict[str, int]:
    """How many verdicts wait for a person, by why; "" is all of them."""
    waiting = _waiting().order_by().values_list("queue").annotate(Count("id"))
    found = {str(name): 0 for name in SafetyQueue} | dict(waiting)
    return {"": sum(found.values()), **found}


def next_in_queue(queue: str = "", before: int | None = None) -> SafetyCheck | None:
    """The newest verdict that waits for a person, of those before the one of that number; with its run."""
    waiting = _waiting().select_related("run", "model", "reported_by").defer("model__data", "run__draft_body")
    if queue:
        waiting = waiting.filter(queue=queue)
    if before is not None:
        waiting = waiting.filter(pk__lt=before)
    return waiting.order_by("-id").first()


def found_check(pk: int) -> SafetyCheck | None:
    """One verdict with its run."""
    found = SafetyCheck.objects.select_related("run", "model", "reported_by").defer("model__data", "run__draft_body")
    return found.filter(pk=pk).first()


def example_count() -> int:
    """How many reviewed texts the next training adds to the rubric."""
    return SafetyExample.objects.count()


def _waiting() -> QuerySet[SafetyCheck]:
    return SafetyCheck.objects.filter(review="", queue__in=SafetyQueue.values, run__erased_at=None)


def figures_of(version: SafetyModelVersion) -> dict[str, Any] | None:
    """What the model does with the evaluation sets: `tables` by their title; None where it was not evaluated.

    The file beside the model that ships has one set more, which is not in the repository.
    """
    if found := version.manifest.get("evaluation"):
        return dict(found)
    file = Path(str(version.manifest.get("file"))).name
    return read_figures((SHIPPED / file).with_suffix(".evaluation.json"), version.sha256)
