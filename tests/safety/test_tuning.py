"""Trying texts on the filter, and tuning its thresholds, terms and models, over HTTP."""

import hashlib
import io
import json

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.engine.safety.evaluation import as_markdown, read_figures
from promptops.engine.safety.guard import SHIPPED, read_manifest
from promptops.ledger import audit
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry
from promptops.runs.models import Run, SafetyCheck
from promptops.safety import guards
from promptops.safety.actions.safety import SafetyChange, Term, change_safety, use_model
from promptops.safety.models import SafetyModelVersion, SafetySettings, SafetyTerm
from promptops.safety.queries import past
from promptops.safety.queries import safety as queries

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _time_to_score(monkeypatch):
    """Pages score for 50 ms and fetch the rest later. On a busy machine that would fail these tests."""
    monkeypatch.setattr(past, "BUDGET_SECONDS", 10.0)


BAD = "a man is beheaded and his bloody corpse lies on the floor"
OWN = read_manifest(SHIPPED / "current.json").thresholds


@pytest.fixture(autouse=True)
def _fresh_models(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    yield
    guards.forget_models()


def change(**parts):
    expected = SafetySettings.objects.get(pk=1).changed_revision
    return change_safety(SafetyChange(**parts), by=Actor("Tests"), expected=expected)


def make_run(**fields) -> Run:
    given = {"source": "preview", "operation": "enhance", "temperature": 1, "max_tokens": 1, "revision": 0}
    return Run.objects.create(**given | {"latency_ms": 1, "status": "succeeded", "input": "a fox in snow"} | fields)


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


def test_try_shows_that_a_model_cannot_judge(client_for, editor, monkeypatch, tmp_path):
    monkeypatch.setattr(guards, "SHIPPED", tmp_path)
    guards.forget_models()
    html = try_text(client_for(editor, htmx=True), "a fox in the snow")
    assert "not judged" in html
    assert "model-1.ftz" in html
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
    blocked = judged_run(0.9, input=BAD, input_masked=True, output="gory", output_masked=True)
    erased = judged_run(0.9, erased_at=timezone.now())
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
    html = replayed(client, violence="0.95")
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
    given = {"violence": "1", "expected": "0"}
    assert (
        "fails its self-test"
        in client_for(releaser, htmx=True).post(reverse("safety_thresholds"), given).content.decode()
    )


def test_precision_and_recall_on_labeled_texts(client_for, viewer):
    client = client_for(viewer, htmx=True)
    html = replayed(client)
    assert "270 texts of the rubric" in html
    assert "(46 of 72)" in html  # the recall in the manifest: 0.6389
    assert "proposed" not in html
    html = replayed(client, violence="0.5")
    assert '<rect class="proposed"' in html
    judged_run(0.9, check={"decision": "block", "review": "right"})
    judged_run(0.9, check={"decision": "block", "review": "wrong"})
    html = replayed(client)
    assert "2 reviewed texts of runs" in html
    assert "(47 of 73)" in html


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
    judged_run(0.9, input="an acme cola and nothing else")
    judged_run(0.9, input=BAD)
    client = client_for(viewer, htmx=True)
    assert "Would have blocked <b>2</b> of 2 runs" in replayed(client)
    change(terms=(Term("deny", "acme cola", "other"), Term("allow", "is beheaded and his bloody corpse lies")))
    html = replayed(client)
    assert "Would have blocked <b>0</b> of 2 runs" in html
    assert "1 run contains a denied term" in " ".join(html.split())
    run = judged_run(0.9, revision=1)  # with these terms
    assert "Would have blocked <b>1</b> of 3 runs" in replayed(client)
    change(thresholds={"hate": 0.5})  # scores do not depend on thresholds
    assert "2 texts judged by another model or other terms" in replayed(client)
    change(terms=())
    assert "Would have blocked <b>1</b> of 3 runs" in replayed(client)  # with the model's real scores
    assert run.safety_checks.get().scores["violence"] == 0.9


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


def preview(client, **given) -> str:
    return client.post(reverse("safety_terms_preview"), {"kind": "deny", "category": "other"} | given).content.decode()


def test_terms_show_the_past_runs_that_they_match(client_for, releaser, editor):
    first = make_run(input="A c.a.s.i.n.o by the sea", output="calm")
    make_run(input="a fox", output="it goes GAMBLING at night")
    masked = make_run(input=f"{BAD} in a casino", input_masked=True)
    make_run(input="a casino", erased_at=timezone.now())
    make_run(input="a casino " * 2000)  # too long: the filter refuses the text unread
    client = client_for(releaser, htmx=True)
    html = preview(client, terms="casino\n\n gambl* ")
    assert "Matches <b>3</b> of 4 runs" in html
    assert html.count("newly blocked") == 2
    assert html.count("blocked, as now") == 1
    assert f"/runs/{first.pk}/" in html
    assert f"/runs/{masked.pk}/" in html
    assert "beheaded" not in html
    html = preview(client, kind="allow", terms="his bloody corpse\nbeheaded")
    assert "Matches <b>1</b> of 4 runs" in html
    assert "would pass" in html
    assert client_for(editor).post(reverse("safety_terms_preview"), {"terms": "fox"}).status_code == 403
    assert not SafetyTerm.objects.exists()


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ("\u200b\u200d", "no letters or digits"),
        ("...", "no letters or digits"),
        ("*", "no letters or digits"),
        ("an*", "would match nearly every text"),
        ("x" * 201, "longer than 200"),
        ("fox\x00", "Null characters"),
        ("acme cola", "already exists"),
        ("ACME  c.o.l.a", "read the same"),
        ("kill\nk1ll", "read the same"),
        ("old town", "is allowed and denied"),
        ("<img src=x> an*", "&lt;img src=x&gt; an*"),
        ("\n".join(f"word {n}" for n in range(201)), "at most 200 at once"),
    ],
)
def test_an_invalid_term_is_refused(client_for, releaser, terms, message):
    change(terms=(Term("deny", "acme cola", "other"), Term("allow", "old town")))
    client = client_for(releaser, htmx=True)
    given = {"kind": "deny", "category": "hate", "terms": terms, "expected": "1"}
    html = preview(client, terms=terms)
    panel = client.post(reverse("safety_terms"), given)
    assert message in html
    assert panel.status_code == 409
    assert message in panel.content.decode()
    assert SafetyTerm.objects.count() == 2


