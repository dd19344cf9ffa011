"""Figures of the runs that servers made themselves. They are never mixed with those of runs made here."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils import timezone

from promptops.runs.enums import RunStatus
from promptops.runs.models import ReportedRuns
from promptops.stats.buckets import middle
from promptops.stats.percentiles import counted_percentile

HOURS = 24
MOST_ROWS = 50
"""Rows of one page. The last one counts all others."""


@dataclass
class Reported:
    """The runs of one version on one server. `latencies` are those of runs that were not canceled or blocked."""

    version: int | None
    server: str
    runs: int = 0
    failed: int = 0
    blocked: int = 0
    fallbacks: int = 0
    latencies: Counter[float] = field(default_factory=Counter)

    @property
    def p50(self) -> float | None:
        """Return the median latency in milliseconds."""
        return counted_percentile([], self.latencies, 50)

    @property
    def p95(self) -> float | None:
        """Return the 95th percentile of the latencies in milliseconds."""
        return counted_percentile([], self.latencies, 95)

    def add(self, row: ReportedRuns) -> None:
        """Count the runs of a row."""
        self.runs += row.runs
        self.fallbacks += row.fallbacks
        if row.status == RunStatus.BLOCKED:
            self.blocked += row.runs
        elif row.status in (RunStatus.FAILED, RunStatus.UNCHANGED):
            self.failed += row.runs
        if row.status not in (RunStatus.BLOCKED, RunStatus.CANCELED):
            for place, count in row.latencies.items():
                self.latencies[middle(int(place))] += count


def reported_by_servers(template: str, *, now: datetime | None = None) -> list[Reported]:
    """Return the runs of a template in the last hours, by version and server, the newest version first."""
    since = (now or timezone.now()) - timedelta(hours=HOURS)
    figures: dict[tuple[int, str], Reported] = {}
    for row in ReportedRuns.objects.filter(template=template, hour__gte=since).order_by("-version", "server"):
        figures.setdefault((row.version, row.server), Reported(row.version, row.server)).add(row)
    rows = list(figures.values())
    if len(rows) <= MOST_ROWS:
        return rows
    rest = Reported(None, f"{len(rows) - MOST_ROWS + 1:,} others")
    for each in rows[MOST_ROWS - 1 :]:
        rest.runs += each.runs
        rest.failed += each.failed
        rest.blocked += each.blocked
        rest.fallbacks += each.fallbacks
        rest.latencies += each.latencies
    return [*rows[: MOST_ROWS - 1], rest]
