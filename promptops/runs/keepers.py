"""The registry of what other features need old runs for. Runs keep their own in `runs.queries.expiry`."""

from collections.abc import Callable
from typing import TypeAlias

from django.db.models import Q

Keeper: TypeAlias = Callable[[], Q]
KEEPERS: list[Keeper] = []


def keeps_runs(keeper: Keeper) -> Keeper:
    """Register a function that returns a condition on runs. A run that meets it is never deleted by its age."""
    KEEPERS.append(keeper)
    return keeper