def test_a_releaser_adds_and_removes_terms(client_for, releaser, editor, viewer):
    make_run(input="drink acme cola")
    address = reverse("safety_terms")
    given = {"kind": "deny", "category": "other", "terms": "Acme Cola\r\ngambl*", "expected": "0"}
    assert client_for(editor).post(address, given).status_code == 403
    assert "can add and remove terms" in client_for(viewer).get(address).content.decode()
    client = client_for(releaser, htmx=True)
    panel = client.post(address, given).content.decode()
    assert "They match 1 of the newest 1 run." in panel
    assert "deny: Acme Cola (other)" in panel
    assert not SafetyTerm.objects.exists()
    assert client.post(address, given | {"confirm": "1", "note": "Brand"})["HX-Redirect"] == address
    assert set(SafetyTerm.objects.values_list("text", flat=True)) == {"Acme Cola", "gambl*"}
    assert client.post(address, given | {"terms": "bolt", "confirm": "1"}).status_code == 409  # stale
    page = client_for(viewer).get(address).content.decode()
    assert "gambl*" in page
    assert "Remove…" not in page
    away = {"kind": "deny", "text": "Acme Cola", "expected": "1"}
    panel = client.post(reverse("safety_term_remove"), away).content.decode()
    assert "It matches 1 of the newest 1 run." in panel
    assert client.post(reverse("safety_term_remove"), away | {"confirm": "1"})["HX-Redirect"] == address
    assert SafetyTerm.objects.get().text == "gambl*"
    assert client.post(reverse("safety_term_remove"), away).status_code == 409


def test_the_panel_warns_of_a_term_that_fails_the_self_test(client_for, releaser):
    given = {"kind": "deny", "category": "other", "terms": "fox", "expected": "0"}
    html = client_for(releaser, htmx=True).post(reverse("safety_terms"), given).content.decode()
    assert "fails its self-test" in html


def test_hits_cost_the_same_queries_at_1_and_900_runs(client_for, releaser):
    client = client_for(releaser, htmx=True)

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            html = preview(client, terms="fox")
        assert "still to be read" not in html
        return len(captured)

    make_run()
    count()
    few = count()
    for number in range(899):
        make_run(input=f"fox {number}")
    while "still to be read" in preview(client, terms="fox"):
        pass
    assert count() == few
    assert "Matches <b>900</b> of 900 runs" in preview(client, terms="fox")


