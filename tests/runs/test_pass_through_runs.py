"""A run while a lever lets inputs pass through: recorded as unchanged, with the lever's sentence and no attempt."""

from contextlib import aclosing
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.utils import timezone

from promptops.engine.snapshot import Lever
from promptops.live import snapshots as live
from promptops.prompts.content import Content
from promptops.runs.actions.execution import execute
from promptops.runs.enums import RunSource, RunStatus
from promptops.runs.models import Run
from promptops.runs.plans import RunPlan, RunRecorded
from promptops.safety.actions import filter_settings
from promptops.safety.earlier import SafetyChange, Term
from tests.factories import make_provider

pytestmark = pytest.mark.django_db(transaction=True)


@database_sync_to_async
def plan(actor, publish, text: str) -> RunPlan:
    """Return a server's run. The provider's port is closed, so a call would leave a failed attempt."""
    version = publish("enhance", "Polish.")
    make_provider(by=actor)
    terms = (Term("deny", "kraken", "violence"),)
    filter_settings.change_safety(SafetyChange(mode="enforce", terms=terms), by=actor, expected=0)
    snapshot = live.refresh()
    lever = Lever("pass_through", "enhance", timezone.now() + timedelta(minutes=5), "Groq writes nonsense", "Rita")
    held = type(snapshot)(**vars(snapshot) | {"levers": (lever,)})
    content = Content(**version.content)
    return RunPlan(
        "enhance", text, content, held.providers, held, RunSource.API, version=version, template=version.template
    )


async def end_of(run: RunPlan) -> RunRecorded:
    async with aclosing(execute(run)) as events:
        recorded = [event async for event in events][-1]
    if recorded.recording:  # a machine gets its answer first
        await recorded.recording
    return recorded


async def test_it_is_recorded_as_unchanged_and_calls_no_provider(actor, publish):
    recorded = await end_of(await plan(actor, publish, "a fox"))
    assert (recorded.status, recorded.response, recorded.attempts) == (RunStatus.UNCHANGED, None, ())
    stored = await Run.objects.aget()
    assert (stored.status, stored.input, stored.output) == ("unchanged", "a fox", "")
    assert stored.error.startswith("Rita lets the inputs of enhance pass through until")
    assert "Groq writes nonsense" in stored.error
    assert not await stored.attempts.aexists()


async def test_the_safety_filter_still_blocks_its_input(actor, publish):
    recorded = await end_of(await plan(actor, publish, "a kraken"))
    assert recorded.status == RunStatus.BLOCKED
    assert (await Run.objects.aget()).status == "blocked"
