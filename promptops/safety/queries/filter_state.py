"""The safety filter as pages show it: its settings, its state, its releases and today's counts.

Replays of past runs belong to replay.py, hits.py and quality.py, the forecast of enforcing to forecast.py.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from promptops.engine.safety import second_stage
from promptops.engine.safety.second_stage import ENFORCE, INSTALL
from promptops.engine.snapshot import SafetySpec
from promptops.ledger.models import Release
from promptops.live import snapshots as live
from promptops.runs.enums import SafetyMode
from promptops.runs.models import SafetyCheck
from promptops.runs.queries.outcomes import NOT_JUDGED
from promptops.safety.models import SafetySettings, SafetyTerm


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
        second = self.spec.second.problems(self.spec.second_threshold)
        if self.spec.asks_second and self.spec.second_mode == ENFORCE and second:
            alerts.append(Alert("bad", f"The second stage of the safety filter is failing. {second[0]}."))
        if self.mode == SafetyMode.ENFORCE and not self.spec.blocks_languages:
            alerts.append(Alert("warn", "Texts in languages that the safety filter doesn't know pass unjudged."))
        if self.mode == SafetyMode.ENFORCE and self.spec.expected_languages and not self.spec.blocks_expected:
            alerts.append(Alert("warn", f"Texts in {' and '.join(self.spec.expected_languages)} pass unjudged."))
        return alerts

    @property
    def second(self) -> tuple[str, str, str]:
        """The state of the second stage on this server, the color of its chip, and what to do or what is wrong."""
        problems = self.spec.second.problems(self.spec.second_threshold)
        if not second_stage.installed():
            return "not installed", "warn" if self.spec.asks_second else "", INSTALL
        if not self.spec.asks_second:
            return "off", "", ""
        if problems is None:
            return "loading", "", ""
        if problems:
            return "failing", "bad", problems[0]
        return ("enforcing", "ok", "") if self.spec.second_mode == ENFORCE else ("shadow", "accent", "")

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


HISTORY_SHOWN = 10


def newest_releases() -> QuerySet[Release]:
    """Return the newest releases that changed the filter."""
    return Release.objects.filter(action__startswith="safety.").defer("packed_configuration", "evidence")[
        :HISTORY_SHOWN
    ]
