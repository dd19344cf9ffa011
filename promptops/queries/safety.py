"""The safety filter as pages show it: how it is set, whether it works, what it found."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from promptops import live
from promptops.engine.snapshot import SafetySpec
from promptops.enums import SafetyMode
from promptops.models import SafetyCheck, SafetyModelVersion, SafetySettings

# What the filter does not take, however it is set: no verdict, or too long to be read.
NOT_JUDGED = ("unavailable", "too_long")


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
            elif self.spec.fail_closed:
                meaning = "Texts that it cannot judge are blocked."
            else:
                meaning = "It fails open: texts that it cannot judge pass unseen."
            reasons = " ".join(f"{problem.removesuffix('.')}." for problem in self.problems)
            found.append(Alert("bad", f"The safety filter is failing. {meaning} {reasons}"))
        if self.mode == SafetyMode.ENFORCE and not self.spec.fail_closed and not self.problems:
            found.append(Alert("warn", "The safety filter fails open: a text that it cannot judge passes unseen."))
        return found


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


def versions() -> list[SafetyModelVersion]:
    """All models, the newest first, without their files."""
    return list(SafetyModelVersion.objects.defer("data"))


def checks_of(run_ids: Iterable[int]) -> dict[int, list[SafetyCheck]]:
    """The verdicts on each of the runs, by its id, input first: one query. A run that was not judged is missing."""
    found: dict[int, list[SafetyCheck]] = {}
    for check in SafetyCheck.objects.filter(run__in=list(run_ids)).order_by("run", "side"):
        found.setdefault(check.run_id, []).append(check)
    return found
