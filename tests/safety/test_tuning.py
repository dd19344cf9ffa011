"""Trying texts on the filter, and replaying its thresholds, over HTTP."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.ledger.models import AuditEntry
from promptops.runs.models import Run, SafetyCheck
from promptops.safety import guards
from promptops.safety.actions.filter_settings import Term
from promptops.safety.models import SafetyModelVersion, SafetySettings
from promptops.safety.queries import past
from tests.safety.helpers import BAD, OWN, change, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _time_to_score(monkeypatch):
    """Pages score for 50 ms and fetch the rest later. On a busy machine that would fail these tests."""
    monkeypatch.setattr(past, "BUDGET_SECONDS", 10.0)


@pytest.fixture(autouse=True)
def _fresh_models(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    yield
    guards.forget_models()


def try_text(client, text: str) -> str:
    return client.post(reverse("safety_try"), {"text": text}).content.decode()


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
def test_try_shows_scores_and_why(client_for, editor, django_assert_max_num_queries, mode):
    if mode != "shadow":
        change(mode=mode)
    client = client_for(editor, htmx=True)
    try_text(client, "warm up")
    entries = AuditEntry.objects.count()
    with django_assert_max_num_queries(4):  # the session, the person; nothing is written
        html = try_text(client, f"{BAD} while people buy fresh bread and flowers at the old market")
    assert "<html" not in html
    assert (">blocked</span>" in html) == (mode == "enforce")
    assert ("would be blocked" in html) == (mode != "enforce")
    assert f"over {OWN['violence']:.2f}" in html
    assert "<mark>beheaded</mark>" in html
    assert "over the threshold of violence" in html
    assert {"off": "The filter is off", "shadow": "In shadow", "enforce": "is blocked."}[mode] in html
    assert not Run.objects.exists()
    assert not SafetyCheck.objects.exists()
    assert AuditEntry.objects.count() == entries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" \n ", "Type or paste a text first"),
        ("a fox runs through fresh snow", "no score reaches its threshold"),
        ("a " * 4097, "at most 8192 are read"),
        ("ein Fuchs rennt schnell durch frischen Schnee", "know enough of these words to judge them (mostly German)"),
        ("drink acme cola", "the denied term"),
        ("old town", "the text contains nothing else"),
        ("an old town of acme cola", "Ignored (allowed terms)"),
        ("<script>alert(1)</script> a fox\x00 in </s> __label__safe snow \u202e \U0001f98a", "As the filter read it"),
    ],
)
def test_try_takes_any_text(client_for, editor, text, message):
    change(terms=(Term("deny", "acme cola", "other"), Term("allow", "old town")))
    html = try_text(client_for(editor, htmx=True), text)
    assert message in html
    assert "<script" not in html


def test_try_shows_the_category_that_decided_first(client_for, editor):
    html = try_text(client_for(editor, htmx=True), "suicide by hanging cut wrists")
    scores = html[html.index("details scores") :]
    assert scores.index("self-harm") < scores.index("dangerous")


@pytest.mark.django_db(transaction=True)  # the thread that loads the model looks for it in the database, too
def test_try_shows_that_a_model_cannot_judge(client_for, editor, monkeypatch, tmp_path):
    monkeypatch.setattr(guards, "SHIPPED", tmp_path)
    guards.forget_models()
    html = try_text(client_for(editor, htmx=True), "a fox in the snow")
    assert "not judged" in html
    assert "model-2.ftz" in html
    assert "allowed" not in html


def test_try_works_without_htmx_and_keeps_the_text(client_for, editor):
    html = try_text(client_for(editor), BAD)
    assert f">{BAD}</textarea>" in html
    assert "would be blocked" in html


def test_try_takes_the_text_of_a_run_unless_it_is_masked(client_for, editor):
    run = make_run(input=BAD, input_masked=True, output="a calm answer")
    client = client_for(editor)
    address = reverse("safety_try")
    html = client.get(address, {"run": run.pk}).content.decode()
    assert "beheaded" not in html
    assert "is masked" in html
    assert "a calm answer</textarea>" in client.get(address, {"run": run.pk, "side": "output"}).content.decode()
    assert client.get(address, {"run": "x"}).status_code == 404
    assert client.get(address, {"run": "99"}).status_code == 404


def test_try_is_for_those_who_may_run_previews(client_for, viewer):
    assert client_for(viewer).get(reverse("safety_try")).status_code == 403
    assert client_for(viewer).post(reverse("safety_try"), {"text": BAD}).status_code == 403
    assert reverse("safety_try") not in client_for(viewer).get(reverse("safety")).content.decode()


SCORES = {"violence": 0.6, "hate": 0.1, "sexual": 0.01, "dangerous": 0.2, "self_harm": 0.0, "other": 0.1}


def judged_run(violence: float = 0.6, side: str = "input", *, check: dict | None = None, **fields) -> Run:
    run = make_run(**fields)
    given = {"decision": "allow", "layer": "model", "scores": SCORES | {"violence": violence}, "mode": "shadow"}
    given["model"] = SafetyModelVersion.objects.get(number=1)
    SafetyCheck.objects.create(run=run, side=side, **given | (check or {}))
    return run


def replayed(client, **thresholds) -> str:
    return client.get(reverse("safety_thresholds"), thresholds).content.decode()


def test_thresholds_are_replayed_over_past_runs(client_for, viewer):
    passes = judged_run(0.6, input="a stormy sea")
    blocked = judged_run(0.96, input=BAD, input_masked=True, output="gory", output_masked=True)
    erased = judged_run(0.96, erased_at=timezone.now())
    judged_run(check={"layer": "deny_terms", "decision": "block", "scores": {}})
    client = client_for(viewer, htmx=True)
    html = replayed(client)
    assert "Would have blocked <b>1</b> of 3 runs" in html
    assert "1 run contains a denied term. Thresholds don't affect it." in " ".join(html.split())
    html = replayed(client, violence="0.5")
    assert "Would have blocked <b>2</b> of 3 runs" in html
    assert "(now: 1)" in html
    assert "1 more blocked" in html
    assert "a stormy sea" in html
    assert "beheaded" not in html
    assert f"/runs/{passes.pk}/" in html
    assert f"/runs/{blocked.pk}/" in html
    assert f"/runs/{erased.pk}/" not in html
    html = replayed(client, violence="0.97")
    assert "Would have blocked <b>0</b> of 3 runs" in html
    assert "would pass" in html


def test_the_address_keeps_proposed_thresholds(client_for, viewer):
    client = client_for(viewer, htmx=True)
    shown = {"hate": f"{OWN['hate']:.4f}", "violence": "0.5", "evil": "<b>"}
    response = client.get(reverse("safety_thresholds"), shown)
    assert response["HX-Replace-Url"] == f"{reverse('safety_thresholds')}?violence=0.5"
    assert "<html" not in response.content.decode()
    page = client_for(viewer).get(reverse("safety_thresholds"), shown).content.decode()
    assert 'name="violence" min="0.01" max="1" step="any" value="0.5"' in page
    assert "Review and release" not in page


@pytest.mark.parametrize("value", ["", "0", "1.01", "nan", "inf", "-1", "1e400", "<script>", "0,5", "\x00"])
def test_an_invalid_threshold_is_refused(client_for, releaser, value):
    client = client_for(releaser, htmx=True)
    assert "The threshold of violence must be a number from 0.01 to 1." in replayed(client, violence=value)
    panel = client.post(reverse("safety_thresholds"), {"violence": value, "expected": 0, "confirm": 1})
    assert panel.status_code == 409
    assert SafetySettings.objects.get(pk=1).thresholds == {}


def test_a_releaser_reviews_and_releases_thresholds(client_for, releaser, editor):
    judged_run(0.6)
    address, given = reverse("safety_thresholds"), {"violence": "0.5", "hate": f"{OWN['hate']:.4f}", "expected": "0"}
    assert client_for(editor).post(address, given).status_code == 403
    client = client_for(releaser, htmx=True)
    panel = client.post(address, given).content.decode()
    assert f"{OWN['violence']:.4f}" in panel
    assert "0.5000" in panel
    assert "Of the newest 1 run, these thresholds would have blocked 1; the present ones, 0." in panel
    assert client.post(address, given | {"confirm": "1"})["HX-Redirect"] == address
    assert SafetySettings.objects.get(pk=1).thresholds == {"violence": 0.5}  # hate stays the model's own
    assert client.post(address, given | {"confirm": "1"}).status_code == 409  # stale
    again = {"violence": "0.5", "expected": "1", "confirm": "1"}
    refused = client.post(address, again).content.decode()
    assert "No changes to release" in refused
    assert 'name="confirm"' not in refused  # trying again would not help
    assert client.post(address, {"violence": f"{OWN['violence']:.4f}", "expected": "1", "confirm": "1"})["HX-Redirect"]
    assert SafetySettings.objects.get(pk=1).thresholds == {}


def test_the_panel_warns_of_a_filter_that_would_fail(client_for, releaser):
    given = {"sexual": "1", "expected": "0"}
    assert (
        "fails its self-test"
        in client_for(releaser, htmx=True).post(reverse("safety_thresholds"), given).content.decode()
    )


def test_precision_and_recall_on_labeled_texts(client_for, viewer):
    client = client_for(viewer, htmx=True)
    html = replayed(client)
    assert "436 texts of the rubric" in html
    assert "(76 of 134)" in html  # the recall in the manifest: 0.5672
    assert "proposed" not in html
    html = replayed(client, violence="0.5")
    assert '<rect class="proposed"' in html
    judged_run(0.96, check={"decision": "block", "review": "right"})
    judged_run(0.96, check={"decision": "block", "review": "wrong"})
    html = replayed(client)
    assert "2 reviewed texts of runs" in html
    assert "(77 of 135)" in html


def test_texts_that_another_model_judged_are_scored_again(client_for, viewer, monkeypatch):
    first = SafetyModelVersion.objects.get(number=1)
    other = SafetyModelVersion.objects.create(
        number=2, data=b"x", sha256="0" * 64, manifest=first.manifest, user_name="Ada"
    )
    run = judged_run(0.0, input=BAD, check={"model": other})
    client = client_for(viewer, htmx=True)
    monkeypatch.setattr(past, "BUDGET_SECONDS", -1)
    html = replayed(client)
    assert "1 is still to be scored" in " ".join(html.split())
    assert '<progress max="1" value="0"' in html
    html = replayed(client, score="1")  # the page's next request
    assert "Would have blocked <b>1</b> of 1 run" in html
    assert "<progress" not in html
    assert "1 text judged by another model or other terms was scored again with the present filter" in " ".join(
        html.split()
    )
    Run.objects.filter(pk=run.pk).update(erased_at=timezone.now(), input="")
    assert "No past runs yet" in replayed(client)


def test_terms_that_changed_since_count_in_a_replay(client_for, viewer):
    judged_run(0.96, input="an acme cola and nothing else")
    judged_run(0.96, input=BAD)
    client = client_for(viewer, htmx=True)
    assert "Would have blocked <b>2</b> of 2 runs" in replayed(client)
    change(terms=(Term("deny", "acme cola", "other"), Term("allow", "is beheaded and his bloody corpse lies")))
    html = replayed(client)
    assert "Would have blocked <b>0</b> of 2 runs" in html
    assert "1 run contains a denied term" in " ".join(html.split())
    run = judged_run(0.96, revision=1)  # with these terms
    assert "Would have blocked <b>1</b> of 3 runs" in replayed(client)
    change(thresholds={"hate": 0.5})  # scores do not depend on thresholds
    assert "2 texts judged by another model or other terms" in replayed(client)
    change(terms=())
    assert "Would have blocked <b>1</b> of 3 runs" in replayed(client)  # with the model's real scores
    assert run.safety_checks.get().scores["violence"] == 0.96


def test_replays_cost_the_same_queries_at_1_and_900_runs(client_for, viewer):
    client = client_for(viewer, htmx=True)

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert replayed(client, violence="0.5")
        return len(captured)

    judged_run(0.6)
    count()
    few = count()
    model = SafetyModelVersion.objects.get(number=1)
    runs = [make_run(input=f"take {number}") for number in range(899)]
    given = {"decision": "allow", "layer": "model", "scores": SCORES, "mode": "shadow", "model": model}
    SafetyCheck.objects.bulk_create(SafetyCheck(run=run, side="input", **given) for run in runs)
    assert count() == few
    html = replayed(client, violence="0.5")
    assert "<b>900</b> of 900 runs" in html
    assert "and 850 more" in html
