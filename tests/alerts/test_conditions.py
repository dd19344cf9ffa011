"""Conditions of alerts, checked against stored figures."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from promptops.alerts import conditions
from promptops.alerts.models import AlertRules
from promptops.live import snapshots as live
from promptops.runs.models import Attempt, ReportedRuns, Run, SafetyCheck
from tests.factories import make_provider, make_run
from tests.fleet.servers import save_server

pytestmark = pytest.mark.django_db
NOBODY: frozenset[str] = frozenset()


def called(*kinds: str, minutes_ago: float = 1, provider: str = "groq", **run) -> None:
    """Record calls of a provider, oldest first, each with its kind of error; "" for an answer."""
    for kind in kinds:
        made = make_run(at=timezone.now() - timedelta(minutes=minutes_ago), **run)
        Attempt.objects.create(
            run=made, position=1, provider=provider, outcome="failed" if kind else "succeeded", error_kind=kind,
            message="quotes what a viewer typed", started_ms=0, latency_ms=1,
        )  # fmt: skip


@pytest.fixture
def groq(actor):
    return make_provider("groq", "groq", by=actor)


@pytest.mark.parametrize(
    ("calls", "is_down", "is_out"),
    [
        ([], False, False),
        (["timeout", "timeout"], False, False),
        (["", "timeout", "server", "transport"], True, False),
        (["timeout", "timeout", "timeout", ""], False, False),
        (["auth"] * 3, True, False),
        (["refused"] * 3, False, False),
        (["rate_limited"] * 3, False, False),
        (["bad_request"] * 3, False, False),
        (["contract"] * 3, False, False),
        (["quota"], False, True),
        (["quota", ""], False, False),
        (["quota"] * 3, False, True),
    ],
)
def test_providers(groq, calls, is_down, is_out):
    called(*calls)
    now = timezone.now()
    down, out = conditions.providers_down(now, NOBODY), conditions.providers_out_of_credit(now, NOBODY)
    assert (bool(down), bool(out)) == (is_down, is_out)
    assert "viewer" not in repr([down, out])  # a provider's answer may quote what a viewer typed


def test_a_provider_that_is_not_called_any_more_stays_down_for_a_day(groq):
    called("timeout", "timeout", "timeout", minutes_ago=120)
    now = timezone.now()
    assert conditions.providers_down(now, NOBODY) == []  # too old to begin
    assert conditions.providers_down(now, frozenset({"groq"}))
    assert conditions.providers_down(now + timedelta(days=1), frozenset({"groq"})) == []


def test_providers_that_are_off_and_drills_do_not_count(groq, actor):
    make_provider("off", "groq", by=actor, enabled=False)
    called(*["timeout"] * 3, provider="off")
    called(*["timeout"] * 3, drill="groq: 503")
    assert conditions.providers_down(timezone.now(), NOBODY) == []


def runs(failed: int, succeeded: int, **fields) -> None:
    for number in range(failed + succeeded):
        make_run(status="failed" if number < failed else "succeeded", **fields)


@pytest.mark.parametrize(
    ("failed", "succeeded", "is_found"), [(0, 30, False), (4, 16, False), (5, 15, True), (19, 0, False), (20, 0, True)]
)
def test_the_error_rate_has_a_threshold_and_a_least_number_of_runs(failed, succeeded, is_found):
    runs(failed, succeeded)
    assert bool(conditions.operations_failing(timezone.now(), NOBODY)) is is_found


def test_the_error_rate_is_of_one_operation_and_of_its_window():
    AlertRules.objects.create(pk=1, error_percent=50, error_minutes=5, error_runs=2)
    runs(3, 0, operation="caption")
    runs(0, 9)
    runs(5, 0, at=timezone.now() - timedelta(minutes=6))
    runs(9, 0, operation="segment", source="test")
    runs(9, 0, operation="expand", drill="groq: 503")
    (found,) = conditions.operations_failing(timezone.now(), NOBODY)
    assert found.key == "caption"
    assert found.title == "100% of the runs of caption got no answer in the last 5 minutes (3 of 3)."


def test_the_runs_of_servers_are_a_condition_of_their_own():
    now = timezone.now().replace(minute=30)
    hour = now.replace(minute=0, second=0, microsecond=0)
    for status, count in (("failed", 30), ("succeeded", 70), ("blocked", 999), ("", 999)):
        ReportedRuns.objects.create(hour=hour, server="gpu-7", operation="enhance", status=status, runs=count)
    ReportedRuns.objects.create(
        hour=hour - timedelta(hours=1), server="gpu-7", operation="old", status="failed", runs=99
    )
    (found,) = conditions.operations_failing(now, NOBODY)
    assert found.key == "servers:enhance"
    assert found.title == f"30% of the runs of enhance got no answer on servers since {hour:%H:%M} UTC (30 of 100)."


@pytest.mark.parametrize(
    ("mode", "problems", "unjudged", "is_found"),
    [
        ("enforce", [], 2, False),
        ("enforce", [], 3, True),
        ("shadow", ["The model cannot be loaded."], 0, True),
        ("off", ["The model cannot be loaded."], 9, False),
    ],
)
def test_the_safety_filter(monkeypatch, mode, problems, unjudged, is_found):
    spec = SimpleNamespace(mode=mode, guard=SimpleNamespace(self_test=lambda: problems))
    monkeypatch.setattr(live, "current", lambda: SimpleNamespace(safety=spec))
    for cause in ["down"] * unjudged + ["language"] * 5:
        SafetyCheck.objects.create(run=make_run(), side="input", decision="unavailable", cause=cause, mode="enforce")
    assert bool(conditions.safety_failing(timezone.now(), NOBODY)) is is_found


def test_a_thousand_silent_servers_are_one_condition_that_counts(django_assert_max_num_queries):
    from promptops.fleet.models import Server
    from tests.fleet.servers import unsaved_server

    Server.objects.bulk_create(unsaved_server(f"gpu-{number}", silent_for=60) for number in range(1000))
    save_server("fine")
    save_server("process", kind="process", silent_for=60)
    with django_assert_max_num_queries(3):
        (found,) = conditions.servers_silent(timezone.now(), NOBODY)
    assert found.count == 1000
    assert found.title == "1,000 servers are silent: gpu-0, gpu-1, gpu-2, gpu-3, gpu-4 and 995 more."
    assert len(found.facts["servers"]) == conditions.LISTED


def test_servers_that_refuse_or_drift():
    save_server("gpu-1", state="refused", refused_revision=0, refusal="Its schema is unknown")
    save_server("gpu-2", drift="enhance differs")
    now = timezone.now()
    assert [each.title for each in conditions.servers_refusing(now, NOBODY)] == ["gpu-1 refuses r0."]
    assert [each.title for each in conditions.servers_drifting(now, NOBODY)] == ["gpu-2 has drifted from r0."]
    assert conditions.servers_silent(now, NOBODY) == []
    assert not Run.objects.exists()
