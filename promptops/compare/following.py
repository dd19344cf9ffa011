"""Background work: the task that runs trials, and the poll that wakes it when a comparison is running."""

from django.db.models import Exists

from promptops.compare.actions.trials import RUNNERS, Runner
from promptops.compare.enums import ComparisonState
from promptops.compare.models import Comparison
from promptops.live import polling
from promptops.platform import background


def _wake(is_comparing: bool) -> None:
    if is_comparing:
        for runner in RUNNERS:
            runner.wake()


@background.task
async def run_trials() -> None:
    """Run the trials of comparisons until the process ends."""
    await Runner().run()


polling.watch(
    "is_comparing",
    polling.Watch(lambda: Exists(Comparison.objects.filter(state=ComparisonState.RUNNING)), bool, looked=_wake),
)
