"""The parts of the overview that are sent to open pages."""

from promptops.platform import events
from promptops.runs.queries.figures import STEP_MINUTES, figures
from promptops.site.queries import overview
from promptops.web.fragments import FRAGMENTS, Fragment


def register() -> None:
    """Register the overview, and its figures for each span of time."""
    FRAGMENTS["overview"] = Fragment("site/overview/_live.html", lambda: {"overview": overview()})
    FRAGMENTS.update({f"figures-{hours}": _figures(hours) for hours in STEP_MINUTES})


def _figures(hours: int) -> Fragment:
    return Fragment(
        "site/overview/_figures_live.html",
        lambda: {"figures": figures(hours)},
        frozenset({events.REVISION_RELEASED, events.RUN_RECORDED}),
    )
