"""Reports of a process of PromptOps about itself."""

import asyncio
from dataclasses import replace

import pytest

from promptops.engine.safety.guard import SafetyGuard
from promptops.fleet import following
from promptops.fleet.reports import reports
from promptops.live import snapshots
from promptops.runs.actions.recording import recorder

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def forgotten():
    yield
    reports.forget()


def test_a_process_says_whether_it_judges_texts_and_how_much_it_runs(released, monkeypatch):
    document = released()
    current = snapshots.current()
    broken = replace(current, safety=replace(current.safety, mode="enforce", guard=SafetyGuard(None)))
    before = recorder.rate.a_minute()
    recorder.rate.add()
    own = asyncio.run(following._report_own(None, document))
    assert own.runs_a_minute is None or own.runs_a_minute >= before + 1
    assert own.is_filtered
    monkeypatch.setattr(snapshots, "current", lambda: broken)
    own = asyncio.run(following._report_own(own, document))
    assert not own.is_filtered
    assert own.runs_a_minute >= before + 1
