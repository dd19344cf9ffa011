"""The Settings page over HTTP."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.people.enums import Permission
from promptops.site import actions
from promptops.site.actions import Settings
from tests.factories import make_run

pytestmark = pytest.mark.django_db

NEW = {"timeout_ms": "9", "temperature": "0.2", "max_tokens": "256", "run_retention_days": "30", "expected": "0"}
URL = "/settings/"


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def config() -> LiveConfiguration:
    return LiveConfiguration.objects.get(pk=1)


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("releaser", False), ("administrator", True)])
def test_everybody_reads_administrators_change(role, may, client_for, make_user):
    client = client_for(make_user(role))
    page = client.get(URL).content.decode()
    assert re.search(r'value="20"|<b>20</b>', page)
    assert all(permission.label.split(":")[0] in page for permission in Permission)
    assert ("Review and save" in page) == may
    assert (reverse("people") in page) == may
    response = client.post(URL, NEW | {"confirm": "1"})
    assert response.status_code == (302 if may else 403)
    assert config().timeout_ms == (9000 if may else 20_000)


def test_the_page_shows_the_permission_table_of_the_code(client_for, viewer):
    page = client_for(viewer).get(URL).content.decode()
    rows = re.findall(r"<tr><td><b>.*?</tr>", page, re.S)
    granted = [re.findall(r'data-label="(\w+)">(?:(?!</td>).)*?>\s*(yes|no)<', row, re.S) for row in rows]
    answers = [[answer for _, answer in row] for row in granted]
    assert answers == [["yes"] * 4, ["no"] + ["yes"] * 3, ["no"] * 2 + ["yes"] * 2, ["no"] * 3 + ["yes"]]


def test_a_change_passes_the_panel(client_for, administrator):
    client = client_for(administrator, htmx=True)
    panel = text_of(client.post(URL, NEW))
    assert "Time limit of a run, in seconds 20 9" in panel
    assert "Default temperature 0.7 0.2" in panel
    assert "erased" not in panel
    assert config().timeout_ms == 20_000
    done = client.post(URL, NEW | {"confirm": "1", "note": "faster"})
    assert done["HX-Redirect"] == URL
    assert (config().timeout_ms, config().temperature) == (9000, 0.2)
    assert (AuditEntry.objects.first().action, AuditEntry.objects.first().note) == ("settings.changed", "faster")
    page = client.get(URL, headers={"HX-Request": "false"})
    assert (
        "To undo, enter the earlier values (Time limit of a run, in seconds: 20; Default temperature: 0.7)"
        in text_of(page)
    )


def test_a_shorter_retention_warns(client_for, administrator):
    panel = client_for(administrator, htmx=True).post(URL, NEW | {"run_retention_days": "7"})
    assert "The texts of older runs are erased within an hour. This cannot be undone." in text_of(panel)


def test_deleting_runs_says_how_many_and_what_stays(client_for, administrator):
    client = client_for(administrator, htmx=True)
    for days, source in ((91, "preview"), (91, "preview"), (91, "comparison"), (89, "preview")):
        make_run(at=timezone.now() - timedelta(days=days), source=source)
    panel = text_of(client.post(URL, NEW | {"run_deletion_days": "90"}))
    assert "Delete runs after, in days never 90" in panel
    assert "The server deletes runs older than 90 days with their attempts and verdicts" in panel
    assert "beginning within an hour: 2 runs now." in panel
    assert "Runs of comparisons, runs with a reviewed verdict, and hourly totals stay." in panel
    done = client.post(URL, NEW | {"run_deletion_days": "90", "confirm": "1"})
    assert done["HX-Redirect"] == URL
    assert config().run_deletion_days == 90
    assert AuditEntry.objects.first().after["run_deletion_days"] == 90
    assert "Delete runs after, in days: never" in text_of(client.get(URL, headers={"HX-Request": "false"}))
    later = NEW | {"expected": str(config().settings_revision)}
    assert "The server deletes" not in text_of(client.post(URL, later | {"run_deletion_days": "120"}))
    assert "Delete runs after, in days 90 never" in text_of(client.post(URL, later))


def test_everybody_sees_whether_runs_are_deleted(client_for, viewer):
    assert "Delete runs after, in days never" in text_of(client_for(viewer).get(URL))
    LiveConfiguration.objects.update(run_deletion_days=1200)
    assert "Delete runs after, in days 1,200" in text_of(client_for(viewer).get(URL))


@pytest.mark.parametrize("days", ["29", "3651", "0", "x"])
def test_runs_are_deleted_no_earlier_than_their_texts(days, client_for, administrator):
    response = client_for(administrator, htmx=True).post(URL, NEW | {"run_deletion_days": days})
    assert response.status_code == 422
    assert ("Runs are deleted before their texts are erased." in text_of(response)) == (days == "29")


@pytest.mark.parametrize(
    "wrong",
    [{"timeout_ms": "0.499"}, {"temperature": "2.5"}, {"temperature": "nan"}, {"max_tokens": ""}, {"max_tokens": "x"}],
)
def test_an_invalid_value_is_shown_beside_the_field(wrong, client_for, administrator):
    client, before = client_for(administrator, htmx=True), config().revision
    response = client.post(URL, NEW | wrong)
    assert (response.status_code, response["HX-Retarget"]) == (422, "#settings-form")
    page = response.content.decode()
    assert 'class="error"' in page
    assert 'value="30"' in page
    assert client.post(URL, NEW | wrong | {"confirm": "1"}).status_code == 409
    assert config().revision == before


def test_no_change_is_refused(client_for, administrator):
    same = NEW | {"timeout_ms": "20", "temperature": "0.7"}
    response = client_for(administrator, htmx=True).post(URL, same)
    assert response.status_code == 409
    assert "No changes to save" in text_of(response)


def test_a_stale_change_compares_with_the_current_settings(client_for, administrator, actor):
    theirs = actions.change_settings(Settings(20_000, 0.7, 512, 30), by=actor, expected=0)
    client = client_for(administrator, htmx=True)
    response = client.post(URL, NEW | {"confirm": "1"})
    assert response.status_code == 409
    assert "Someone changed the settings. Your values are kept" in text_of(response)
    assert "Default max tokens 512 256" in text_of(response)
    handed = re.search(r'id="id_expected" value="(\d+)" hx-swap-oob', response.content.decode())[1]
    assert int(handed) == theirs.settings_revision
    assert config().timeout_ms == 20_000
    client.post(URL, NEW | {"expected": handed, "confirm": "1"})
    assert (config().timeout_ms, config().max_tokens) == (9000, 256)


def test_an_open_page_hears_of_a_change(client_for, administrator, viewer, actor):
    client = client_for(administrator, htmx=True)
    assert "Someone changed" not in text_of(client.get(f"{URL}?seen=0"))
    actions.change_settings(Settings(9_000, 0.7, 256, 30), by=actor, expected=0)
    assert "Someone changed the settings." in text_of(client.get(f"{URL}?seen=0"))
    assert "in seconds 9 " in text_of(client_for(viewer, htmx=True).get(URL))
