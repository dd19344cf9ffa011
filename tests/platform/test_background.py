"""Background tasks of a server."""

import asyncio
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.people.following import drop_expired_sessions
from promptops.platform import background
from promptops.runs.following import erase_old_texts
from promptops.runs.models import Attempt, Run

pytestmark = pytest.mark.django_db


def run(age: timedelta, **fields) -> Run:
    made = Run.objects.create(
        at=timezone.now() - age, source="preview", operation="enhance", temperature=0.7, max_tokens=9, revision=1,
        status="succeeded", latency_ms=5, input="typed", output="answered", draft_body="prompt", **fields,
    )  # fmt: skip
    Attempt.objects.create(
        run=made, position=1, provider="p", outcome="failed", message="quotes it", started_ms=0, latency_ms=1
    )
    return made


def test_old_texts_are_erased_and_figures_stay():
    LiveConfiguration.objects.update(run_retention_days=7)
    old, young = run(timedelta(days=7, minutes=1)), run(timedelta(days=6, hours=23))
    erase_old_texts()
    erase_old_texts()
    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.input, old.output, old.draft_body, old.attempts.get().message) == ("", "", "", "")
    assert (old.latency_ms, old.status) == (5, "succeeded")
    assert old.erased_at is not None
    assert (young.input, young.attempts.get().message, young.erased_at) == ("typed", "quotes it", None)
    entry = AuditEntry.objects.get(action="run.expired")
    assert entry.after == {"runs": 1, "days": 7}


def test_expired_sessions_are_dropped():
    now = timezone.now()
    for key, age in (("old", 1), ("new", -1)):
        Session.objects.create(session_key=key, session_data="", expire_date=now - timedelta(days=age))
    drop_expired_sessions()
    assert list(Session.objects.values_list("session_key", flat=True)) == ["new"]


async def test_the_tasks_start_once_in_a_loop_and_end_with_it(monkeypatch):
    started = []

    async def task(*arguments, **options) -> None:
        started.append(1)

    names = {function.__name__ for function in background.TASKS}
    assert names == {
        *("keep_up", "relay_hints", "run_trials", "heartbeat"),
        *("follow_releases", "write_reports", "keep_picture", "watch_connections", "end_levers"),
        *("_keep_recording_uses", "close_expired", "keep_rechecking", "send_alerts", "measure_lag"),
    }
    monkeypatch.setattr(background, "TASKS", [task] * 4)
    monkeypatch.setattr(background, "_housekeeping", task)

    async def application(scope, receive, send) -> None:
        return None

    wrapped = background.with_background_tasks(application)
    for _ in range(3):
        await wrapped({}, None, None)
        await asyncio.sleep(0)
    await background.stop()
    assert len(started) == 5


async def test_a_task_that_ends_by_an_error_is_logged_and_counted(monkeypatch, caplog):
    async def breaks() -> None:
        raise ValueError("a bug")

    async def rests() -> None:
        await asyncio.sleep(10)

    monkeypatch.setattr(background, "TASKS", [breaks])
    monkeypatch.setattr(background, "_housekeeping", rests)
    monkeypatch.setattr(background, "AT_START", [])
    monkeypatch.setattr(background, "HOURLY", [])
    assert background.errors() == {"breaks": 0, "rests": 0}
    background.start()
    await asyncio.sleep(0.01)
    await background.stop()
    assert background.errors()["breaks"] == 1
    assert "The background task breaks ended with an error." in caplog.text
