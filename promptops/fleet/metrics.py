"""The metrics of the servers that follow, of their acknowledgements, and of levers."""

from collections.abc import Iterable
from datetime import datetime

from django.utils import timezone

from promptops.engine.snapshot import Snapshot
from promptops.fleet import now, reports
from promptops.fleet.enums import LeverKind, Outcome, ServerKind, Standing
from promptops.fleet.reports import Acknowledged
from promptops.live import snapshots
from promptops.platform import metrics
from promptops.platform.metrics import Sample

acknowledgement_seconds = metrics.histogram(
    "promptops_acknowledgement_duration_seconds",
    "Time from a release until a server of this process runs it",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60),
)
acknowledgements = metrics.counter(
    "promptops_acknowledgements_total", "Answers of the servers of this process to releases", ["outcome"]
)


class Swap:
    """The last release that this process has taken over, and the servers that have answered it."""

    def __init__(self) -> None:
        self.revision: int | None = None
        self.at: datetime | None = None
        self.answered: set[tuple[str, str]] = set()

    def note(self, before: Snapshot | None, after: Snapshot) -> None:
        """Note a swap. Nobody waits for the first snapshot of a process."""
        is_release = before is not None and before.epoch == after.epoch and before.revision != after.revision
        self.revision, self.at, self.answered = (
            (after.revision, timezone.now(), set()) if is_release else (None, None, set())
        )

    def hear(self, answer: Acknowledged) -> None:
        """Count the answer of a server, and measure its first one if it was connected at the release."""
        if answer.kind == ServerKind.PROCESS:
            return
        acknowledgements.labels(answer.outcome).inc()
        key = (answer.server, answer.instance)
        if answer.revision != self.revision or self.at is None or key in self.answered:
            return
        self.answered.add(key)
        if answer.outcome == Outcome.APPLIED and answer.connected_at <= self.at:
            acknowledgement_seconds.observe(max(0.0, (answer.at - self.at).total_seconds()))


swap = Swap()
snapshots.SWAPPED.append(swap.note)
reports.ACKNOWLEDGED.append(swap.hear)


@metrics.read_gauge("promptops_servers", "Servers of the installation by how they stand to what is live", "standing")
def _servers() -> Iterable[Sample]:
    counts = now.standings()
    return [((standing.value,), counts[standing]) for standing in Standing] if counts is not None else []


@metrics.read_counter(
    "promptops_acknowledgements_dropped_total", "Answers of servers that were dropped during an outage of the database"
)
def _dropped() -> Iterable[Sample]:
    return [((), reports.reports.dropped)]


@metrics.read_gauge("promptops_levers_on", "Levers that hold now", "kind")
def _levers() -> Iterable[Sample]:
    snapshot, moment = snapshots.loaded_snapshot(), timezone.now()
    holding = [str(lever.kind) for lever in snapshot.levers if lever.holds(moment)] if snapshot else []
    return [((kind.value,), holding.count(kind.value)) for kind in LeverKind]
