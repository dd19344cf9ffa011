"""The parts of the overview that are sent to open pages."""

from typing import Any

from promptops.platform import events
from promptops.prompts.queries.handover import waiting
from promptops.runs.queries.figures import STEP_MINUTES, figures
from promptops.site.queries.first_steps import first_steps
from promptops.site.queries.overview import overview
from promptops.web.fragments import FRAGMENTS, Fragment


def register() -> None:
    """Register the overview, its first steps, and its figures for each span of time."""
    FRAGMENTS["overview"] = Fragment("site/overview/_live.html", lambda: {"overview": overview()})
    FRAGMENTS["first-steps"] = Fragment("site/overview/_first_steps.html", lambda: {"steps": first_steps()})
    FRAGMENTS["requests-count"] = Fragment(
        "prompts/_requests_count.html", lambda: {"waiting": waiting()}, frozenset({events.AUDIT_RECORDED})
    )
    FRAGMENTS.update({f"figures-{hours}": _figures(hours) for hours in STEP_MINUTES})


def _figures(hours: int) -> Fragment:
    return Fragment(
        "site/overview/_figures_live.html",
        lambda: figures_with_totals(hours),
        frozenset({events.REVISION_RELEASED, events.RUN_RECORDED}),
    )


def figures_with_totals(hours: int) -> dict[str, Any]:
    """Return the context of the figures."""
    shown = figures(hours)
    return {"figures": shown, "tokens": shown.tokens}
