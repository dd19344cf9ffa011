"""The roll-out of a release: which servers acknowledged it, how soon, and which do not run it yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from promptops.fleet.enums import Outcome, ServerKind, Standing
from promptops.fleet.models import Acknowledgement
from promptops.fleet.queries.servers import ServerRow, picture
from promptops.ledger.models import Release
from promptops.stats.percentiles import percentile

STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper ends of the histogram's bars, in seconds. The last bar has no end."""
BAR_WIDTH, BAR_HEIGHT = 28, 40


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram, in units of its drawing."""

    label: str
    count: int
    x: int
    y: float
    height: float


@dataclass(frozen=True)
class Rollout:
    """The roll-out of one release. `waiting` are servers that do not run it; known only of what is live."""

    revision: int
    released_at: datetime
    is_live: bool
    acknowledged: list[Acknowledgement]
    waiting: list[ServerRow]
    applied: int
    total: int

    @property
    def seconds(self) -> list[float]:
        """Return how long the servers took that were connected at the release, shortest first."""
        return sorted(
            each.seconds
            for each in self.acknowledged
            if each.outcome == Outcome.APPLIED and not each.was_away and each.kind != ServerKind.PROCESS
        )

    @property
    def median(self) -> float | None:
        """Return the median of these times."""
        return percentile(self.seconds, 50)

    @property
    def slowest(self) -> float | None:
        """Return the longest of these times."""
        return self.seconds[-1] if self.seconds else None

    @property
    def is_complete(self) -> bool:
        """Return whether all servers run the release."""
        return self.applied == self.total

    @property
    def failures(self) -> list[Acknowledgement]:
        """Return the acknowledgements of servers that refused the release or run other content."""
        return [each for each in self.acknowledged if each.outcome != Outcome.APPLIED]

    @property
    def bars(self) -> list[Bar]:
        """Return the histogram of the times."""
        return bars(self.seconds)

    @property
    def width(self) -> int:
        """Return the width of the histogram."""
        return BAR_WIDTH * (len(STEPS) + 1)


def bars(seconds: Sequence[float]) -> list[Bar]:
    """Return a histogram of times in the steps of STEPS."""
    counts = [0] * (len(STEPS) + 1)
    for each in seconds:
        counts[next((index for index, end in enumerate(STEPS) if each <= end), len(STEPS))] += 1
    most = max(counts) or 1
    labels = [f"≤ {end:g} s" for end in STEPS] + [f"> {STEPS[-1]:g} s"]
    drawn = []
    for index, (label, count) in enumerate(zip(labels, counts, strict=True)):
        height = round(BAR_HEIGHT * count / most, 1)
        drawn.append(Bar(label, count, index * BAR_WIDTH, BAR_HEIGHT - height, height))
    return drawn


def _worst_first(row: ServerRow) -> int:
    return list(Standing).index(row.standing)


def rollout(revision: int) -> Rollout:
    """Return the roll-out of a revision. Raises Release.DoesNotExist."""
    released_at = Release.objects.values_list("at", flat=True).get(revision=revision)
    acknowledged = list(Acknowledgement.objects.filter(revision=revision).order_by("seconds", "pk"))
    shown = picture()
    is_live = shown.live.revision == revision
    counts = shown.counts
    servers = [each for each in acknowledged if each.kind != ServerKind.PROCESS]
    applied = sum(each.outcome == Outcome.APPLIED for each in servers)
    return Rollout(
        revision,
        released_at,
        is_live,
        acknowledged,
        sorted((row for row in shown.rows if row.standing != "current"), key=_worst_first) if is_live else [],
        counts.current if is_live else applied,
        counts.total if is_live else len(servers),
    )
