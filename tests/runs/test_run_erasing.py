"""Erasing the text of a run over HTTP."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from promptops.ledger.models import AuditEntry
from tests.runs.test_run_pages import text_of

pytestmark = pytest.mark.django_db


def test_erasing_passes_the_panel_and_leaves_the_figures(client_for, administrator, make_run):
    client = client_for(administrator, htmx=True)
    run = make_run("a private wish", status="failed", error="groq refused: a private wish", output="", attempts=2)
    address = reverse("run_erase", args=[run.pk])
    panel = text_of(client.post(address))
    assert "Erased permanently" in panel
    assert "Kept" in panel
    run.refresh_from_db()
    assert run.input == "a private wish"
    response = client.post(address, {"confirm": "1"})
    assert response["HX-Redirect"] == reverse("run", args=[run.pk])
    page = client.get(reverse("run", args=[run.pk])).content.decode()
    assert "Text erased on" in page
    assert "a private wish" not in page
    assert "did not answer" not in page
    assert "1,234" in page
    assert address not in page
    assert "Texts erased" in text_of(client.get(reverse("runs")))
    assert AuditEntry.objects.filter(action="run.erased", object_id=str(run.pk)).count() == 1
    client.post(address, {"confirm": "1"})
    assert AuditEntry.objects.filter(action="run.erased").count() == 1


def test_only_an_administrator_erases(client_for, releaser, make_run):
    run, client = make_run(), client_for(releaser)
    assert reverse("run_erase", args=[run.pk]) not in client.get(reverse("run", args=[run.pk])).content.decode()
    assert client.post(reverse("run_erase", args=[run.pk]), {"confirm": "1"}).status_code == 403
    run.refresh_from_db()
    assert run.input == "a fox"


def test_erasing_is_not_done_by_following_a_link(client_for, administrator, make_run):
    run = make_run(at=timezone.now() - timedelta(days=1))
    assert client_for(administrator).get(reverse("run_erase", args=[run.pk]), {"confirm": "1"}).status_code == 405
    run.refresh_from_db()
    assert run.erased_at is None
