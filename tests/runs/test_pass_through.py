"""A pass-through lever: it is about live traffic, and previews, comparisons and tests run all the same."""

from datetime import timedelta

import pytest
from django.utils import timezone

from promptops.engine.snapshot import Lever, Snapshot
from promptops.prompts.content import Content
from promptops.runs.enums import RunSource
from promptops.runs.plans import RunPlan

HELD = timedelta(minutes=5)


def plan(source: RunSource | str, ends: timedelta = HELD, operation: str = "enhance") -> RunPlan:
    lever = Lever("pass_through", "enhance", timezone.now() + ends, "Groq writes nonsense", "Rita")
    snapshot = Snapshot(7, (), {}, (), levers=(lever,))
    return RunPlan(operation, "a fox", Content("Polish."), (), snapshot, source)  # type: ignore[arg-type]


def test_a_servers_run_goes_on_unpolished_and_names_the_lever():
    sentence = plan("api").pass_through(timezone.now())
    assert "Rita" in sentence
    assert "Groq writes nonsense" in sentence


@pytest.mark.parametrize(
    "other",
    [
        plan("api", -HELD),
        plan("api", operation="rewrite"),
        *(plan(source) for source in (RunSource.PREVIEW, RunSource.COMPARISON, RunSource.TEST)),
    ],
)
def test_other_runs_are_polished(other):
    assert other.pass_through(timezone.now()) == ""
