"""The registry of what other features erase with the texts of runs. Runs erase their own in `runs.actions.erasing`."""

from collections.abc import Callable
from typing import TypeAlias

from django.db.models import QuerySet

from promptops.runs.models import Run

Eraser: TypeAlias = Callable[[QuerySet[Run], bool], None]
ERASERS: list[Eraser] = []


def erases_with_runs(eraser: Eraser) -> Eraser:
    """Register a function that erases a feature's copies of runs' texts: `eraser(runs, is_expiry)`.

    It is called in the transaction that erases the runs.
    """
    ERASERS.append(eraser)
    return eraser
