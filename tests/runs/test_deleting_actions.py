"""Erasing and deleting old runs in passes, and the figures of deleted runs."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from promptops.history.queries import timeline
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.platform.draining import gate
from promptops.prompts.models import Version
from promptops.runs.actions import _passes as passes
from promptops.runs.actions.deleting import delete_expired
from promptops.runs.actions.erasing import erase_expired
from promptops.runs.enums import ContractOutcome
from promptops.runs.models import Attempt, Run, RunExpiry, RunTotals, SafetyCheck
from promptops.runs.queries import figures
from promptops.runs.queries.contracts import contract_figures
from promptops.runs.queries.expiry import deletion_of
from promptops.safety.models import SafetyExample
from promptops.stats.buckets import ERROR
from tests.comparing import answer, compare
from tests.factories import make_run

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 12, 10, 7, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch):
    """Let a few runs make several batches, and no batch wait."""
    monkeypatch.setattr(passes, "BATCH", 3)
    monkeypatch.setattr(passes, "PAUSE", 0)
    monkeypatch.setattr(passes, "LEAST_PAUSE_SECONDS", 0)
    LiveConfiguration.objects.update(run_retention_days=1, run_deletion_days=2)


def old_run(days: float = 3, **fields) -> Run:
    """Make a run with an attempt and a verdict, some days ago."""
    run = make_run(at=timezone.now() - timedelta(days=days), **fields)
    Attempt.objects.create(
        run=run, position=1, provider="p1", outcome=run.status, started_ms=0, latency_ms=9, input_tokens=5,
        output_tokens=7, message="p1 quotes it",
    )  # fmt: skip
    SafetyCheck.objects.create(run=run, side="input", decision="allow", mode="shadow", words=["fox"])
    return run


def entries(action: str) -> list[dict]:
    return [entry.after for entry in AuditEntry.objects.filter(action=action).order_by("seq")]


def test_no_run_is_deleted_unless_somebody_says_so():
    LiveConfiguration.objects.update(run_deletion_days=None)
    run = old_run(3000)
    erase_expired()
    assert delete_expired() == 0
    assert Run.objects.get() == run
    assert (RunTotals.objects.count(), entries("run.deleted")) == (0, [])


def test_old_runs_go_with_their_attempts_and_verdicts():
    young = old_run(1.9)
    old = [old_run(2.1 + number) for number in range(7)]
    assert erase_expired() == 8
    assert delete_expired() == 7
    assert Run.objects.get() == young
    assert (Attempt.objects.get().run, SafetyCheck.objects.get().run) == (young, young)
    assert entries("run.expired") == [{"runs": 8, "days": 1}]
    assert entries("run.deleted") == [{"runs": 7, "days": 2}]
    assert [deletion_of(run.pk).days for run in old] == [2] * 7
    assert deletion_of(max(run.pk for run in old) + 1) is None
    assert delete_expired() == 0
    assert len(entries("run.deleted")) == 1


def test_a_run_whose_text_is_still_there_is_not_deleted():
    run = old_run()
    assert delete_expired() == 0
    assert Run.objects.get() == run


def test_runs_of_comparisons_and_reviewed_runs_stay(editor, actor):
    answer(compare(actor))
    compared = set(Run.objects.values_list("pk", flat=True))
    Run.objects.update(at=timezone.now() - timedelta(days=900))
    reviewed, learned, _ = old_run(), old_run(), old_run()
    reviewed.safety_checks.update(review="wrong", reviewed_by=editor, reviewed_at=timezone.now())
    SafetyExample.objects.create(label="safe", text="a fox", run=learned)
    Run.objects.filter(pk=min(compared)).update(source="preview")  # its trial alone keeps it
    erase_expired()
    assert delete_expired() == 1
    assert set(Run.objects.values_list("pk", flat=True)) == compared | {reviewed.pk, learned.pk}
    assert SafetyCheck.objects.filter(review="wrong").count() == 1
    assert SafetyExample.objects.get().run == learned


def test_a_batch_holds_few_rows(monkeypatch):
    for _ in range(8):
        old_run()
    left = []
    monkeypatch.setattr(passes.time, "sleep", lambda seconds: left.append(Run.objects.filter(erased_at=None).count()))
    erase_expired()
    assert left == [5, 2, 0]
    left.clear()
    monkeypatch.setattr(passes.time, "sleep", lambda seconds: left.append(Run.objects.count()))
    delete_expired()
    assert left == [5, 2, 0]


def test_many_runs_that_stay_do_not_stop_a_pass(actor):
    answer(compare(actor, inputs=5))
    Run.objects.update(at=timezone.now() - timedelta(days=900))
    same_moment = timezone.now() - timedelta(days=5)
    for _ in range(7):
        Run.objects.filter(pk=old_run().pk).update(at=same_moment)
    assert (erase_expired(), delete_expired()) == (7, 7)


def test_a_server_that_stops_ends_the_pass_and_the_next_one_continues(monkeypatch):
    for _ in range(8):
        old_run()
    erase_expired()
    monkeypatch.setattr(passes.time, "sleep", lambda seconds: monkeypatch.setattr(gate, "closed", True))
    assert delete_expired() == 3
    assert (Run.objects.count(), entries("run.deleted")) == (5, [{"runs": 3, "days": 2}])
    assert delete_expired() == 0
    monkeypatch.setattr(gate, "closed", False)
    monkeypatch.setattr(passes.time, "sleep", lambda seconds: None)
    assert delete_expired() == 5
    assert entries("run.deleted") == [{"runs": 3, "days": 2}, {"runs": 5, "days": 2}]


def test_the_runs_of_a_process_that_was_killed_are_recorded_by_the_next_pass(monkeypatch):
    runs = [old_run() for _ in range(8)]
    erase_expired()

    def die(seconds: float) -> None:
        raise SystemExit

    monkeypatch.setattr(passes.time, "sleep", die)
    with pytest.raises(SystemExit):
        delete_expired()
    assert (Run.objects.count(), entries("run.deleted")) == (5, [])
    assert deletion_of(runs[0].pk)
    monkeypatch.setattr(passes.time, "sleep", lambda seconds: None)
    assert delete_expired() == 5
    assert entries("run.deleted") == [{"runs": 8, "days": 2}]
    assert RunExpiry.objects.filter(kind="delete").count() == 1


@pytest.mark.parametrize(("work", "action"), [(erase_expired, "run.expired"), (delete_expired, "run.deleted")])
def test_two_processes_never_do_the_same_twice(monkeypatch, work, action):
    for _ in range(8):
        old_run()
    if work is delete_expired:
        erase_expired()
    done = []

    def other_process(seconds: float) -> None:
        monkeypatch.setattr(passes.time, "sleep", lambda seconds: None)
        done.append(work())

    monkeypatch.setattr(passes.time, "sleep", other_process)
    done.append(work())
    assert done == [5, 3]
    assert entries(action)[0]["runs"] == 8
    assert len(entries(action)) == 1
    if work is delete_expired:
        assert sum(RunTotals.objects.values_list("runs", flat=True)) == 8


def test_a_process_gives_way_to_one_that_is_in_the_middle_of_a_pass(monkeypatch):
    for _ in range(8):
        old_run()
    chosen = passes._next

    def slow(*arguments):
        found = chosen(*arguments)
        monkeypatch.setattr(passes, "_next", chosen)
        RunExpiry.objects.create(kind="erase", days=1, batches=1)  # the other one was quicker
        return found

    monkeypatch.setattr(passes, "_next", slow)
    assert erase_expired() == 0
    assert Run.objects.filter(erased_at=None).count() == 8


def recorded_runs(seed: int, versions: list[Version]) -> None:
    """Record runs of the last ten days, of all kinds, with latencies of every size, on versions, drafts and neither."""
    generator = random.Random(seed)
    for _ in range(120):
        version = generator.choice([*versions, None])
        status = generator.choice(["succeeded"] * 6 + ["failed", "canceled", "blocked"])
        run = old_run(
            generator.uniform(0, 10),
            operation=generator.choice(["enhance", "rewrite", "auto_extend"]),
            status=status,
            source=generator.choice(["preview"] * 5 + ["test", "comparison"]),
            fallback_used=generator.random() < 0.3,
            truncated=generator.random() < 0.1,
            latency_ms=10 ** generator.uniform(-3, 5),
            cost=generator.choice([None, generator.uniform(0, 0.01)]),
            cost_estimated=generator.random() < 0.1,
            drill=generator.choice([""] * 6 + ["503 on p1"]),
            revision=generator.choice([1, 2]),
            template=version.template if version else None,
            version=version if generator.random() < 0.8 else None,
            contract=generator.choice([None, *ContractOutcome.values]),
        )
        if generator.random() < 0.1:
            run.safety_checks.update(review="right")


def assert_same(before: figures.Tally, after: figures.Tally) -> None:
    names = ("runs", "answered", "fallbacks", "failed", "fallback", "errors", "cost_estimated")
    assert {name: getattr(before, name) for name in names} == {name: getattr(after, name) for name in names}
    for name, error in (("cost", 1e-9), ("p50", ERROR + 1e-9), ("p95", ERROR + 1e-9)):
        then, now = getattr(before, name), getattr(after, name)
        assert now == (None if then is None else pytest.approx(then, rel=error, abs=0.01 if name != "cost" else None))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns"])
@pytest.mark.parametrize("seed", [1, 2])
def test_figures_are_the_same_before_and_after(monkeypatch, publish, zone, seed):
    monkeypatch.setattr(timezone, "now", lambda: NOW)
    monkeypatch.setattr(passes, "BATCH", 20)
    versions = [publish(name, text) for name in ("enhance", "rewrite") for text in ("First.", "Second.")]
    recorded_runs(seed, versions)
    templates = {version.template for version in versions}
    with timezone.override(ZoneInfo(zone)):
        before = {hours: figures.figures(hours) for hours in figures.STEP_MINUTES}
        met = [contract_figures(template) for template in templates]
        began = timeline.revision_page(2).runs
        erase_expired()
        deleted = delete_expired()
        after = {hours: figures.figures(hours) for hours in figures.STEP_MINUTES}
        page = timeline.revision_page(2)
    assert deleted > 60
    assert page.deleted_runs
    assert page.runs + page.deleted_runs == began
    assert [contract_figures(template) for template in templates] == met
    assert all(len(figures.rows) == 3 and figures.total.checked > 10 for figures in met)
    assert after[168].runs == before[168].runs
    for hours, was in before.items():
        for then, now in zip(was.operations, after[hours].operations, strict=True):
            assert_same(then.total, now.total)
            assert [at for at, _ in then.steps] == [at for at, _ in now.steps]
            for (_, step_then), (_, step_now) in zip(then.steps, now.steps, strict=True):
                assert_same(step_then, step_now)


def test_totals_keep_what_cannot_be_counted_again(monkeypatch):
    moment = NOW - timedelta(days=3)
    monkeypatch.setattr(timezone, "now", lambda: NOW)
    for minute, fields in (
        (0, {"truncated": True, "contract": "repaired"}),
        (10, {"input_masked": True, "contract": "repaired"}),
        (40, {"cost": 0.5, "cost_estimated": True}),
    ):
        run = old_run(provider="groq", **fields)
        Run.objects.filter(pk=run.pk).update(at=moment + timedelta(minutes=minute))
    erase_expired()
    delete_expired()
    totals = RunTotals.objects.order_by("hour").first()
    assert totals.hour == moment.replace(minute=0)
    counts = {name: getattr(totals, name) for name in ("runs", "truncated", "masked", "attempts", "input_tokens")}
    assert counts == {"runs": 3, "truncated": 1, "masked": 1, "attempts": 3, "input_tokens": 15}
    assert (totals.output_tokens, totals.cost, totals.cost_estimated, totals.provider) == (21, 0.5, 1, "groq")
    assert (totals.at_once, totals.fell_back, totals.repaired, totals.breached) == (0, 0, 2, 0)
    assert RunTotals.objects.count() == 1
