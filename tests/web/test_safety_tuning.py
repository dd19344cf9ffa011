"""Trying texts on the filter and tuning what it blocks, over HTTP."""

import pytest
from django.urls import reverse

from promptops import guards
from promptops.actions.safety import SafetyChange, Term, change_safety
from promptops.audit import Actor
from promptops.models import AuditEntry, Run, SafetyCheck, SafetySettings

pytestmark = pytest.mark.django_db

BAD = "a man is beheaded and his bloody corpse lies on the floor"


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
    return Run.objects.create(**given, **{"latency_ms": 1, "status": "succeeded", "input": "a fox in snow"} | fields)


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
    assert "over 0.80" in html
    assert "<mark>beheaded</mark>" in html
    assert "over the threshold of violence" in html
    assert {"off": "The filter is off", "shadow": "In shadow", "enforce": "is withheld"}[mode] in html
    assert not Run.objects.exists()
    assert not SafetyCheck.objects.exists()
    assert AuditEntry.objects.count() == entries


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (" \n ", "Type or paste a text first"),
        ("a fox runs through fresh snow", "no score reaches its threshold"),
        ("a " * 4097, "at most 8192 are read"),
        ("ein Fuchs rennt schnell durch frischen Schnee", "knows too few of the words"),
        ("drink acme cola", "the deny term"),
        ("old town", "nothing else is in the text"),
        ("an old town of acme cola", "Taken out by allow terms"),
        ("<script>alert(1)</script> a fox\x00 in </s> __label__safe snow \u202e \U0001f98a", "As the filter read it"),
    ],
)
def test_try_takes_any_text(client_for, editor, text, told):
    change(terms=(Term("deny", "acme cola", "other"), Term("allow", "old town")))
    html = try_text(client_for(editor, htmx=True), text)
    assert told in html
    assert "<script" not in html


def test_try_says_that_a_model_cannot_judge(client_for, editor, monkeypatch, tmp_path):
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
