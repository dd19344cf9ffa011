"""What features erase with the texts of runs."""

from collections.abc import Callable
from typing import TypeAlias

from django.db.models import QuerySet

from promptops.runs.models import Run

Eraser: TypeAlias = Callable[[QuerySet[Run], bool], None]
ERASERS: list[Eraser] = []


def erases_with_runs(eraser: Eraser) -> Eraser:
    """Let a feature erase what it has of runs, in the same transaction: `eraser(runs, is_expiry)`."""
    ERASERS.append(eraser)
    return eraser
