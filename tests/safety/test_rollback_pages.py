"""Rolling the safety filter back on its page."""

import pytest
from django.urls import reverse

from promptops.ledger import sentences
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry
from promptops.safety import guards
from promptops.safety.actions.filter_settings import Term, use_model
from promptops.safety.models import SafetySettings, SafetyTerm
from tests.safety.helpers import change, second_model

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_models(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    yield
    guards.forget_models()


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
    assert sentences.sentence(AuditEntry.objects.get(action="safety.rolled_back")).endswith(
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
