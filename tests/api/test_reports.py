"""Reports of runs that servers made themselves: counted once, in bounded rows, and never with the runs made here."""

import uuid
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db.models import Sum
from django.urls import reverse
from django.utils import timezone

from promptops.client.reports import MAX_BATCH, Reports
from promptops.client.timing import Clock
from promptops.engine.judged_runs import Outcome
from promptops.runs.actions import reports as actions
from promptops.runs.actions.reports import ReportedRun, count_reports, forget_old
from promptops.runs.models import ReportBatch, ReportedRuns, Run
from promptops.runs.queries.figures import figures
from promptops.runs.queries.reported import MOST_ROWS, reported_by_servers
from tests.api.test_door import problem
from tests.factories import publish

pytestmark = pytest.mark.django_db(transaction=True)

REPORTS = "/api/v1/reports"


def a_run(**more) -> dict:
    """Return a run as the library for servers reports it."""
    run = {
        "operation": "enhance",
        "template": "enhance",
        "version": 1,
        "revision": 3,
        "epoch": "e1",
        "at": timezone.now().isoformat(),
        "status": "succeeded",
        "latency_ms": 412.5,
        "provider": "p1",
        "model": "m1",
        "attempts": 1,
        "fallback_used": False,
        "error_kind": "",
    }
    return run | more


def batch(*runs: dict, **more) -> dict:
    return {"batch": str(uuid.uuid4()), "server": "gpu-7", "instance": "i", "runs": list(runs), "dropped": 0} | more


def counted(**more) -> ReportedRun:
    values = {"operation": "enhance", "template": "enhance", "version": 1, "status": "succeeded", "at": timezone.now()}
    return ReportedRun(**values | {"latency_ms": 400.0, "attempts": 1, "fallback_used": False} | more)


def test_runs_that_are_alike_share_a_row(machine):
    sent = batch(a_run(), a_run(latency_ms=90, attempts=2, fallback_used=True), a_run(status="blocked"), dropped=4)
    response = machine("follow").post(REPORTS, json=sent)
    assert (response.status_code, response.json()) == (200, {"batch": sent["batch"], "is_new": True})
    rows = {row.status: row for row in ReportedRuns.objects.all()}
    row = rows["succeeded"]
    assert (row.server, row.template, row.version, row.runs, row.attempts, row.fallbacks) == (
        "gpu-7",
        "enhance",
        1,
        2,
        3,
        1,
    )
    assert sum(row.latencies.values()) == 2
    assert (rows["blocked"].runs, rows[""].runs, len(rows)) == (1, 4, 3)


def test_a_batch_that_comes_again_counts_once(machine):
    caller, sent = machine("follow"), batch(a_run())
    assert [caller.post(REPORTS, json=sent).json()["is_new"] for _ in range(3)] == [True, False, False]
    caller.post(REPORTS, json=batch(a_run()))
    assert ReportedRuns.objects.get().runs == 2


def test_texts_are_not_stored(machine):
    machine("follow").post(REPORTS, json=batch(a_run(input="a secret fox", output="A red fox.")))
    assert "secret" not in str(list(ReportedRuns.objects.values()))


def test_a_token_of_a_server_reports_for_no_other(machine):
    caller = machine("follow", server="gpu-8")
    problem(caller.post(REPORTS, json=batch(a_run())), "server-mismatch")
    assert caller.post(REPORTS, json=batch(a_run(), server="gpu-8")).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": "x"},
        {"server": ""},
        {"server": "a\nb"},
        {"dropped": -1},
        {"runs": [a_run()] * 101},
        {"runs": [a_run(status="great")]},
        {"runs": [a_run(latency_ms=-1)]},
        {"runs": [a_run(at="yesterday")]},
        {"runs": [a_run(at="2026-01-01T00:00:00")]},
        {"runs": [a_run(template="../x")]},
        {"runs": [a_run(operation="Über")]},
        {"runs": [a_run(version=2**31)]},
    ],
)
def test_a_wrong_report_is_refused_whole(machine, wrong):
    problem(machine("follow").post(REPORTS, json=batch(a_run()) | wrong), "invalid")
    assert not ReportedRuns.objects.exists()
    assert not ReportBatch.objects.exists()


def test_a_wrong_clock_makes_no_hours_of_its_own(db):
    now = timezone.now()
    runs = [counted(at=now + timedelta(days=days)) for days in (-4000, -900, 5, 900)]
    count_reports(uuid.uuid4(), "gpu-7", runs, 0)
    hours = set(ReportedRuns.objects.values_list("hour", flat=True))
    assert len(hours) <= 3
    assert min(hours) >= now - timedelta(days=2, hours=2)
    assert max(hours) <= timezone.now()


@pytest.mark.parametrize(("limit", "server"), [("MOST_OF_A_SERVER", "gpu-7"), ("MOST_IN_AN_HOUR", "")])
def test_rows_are_bounded_and_no_run_is_lost(db, monkeypatch, limit, server):
    monkeypatch.setattr(actions, limit, 5)
    for start in (1, 10):
        runs = [counted(template=f"t{number}") for number in range(start, start + 9)]
        count_reports(uuid.uuid4(), "gpu-7", runs, 0)
    assert ReportedRuns.objects.count() == 6
    assert ReportedRuns.objects.aggregate(Sum("runs"))["runs__sum"] == 18
    assert ReportedRuns.objects.get(operation="other").server == server


def test_old_counts_and_batches_go(db):
    count_reports(uuid.uuid4(), "gpu-7", [counted()], 0)
    forget_old(timezone.now())
    assert (ReportedRuns.objects.count(), ReportBatch.objects.count()) == (1, 1)
    forget_old(timezone.now() + timedelta(days=500))
    assert (ReportedRuns.objects.count(), ReportBatch.objects.count()) == (0, 0)


def test_the_template_shows_them_and_no_figure_of_runs_made_here_counts_them(machine, client_for, viewer):
    publish("enhance", "Text.")
    machine("follow").post(REPORTS, json=batch(*[a_run()] * 40, a_run(status="failed")))
    page = client_for(viewer).get(reverse("template_details", args=["enhance"]))
    [row] = page.context["reported"]
    assert (row.server, row.version, row.runs, row.failed) == ("gpu-7", 1, 41, 1)
    assert row.p50 == pytest.approx(412.5, rel=0.03)
    assert "gpu-7" in page.content.decode()
    assert not Run.objects.exists()
    assert all(each.total.runs == 0 for each in figures(24).operations)


def test_many_servers_make_a_short_table_under_one_query(db, django_assert_num_queries):
    for number in range(MOST_ROWS + 20):
        count_reports(uuid.uuid4(), f"gpu-{number}", [counted()], 0)
    with django_assert_num_queries(1):
        rows = reported_by_servers("enhance")
    assert len(rows) == MOST_ROWS
    assert sum(row.runs for row in rows) == MOST_ROWS + 20


def test_the_library_and_the_route_agree(machine):
    """The route takes the reports that the library for servers sends."""
    sender = Reports(Clock(), texts=True)
    values = {"operation": "enhance", "template": "enhance", "version": 1, "revision": 1, "epoch": "e"}
    for _ in range(MAX_BATCH + 1):
        sender.add(sender.report(values, Outcome(), timezone.now(), "a fox"))
    caller = machine("follow")

    async def post(path, message):
        response = await caller.arequest("POST", path, json=message)
        assert response.status_code == 200, response.text
        return response.json()

    while async_to_sync(sender.send)(post, {"server": "gpu-7", "instance": "i"}):
        pass
    assert ReportedRuns.objects.get().runs == MAX_BATCH + 1
