"""Enforcing the safety filter: the forecast in the panel, and texts that can't be judged."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.engine.judging import SafetyChecked, blocked_sentence, masks
from promptops.engine.safety.guard import SafetyVerdict, UnjudgedCause, VerdictDecision
from promptops.engine.snapshot import SafetySpec
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry, Release
from promptops.live import snapshots as live
from promptops.runs.enums import SafetySide
from promptops.runs.models import Run, SafetyCheck
from promptops.runs.queries.outcomes import OUTCOMES
from promptops.safety.actions.filter_settings import SafetyChange, change_safety
from promptops.safety.models import SafetySettings
from promptops.safety.queries.forecast import forecast

pytestmark = pytest.mark.django_db

LANGUAGE_BLOCKS = {"mode": "enforce", "when_language": "block", "when_down": "block", "expected": "0"}


def judged_run(*checks: dict, hours_ago: float = 1, **fields) -> Run:
    """Make a run whose input and, with a second check, output the filter has judged."""
    at = timezone.now() - timedelta(hours=hours_ago)
    values = {"source": "preview", "operation": "enhance", "temperature": 1, "max_tokens": 1, "latency_ms": 1}
    run = Run.objects.create(**(values | {"revision": 0, "status": "succeeded", "input": "text", "at": at} | fields))
    for side, check in zip(("input", "output"), checks, strict=False):
        SafetyCheck.objects.create(**({"run": run, "side": side, "mode": "shadow", "at": at} | check))
    return run


PASSED = {"decision": "allow"}
HARMFUL = {"decision": "block"}
LONG = {"decision": "too_long"}
CHINESE = {"decision": "unavailable", "cause": "language", "language": "Chinese"}
SPANISH = {"decision": "unavailable", "cause": "language", "language": "Spanish"}
DOWN = {"decision": "unavailable", "cause": "down"}


@pytest.fixture
def past():
    """Runs by their outcome if enforced, and some that do not count."""
    runs = {
        "harmful": [judged_run(CHINESE, HARMFUL)],
        "too_long": [judged_run(LONG)],
        "language": [judged_run(CHINESE), judged_run(PASSED, CHINESE), judged_run(SPANISH)],
        "down": [judged_run(DOWN), judged_run(PASSED, {"decision": "unavailable", "cause": "other"})],
        "": [judged_run(PASSED, PASSED), judged_run(PASSED)],
    }
    judged_run(HARMFUL, hours_ago=25)
    judged_run()
    return runs


def test_the_forecast_counts_each_run_once_and_links_to_exactly_those_runs(past, client_for, viewer):
    result = forecast(SafetySettings.objects.get(pk=1))
    assert result.runs == sum(map(len, past.values()))
    assert result.counts == {outcome: len(past[outcome]) for outcome in OUTCOMES}
    assert result.main_language == "Chinese"
    every = Run.objects.order_by("pk")
    for outcome in OUTCOMES:
        html = client_for(viewer).get(f"{reverse('runs')}?{result.queries[outcome]}").content.decode()
        assert [run for run in every if f'/runs/{run.pk}/"' in html] == past[outcome]
        assert "From: <bdi>" in html


def test_at_most_a_thousand_runs_in_one_query_however_many_there_are():
    at = timezone.now() - timedelta(hours=1)
    values = {"source": "preview", "operation": "enhance", "temperature": 1, "max_tokens": 1, "latency_ms": 1}
    runs = Run.objects.bulk_create(
        Run(revision=0, status="succeeded", input="x", at=at + timedelta(seconds=number), **values)
        for number in range(1_100)
    )
    SafetyCheck.objects.bulk_create(
        SafetyCheck(run=run, side=side, mode="shadow", at=run.at, **(CHINESE if place < 150 else PASSED))
        for place, run in enumerate(runs)
        for side in ("input", "output")
    )
    config = SafetySettings.objects.get(pk=1)
    with CaptureQueriesContext(connection) as queries:
        result = forecast(config)
    assert len(queries) == 1
    assert (result.runs, result.counts["language"], result.since) == (1_000, 50, runs[100].at)


def test_enforcing_warns_and_the_panel_offers_the_choices(past, client_for, releaser):
    client, address = client_for(releaser, htmx=True), reverse("safety")
    panel = " ".join(client.post(address, LANGUAGE_BLOCKS).content.decode().split())
    assert "<b>9 runs</b> judged in the last 24 hours" in panel
    assert "<b>1</b> blocked as harmful" in panel
    assert "<b>3</b> blocked because they can't be judged (unknown language, mostly Chinese)" in panel
    assert "<b>2</b> blocked while the filter was down" in panel
    assert "Enforce: block harmful and unjudged texts</button>" in panel
    given = LANGUAGE_BLOCKS | {"in_panel": "1", "when_language": "allow", "note": "try"}
    panel = " ".join(client.post(address, given).content.decode().split())
    assert "<b>3</b> let pass although they can't be judged (unknown language" in panel
    assert "Enforce: block harmful texts, let unknown languages pass</button>" in panel
    assert 'value="try"' in panel
    assert SafetySettings.objects.get(pk=1).mode == "shadow"
    client.post(address, given | {"confirm": "1"})
    config, entry = SafetySettings.objects.get(pk=1), AuditEntry.objects.get(action="safety.changed")
    assert (config.mode, config.when_language, config.when_down) == ("enforce", "allow", "block")
    assert (entry.before, entry.after) == (
        {"mode": "shadow", "when_language": "block"},
        {"mode": "enforce", "when_language": "allow"},
    )


@pytest.mark.parametrize(
    ("language", "down", "button"),
    [
        ("block", "block", "Enforce: block harmful and unjudged texts"),
        ("allow", "allow", "Enforce: block harmful texts, let unjudged ones pass"),
        ("allow", "block", "Enforce: block harmful texts, let unknown languages pass"),
        ("block", "allow", "Enforce: block harmful texts and unknown languages"),
    ],
)
def test_the_button_says_what_it_does(client_for, releaser, language, down, button):
    given = LANGUAGE_BLOCKS | {"when_language": language, "when_down": down}
    panel = client_for(releaser, htmx=True).post(reverse("safety"), given).content.decode()
    assert f"{button}</button>" in panel
    assert "No run was judged in the last 24 hours" in panel


def test_choices_that_are_undone_in_the_panel_leave_nothing_to_confirm(client_for, releaser):
    change_safety(SafetyChange(mode="enforce"), by=Actor("Tests"), expected=0)
    client, address = client_for(releaser, htmx=True), reverse("safety")
    given = LANGUAGE_BLOCKS | {"expected": "1"}
    changed = client.post(address, given | {"when_down": "allow"}).content.decode()
    assert 'id="forecast"' in changed
    back = client.post(address, given | {"in_panel": "1", "confirm": "1"})
    assert back.status_code == 409
    assert "No changes to release" in back.content.decode()
    assert 'id="enforce-choices"' in back.content.decode()
    assert 'name="confirm"' not in back.content.decode()


def test_an_older_release_with_one_choice_sets_both_again(client_for, releaser):
    change_safety(SafetyChange(mode="enforce"), by=Actor("Tests"), expected=0)
    older = Release.objects.get(pk=1)
    kept = older.configuration
    del kept["safety"]["when_down"], kept["safety"]["when_language"]
    kept["safety"]["when_unavailable"] = "allow"
    older.store(kept)
    older.save()
    change_safety(SafetyChange(when_down="block", mode="shadow"), by=Actor("Tests"), expected=1)
    client, address = client_for(releaser, htmx=True), reverse("safety_roll_back", args=[1])
    panel = client.post(address, {"expected": "2"}).content.decode()
    assert "No run was judged in the last 24 hours" in panel
    client.post(address, {"expected": "2", "confirm": "1"})
    config = SafetySettings.objects.get(pk=1)
    assert (config.mode, config.when_language, config.when_down) == ("enforce", "allow", "allow")


def test_a_rollback_keeps_both_choices(client_for, releaser):
    change_safety(SafetyChange(when_language="allow"), by=Actor("Tests"), expected=0)
    change_safety(SafetyChange(when_language="block", when_down="allow"), by=Actor("Tests"), expected=1)
    address = reverse("safety_roll_back", args=[1])
    client_for(releaser, htmx=True).post(address, {"expected": "2", "confirm": "1"})
    config = SafetySettings.objects.get(pk=1)
    assert (config.when_language, config.when_down) == ("allow", "block")


@pytest.mark.parametrize(
    ("cause", "spec", "stops"),
    [
        ("language", {"blocks_languages": True, "blocks_when_down": False}, True),
        ("language", {"blocks_languages": False, "blocks_when_down": True}, False),
        ("down", {"blocks_languages": False, "blocks_when_down": True}, True),
        ("other", {"blocks_languages": True, "blocks_when_down": False}, False),
    ],
)
def test_each_cause_has_its_own_choice(cause, spec, stops):
    verdict = SafetyVerdict(VerdictDecision.UNAVAILABLE, cause=UnjudgedCause(cause))
    assert SafetySpec(mode="enforce", **spec).stops(verdict) is stops


def test_the_snapshot_has_both_choices(django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        change_safety(SafetyChange(when_language="allow"), by=Actor("Tests"), expected=0)
    spec = live.current().safety
    assert (spec.blocks_languages, spec.blocks_when_down) == (False, True)


def test_the_sentence_says_that_blocking_is_a_choice_and_masks_no_input():
    verdict = SafetyVerdict(VerdictDecision.UNAVAILABLE, cause=UnjudgedCause.LANGUAGE, language="Spanish")
    check = SafetyChecked(SafetySide.INPUT, verdict, True)
    sentence = blocked_sentence(check, SafetySpec())
    assert "doesn't know enough of these words to judge the input (mostly Spanish)" in sentence
    assert "The settings block" in sentence
    assert "harm" not in sentence
    assert not masks(check)
    assert masks(SafetyChecked(SafetySide.OUTPUT, verdict, True))
    assert masks(SafetyChecked(SafetySide.INPUT, SafetyVerdict(VerdictDecision.BLOCK), False))


def test_pages_never_show_an_unjudged_text_as_harmful(client_for, viewer):
    made = judged_run(
        CHINESE | {"blocked": True, "mode": "enforce", "layer": "model", "reason": "It doesn't know the words"},
        status="blocked",
        input="una casa",
    )
    for address in (reverse("runs"), reverse("run", args=[made.pk])):
        html = client_for(viewer).get(address).content.decode()
        assert '<span class="chip warn">not judged, blocked</span>' in html
        assert '<span class="chip bad">blocked</span>' not in html
        assert "notice bad" not in html
        assert "una casa" in html
        assert "Masked" not in html
