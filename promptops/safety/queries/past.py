"""Texts of past runs: reading them for replays, within a budget of seconds, and showing their beginnings.

Shared by replay.py (thresholds), hits.py (terms) and quality.py (labeled texts). No judging belongs here.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models.functions import Left

from promptops.engine.safety.guard import worst_of
from promptops.prompts.content import long_fields
from promptops.runs.enums import SafetySide
from promptops.runs.models import Run

RUNS = 1_000
"""The newest runs that still have their text; replays and hits read no others."""
EXCERPT_CHARACTERS = 161
BUDGET_SECONDS = 0.05
"""Time for scoring in a request that a person waits for."""
LONG_BUDGET_SECONDS = 0.5
"""Time for scoring in a request that only continues the scoring."""

Thresholds = Mapping[str, float]


class Budget:
    """A limit of seconds that begins now."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def is_spent(self) -> bool:
        return time.monotonic() > self._end


@dataclass(frozen=True)
class Text:
    """One text of a run, and its beginning as pages show it: "" if the text is masked."""

    run: Run
    side: str

    @property
    def masked(self) -> bool:
        return bool(getattr(self.run, f"{self.side}_masked"))

    @property
    def excerpt(self) -> str:
        return "" if self.masked else getattr(self.run, f"{self.side}_excerpt")


def texts_of(run_ids: set[int]) -> dict[tuple[int, str], str]:
    """Return the texts of runs that are not erased, by run and side. One query."""
    texts = {}
    runs = Run.objects.filter(pk__in=run_ids, erased_at=None)
    for pk, run_input, output in runs.values_list("pk", "input", "output"):
        texts[pk, SafetySide.INPUT.value] = run_input
        texts[pk, SafetySide.OUTPUT.value] = output
    return texts


def runs_with_excerpts(run_ids: list[int]) -> dict[int, Run]:
    """Return the runs that are not erased, by id, with the beginnings of their texts. One query."""
    runs = Run.objects.filter(pk__in=run_ids, erased_at=None).defer(
        "input", "output", "raw", "error", *long_fields("draft_")
    )
    excerpts = {f"{side}_excerpt": Left(side, EXCERPT_CHARACTERS) for side in SafetySide.values}
    return {run.pk: run for run in runs.annotate(**excerpts)}


def blocking_category(scores: Mapping[str, float], thresholds: Thresholds) -> str:
    """Return the category that blocks, as the guard chooses it; "" if none does."""
    worst = worst_of(scores, thresholds)
    return worst if worst is not None and scores[worst] >= thresholds[worst] else ""
