"""The observers of ended runs, such as metrics and traces. Each gets a run once, before the run is recorded."""

import logging
from collections.abc import Callable

from promptops.engine.judged_runs import Outcome
from promptops.runs.plans import RunPlan

log = logging.getLogger(__name__)

Observer = Callable[[RunPlan, Outcome], None]
OBSERVERS: list[Observer] = []


def on_end(function: Observer) -> Observer:
    """Register a function that gets the plan and the outcome of each ended run, in the event loop of the run.

    By then both texts are judged, in shadow mode too.
    """
    OBSERVERS.append(function)
    return function


def tell_observers(plan: RunPlan, outcome: Outcome) -> None:
    """Call the observers. An observer that fails is logged, and the run is recorded all the same."""
    for function in OBSERVERS:
        try:
            function(plan, outcome)
        except Exception:
            log.exception("An observer of ended runs failed.")