def second_model(**held_out) -> SafetyModelVersion:
    first = SafetyModelVersion.objects.get(number=1)
    data = (SHIPPED / "model-1.ftz").read_bytes() + b"\0"
    manifest = first.manifest | {"held_out": first.manifest["held_out"] | held_out, "file": "model-2.ftz"}
    sha256 = hashlib.sha256(data).hexdigest()
    return SafetyModelVersion.objects.create(
        number=2, data=data, sha256=sha256, manifest=manifest, user_name="Ada", note="Trained again"
    )


def test_the_documented_figures_are_on_the_page_and_in_the_docs(client_for, viewer):
    version = SafetyModelVersion.objects.get(number=1)
    figures = queries.figures_of(version)
    docs = (settings.BASE_DIR / "docs" / "safety.md").read_text()
    html = client_for(viewer).get(reverse("safety_models")).content.decode()
    assert set(figures["tables"]) >= {"By source", "AUROC", "By sort", "What blocks"}
    assert f"A video prompt takes {figures['milliseconds']:.3f} ms" in docs
    for title, table in figures["tables"].items():
        assert f"**{title}**" in docs
        assert as_markdown(table) in docs
        assert title in html
    assert '<td>enhanced video prompts</td><td>harmless</td><td class="num">944</td>' in html
    assert queries.figures_of(SafetyModelVersion(manifest=version.manifest, sha256="0" * 64)) is None
    assert queries.figures_of(SafetyModelVersion(manifest={"file": "../../x.ftz"}, sha256=version.sha256)) is None


def test_models_are_listed_with_their_figures(client_for, viewer, releaser):
    second_model(recall=0.71, recall_by_category={"hate": 0.5})
    html = client_for(viewer).get(reverse("safety_models")).content.decode()
    assert "0.948" in html
    assert "63.9%" in html
    assert "71.0%" in html
    assert "Trained again" in html
    assert "Make model 2 current" not in html
    assert "Make model 2 current" in client_for(releaser).get(reverse("safety_models")).content.decode()


def test_a_table_of_figures_may_be_empty(client_for, viewer, monkeypatch):
    """Such as "What blocks", if nothing was blocked."""
    figures = queries.figures_of(SafetyModelVersion.objects.get(number=1))
    tables = figures["tables"] | {"What blocks": []}
    monkeypatch.setattr(queries, "figures_of", lambda version: figures | {"tables": tables})
    assert "What blocks" in client_for(viewer).get(reverse("safety_models")).content.decode()


def test_models_cost_the_same_queries_however_many(client_for, viewer, django_assert_max_num_queries):
    client = client_for(viewer)
    client.get(reverse("safety_models"))
    with CaptureQueriesContext(connection) as one:
        client.get(reverse("safety_models"))
    second_model()
    with django_assert_max_num_queries(len(one)):
        client.get(reverse("safety_models"))


def test_another_model_goes_live_and_back_in_two_clicks(client_for, releaser, editor):
    second_model(recall=0.71)
    address = reverse("safety_model_live", args=[2])
    assert client_for(editor).post(address, {"expected": "0"}).status_code == 403
    client = client_for(releaser, htmx=True)
    panel = client.post(address, {"expected": "0"}).content.decode()
    assert "63.9%" in panel
    assert "<b>71.0%</b>" in panel
    assert "Threshold of self-harm" in panel
    assert "fails its self-test" not in panel
    assert client.post(address, {"expected": "7", "confirm": "1"}).status_code == 409
    assert client.post(address, {"expected": "0", "confirm": "1", "note": "Better"})["HX-Redirect"]
    assert SafetySettings.objects.get(pk=1).model.number == 2
    assert AuditEntry.objects.get(action="safety.model_changed").note == "Better"
    assert client.post(address, {"expected": "1"}).status_code == 409
    page = client.get(reverse("safety_models")).content.decode()
    assert "Make model 1 current again" in page
    assert "Not evaluated" in page
    back = reverse("safety_model_live", args=[1])
    assert client.post(back, {"expected": "1", "confirm": "1"})["HX-Redirect"]
    assert SafetySettings.objects.get(pk=1).model.number == 1
    assert client.post(reverse("safety_model_live", args=[9])).status_code == 404


def test_the_panel_warns_of_a_model_that_cannot_be_loaded(client_for, releaser):
    version = second_model()
    SafetyModelVersion.objects.filter(pk=version.pk).update(data=b"not a model")
    panel = client_for(releaser, htmx=True).post(reverse("safety_model_live", args=[2]), {"expected": "0"})
    assert "fails its self-test" in panel.content.decode()


