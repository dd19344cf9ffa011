"""Following the snapshot: after a swap, the process loads the safety filter's model before a run needs it."""

from promptops.engine.snapshot import Snapshot
from promptops.live import snapshots as live
from promptops.safety import guards


def _warm_up(before: Snapshot | None, now: Snapshot) -> None:
    if before is None or before.safety != now.safety:
        guards.warm_up(now.safety)


live.SWAPPED.append(_warm_up)
