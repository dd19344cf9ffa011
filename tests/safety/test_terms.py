"""The page of terms over HTTP: matches in past runs, adding and removing terms."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.safety import guards
from promptops.safety.actions.filter_settings import Term
from promptops.safety.models import SafetyTerm
from promptops.safety.queries import past
from tests.safety.helpers import BAD, change, make_run

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
    assert "The new terms match 1 of the newest 1 run." in panel
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