def test_evaluating_writes_its_figures(tmp_path):
    (tmp_path / "video_prompts.tsv").write_text("prompt\tenhanced\na fox\ta fox in snow\n")
    (tmp_path / "image_prompts.tsv").write_text("prompt\tcategory\na fox\tAnimals\n")
    (tmp_path / "xstest.tsv").write_text(f"prompt\tlabel\ttype\n{BAD}\tunsafe\tcontrast\nhow to kill time\tsafe\tx\n")
    target = tmp_path / "figures.json"
    call_command("evaluate_safety", data=tmp_path, json=target, stdout=io.StringIO())
    found = json.loads(target.read_text())
    assert {row["source"] for row in found["tables"]["By source"]} == {
        "XSTest",
        "enhanced video prompts",
        "image prompts",
        "video prompts",
    }
    assert read_figures(target, found["sha256"])["tables"] == found["tables"]
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("evaluate_safety", data=tmp_path, json=tmp_path / "no" / "x.json", stdout=io.StringIO())


def test_a_rollback_to_an_earlier_release_takes_two_clicks(client_for, releaser, editor):
    first = (Term("deny", "Acme (cola)", "other"), Term("allow", "old (town)"))
    change(terms=first, thresholds={"violence": 0.123456}, mode="enforce")
    change(terms=(Term("deny", "bolt", "hate"),), thresholds={"hate": 0.9}, when_language="allow", when_down="allow")
    page = client_for(releaser).get(reverse("safety")).content.decode()
    assert "Roll back to r1" in page
    assert "Roll back to r2" not in page
    address = reverse("safety_roll_back", args=[1])
    assert "Roll back to r1" in client_for(releaser).get(reverse("revision", args=[1])).content.decode()
    assert "Roll back" not in client_for(releaser).get(reverse("revision", args=[2])).content.decode()
    assert client_for(editor).post(address, {"expected": "2"}).status_code == 403
    assert "Roll back to r1" not in client_for(editor).get(reverse("safety")).content.decode()
    client = client_for(releaser, htmx=True)
    panel = client.post(address, {"expected": "2"}).content.decode()
    for label in (
        "Threshold of violence",
        "0.1235",
        "Denied: bolt (hate)",
        "Denied: Acme (cola) (other)",
        "Block it",
    ):
        assert label in panel
    assert client.post(address, {"expected": "2", "confirm": "1", "note": "Worked"})["HX-Redirect"]
    config = SafetySettings.objects.get(pk=1)
    assert (config.mode, config.when_language, config.thresholds) == ("enforce", "block", {"violence": 0.123456})
    restored = {(term.kind, term.text, term.category) for term in SafetyTerm.objects.all()}
    assert restored == {(term.kind, term.text, term.category) for term in first}
    assert audit.sentence(AuditEntry.objects.get(action="safety.rolled_back")).endswith(
        "rolled the safety filter back (as r1 had it)"
    )
    again = client.post(address, {"expected": "3"})
    assert again.status_code == 409
    assert "No changes to release" in again.content.decode()


def test_a_rollback_to_the_installation_restores_its_model(client_for, releaser):
    use_model(second_model(), by=Actor("Tests"), expected=0)
    change(mode="off", thresholds={"violence": 0.5})
    client = client_for(releaser, htmx=True)
    address = reverse("safety_roll_back", args=[0])
    assert client.post(address, {"expected": "2", "confirm": "1"})["HX-Redirect"]
    config = SafetySettings.objects.get(pk=1)
    assert (config.mode, config.model.number, config.thresholds) == ("shadow", 1, {})
    assert "is unknown" in client.post(reverse("safety_roll_back", args=[9])).content.decode()


def test_a_rollback_is_refused_and_both_states_are_shown_if_the_filter_has_changed_since(client_for, releaser):
    change(thresholds={"violence": 0.3})
    change(thresholds={"violence": 0.4})
    change(thresholds={"violence": 0.6})
    response = client_for(releaser, htmx=True).post(reverse("safety_roll_back", args=[1]), {"expected": "2"})
    assert response.status_code == 409
    html = response.content.decode()
    assert "Someone changed the safety filter in the meantime" in html
    assert "0.6000" in html
    assert "0.3000" in html
    assert SafetySettings.objects.get(pk=1).changed_revision == 3
