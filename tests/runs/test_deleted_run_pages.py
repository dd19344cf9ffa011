"""Pages about deleted runs over HTTP."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from promptops.ledger.models import LiveConfiguration, Release
from promptops.runs.actions.deleting import delete_expired
from promptops.runs.actions.erasing import erase_expired
from tests.runs.test_run_pages import text_of

pytestmark = pytest.mark.django_db


def delete(run, days: int = 90) -> None:
    """Delete a run by its age."""
    type(run).objects.filter(pk=run.pk).update(at=timezone.now() - timedelta(days=days + 1))
    LiveConfiguration.objects.update(run_deletion_days=days)
    erase_expired()
    assert delete_expired() == 1


def test_a_deleted_run_has_a_page_that_says_why(client, make_run):
    run = make_run()
    delete(run)
    response = client.get(reverse("run", args=[run.pk]))
    assert response.status_code == 410
    page = text_of(response)
    assert f"Run {run.pk} was deleted on" in page
    assert "because runs are kept for 90 days." in page
    assert f'href="{reverse("runs")}"' in response.content.decode()


def test_an_open_page_of_the_run_shows_that_it_is_deleted(client_for, viewer, make_run):
    run, open_page = make_run(), client_for(viewer, htmx=True)
    delete(run)
    response = open_page.get(reverse("run", args=[run.pk]))
    assert response.status_code == 200
    assert re.search(r'id="run">.*This run is deleted', response.content.decode(), re.S)


def test_a_run_that_never_was_has_no_page(client, make_run):
    run = make_run()
    delete(run)
    assert client.get(reverse("run", args=[run.pk + 1])).status_code == 404


def test_a_deleted_run_can_be_neither_erased_nor_unmasked(client_for, administrator, make_run):
    run = make_run()
    delete(run)
    for name in ("run_erase", "run_reveal"):
        assert client_for(administrator).post(reverse(name, args=[run.pk]), {"confirm": "1"}).status_code == 404


def test_the_list_says_when_runs_are_deleted(client):
    assert "runs are deleted" not in text_of(client.get(reverse("runs")))
    LiveConfiguration.objects.update(run_deletion_days=1200)
    page = text_of(client.get(reverse("runs")))
    assert "Texts are erased after 30 days, runs are deleted after 1,200; figures stay" in page


def test_a_revision_counts_its_deleted_runs(client, make_run):
    Release.objects.create(revision=7, action="settings.changed", user_name="Ada")
    address = reverse("revision", args=[7])
    delete(make_run())
    assert "1 run began under this revision. All of them are deleted." in text_of(client.get(address))
    make_run()
    assert "began under this revision. 1 more was deleted." in text_of(client.get(address))
