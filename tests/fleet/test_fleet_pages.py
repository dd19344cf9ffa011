"""The Fleet page, a server's page, and what other pages show of servers, over HTTP."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.fleet.models import Acknowledgement, Server
from promptops.ledger.models import AuditEntry, Release
from tests.fleet.servers import save_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(client_for, viewer):
    return client_for(viewer)


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def names(response) -> list[str]:
    return [row.server.name for row in response.context["window"].rows]


def acknowledge(revision: int, name: str, seconds: float = 0.2, **fields) -> None:
    defaults = {"instance": "1", "kind": "library", "outcome": "applied", "at": timezone.now()}
    Acknowledgement.objects.create(revision=revision, server=name, seconds=seconds, **defaults | fields)


def test_without_servers_the_page_says_how_to_connect_one(client):
    response = client.get(reverse("fleet"))
    assert "follow" in text_of(response)
    assert "docs/servers.md" in text_of(response)


def test_names_with_numbers_are_in_the_order_of_the_numbers(client, publish):
    publish("enhance", "Text")
    for name in ("gpu-10", "gpu-2", "7", "Gpu-1", "mirror"):
        save_server(name)
    assert names(client.get(reverse("fleet"))) == ["7", "Gpu-1", "gpu-2", "gpu-10", "mirror"]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ["gpu-1", "gpu-2", "gpu-3", "mirror"]),
        ("q=GPU", ["gpu-1", "gpu-2", "gpu-3"]),
        ("q=9.9", ["gpu-2"]),
        ("label=zone", ["gpu-1", "gpu-2"]),
        ("label=zone%3Db", ["gpu-2"]),
        ("label=zone%3Dc", []),
        ("state=silent", ["gpu-3"]),
        ("state=drifted", ["mirror"]),
        ("state=trouble", ["mirror"]),
        ("state=unfiltered", ["gpu-1"]),
        ("kind=files", ["mirror"]),
        ("kind=files&q=gpu", []),
        ("state=nonsense", ["gpu-1", "gpu-2", "gpu-3", "mirror"]),
    ],
)
def test_filters(client, publish, query, shown):
    publish("enhance", "Text")
    save_server("gpu-1", labels={"zone": "a"}, is_filtered=False)
    save_server("gpu-2", labels={"zone": "b"}, version="9.9")
    save_server("gpu-3", silent_for=60)
    save_server("mirror", kind="files", drift="enhance.txt was changed")
    assert names(client.get(f"{reverse('fleet')}?{query}")) == shown


@pytest.mark.parametrize("path", ["fleet", "overview"])
def test_queries_do_not_grow_with_the_servers(client, publish, path):
    publish("enhance", "Text")
    publish("enhance", "Text 2")
    used = []
    for number in range(30):
        save_server(f"gpu-{number}", revision=1, drift="x" if number % 2 else "")
        if number in (0, 29):
            client.get(reverse(path))
            with CaptureQueriesContext(connection) as queries:
                client.get(reverse(path))
            used.append(len(queries))
    assert used[0] == used[1]


def test_a_silent_server_is_shown_with_what_it_last_ran(client, publish):
    publish("enhance", "Text")
    save_server("gpu-7", silent_for=3600, revision=1)
    response = client.get(reverse("fleet"))
    (row,) = response.context["window"].rows
    assert row.standing == "silent"
    assert "r1" in text_of(response)


def test_texts_of_servers_are_escaped(client, publish):
    publish("enhance", "Text")
    server = save_server("gpu-7", labels={"zone": "<script>"}, drift="<script>alert(1)</script>", version="<b>")
    for address in (reverse("fleet"), reverse("server", args=[server.pk]), reverse("overview")):
        assert b"<script>alert" not in client.get(address).content


def test_the_page_of_a_server_shows_its_answers(client, publish):
    revision = publish("enhance", "Text") and Release.objects.latest("revision").revision
    server = save_server("gpu-7")
    acknowledge(revision, "gpu-7", why="No good.", outcome="refused")
    text = text_of(client.get(reverse("server", args=[server.pk])))
    assert "No good." in text
    assert server.sha256 in text
    assert client.get(reverse("server", args=[server.pk + 1])).status_code == 404


def test_the_top_bar_counts_the_servers_that_run_what_is_live(client, publish):
    publish("enhance", "Text")
    assert "fleet-count" in client.get(reverse("prompts")).content.decode()
    assert " of " not in text_of(client.get(reverse("fleet_count"), headers={"HX-Request": "true"}))
    save_server("gpu-1")
    save_server("gpu-2", revision=0)
    save_server("control:8000", kind="process")
    assert "1 of 2" in text_of(client.get(reverse("fleet_count"), headers={"HX-Request": "true"}))
    assert "1 of 2" in text_of(client.get(reverse("prompts")))


@pytest.mark.parametrize(
    ("fields", "is_named"),
    [
        ({}, False),
        ({"silent_for": 60}, False),
        ({"drift": "enhance.txt was changed"}, True),
        ({"revision": 1}, True),
        ({"refused_revision": 2, "refusal": "Its hash is wrong."}, True),
    ],
)
def test_the_overview_names_servers_that_refuse_drift_or_lag(client, publish, fields, is_named):
    publish("enhance", "One")
    publish("enhance", "Two")
    Release.objects.update(at=timezone.now() - timedelta(minutes=1))
    save_server("gpu-7", **fields)
    for name in ("overview", "fleet_notices"):
        text = text_of(client.get(reverse(name), headers={"HX-Request": "true"}))
        assert ("Open gpu-7" in text) is is_named


def test_the_overview_shortens_a_long_reason_and_the_page_of_the_server_does_not(client, publish):
    publish("enhance", "One")
    reason = "no " * 150 + "end."
    server = save_server("gpu-7", refused_revision=1, refusal=reason)
    shown = text_of(client.get(reverse("overview")))
    assert "no no" in shown
    assert "no end." not in shown
    assert reason in text_of(client.get(reverse("server", args=[server.pk])))


def test_only_silent_servers_can_be_removed_and_the_audit_names_who_did_it(client_for, administrator, publish):
    publish("enhance", "Text")
    client = client_for(administrator, htmx=True)
    server = save_server("gpu-7")
    address = reverse("server_forget", args=[server.pk])
    assert client.post(address, {"confirm": "1"}).status_code == 409
    assert Server.objects.exists()
    Server.objects.update(heard_at=timezone.now() - timedelta(minutes=1))
    assert client.post(address).status_code == 200
    assert Server.objects.exists()
    client.post(address, {"confirm": "1", "note": "Sold"})
    assert not Server.objects.exists()
    entry = AuditEntry.objects.get(action="server.forgotten")
    assert (entry.object_name, entry.actor, entry.note) == ("gpu-7", administrator, "Sold")


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("releaser", 403), ("administrator", 409)])
def test_only_administrators_remove_servers(make_user, client_for, publish, role, status):
    publish("enhance", "Text")
    server = save_server("gpu-7")
    client = client_for(make_user(role, "somebody"))
    assert client.post(reverse("server_forget", args=[server.pk]), {"confirm": "1"}).status_code == status


def test_the_review_panel_says_who_gets_the_release(client_for, releaser, publish):
    version = publish("enhance", "Text")
    publish("enhance", "Newer")
    save_server("gpu-1")
    save_server("gpu-7", silent_for=60, revision=1)
    response = client_for(releaser, htmx=True).post(
        reverse("version_live", args=["enhance", version.number]), {"expected": version.template.live_version_id}
    )
    text = text_of(response)
    assert "2 servers follow" in text
    assert "gpu-7 silent since" in text


def test_the_next_page_after_a_release_counts_the_servers_for_its_author_only(client_for, releaser, viewer, publish):
    publish("enhance", "Text")
    Release.objects.update(user=releaser)
    mine = client_for(releaser)
    assert "rollout-banner" not in mine.get(reverse("prompts")).content.decode()
    save_server("gpu-1")
    save_server("gpu-2", revision=0)
    assert "1 of 2 servers" in text_of(mine.get(reverse("prompts")))
    # Its own page shows the roll-out below. A line that styles hide once that has come would move the page.
    revision = mine.get(reverse("revision", args=[Release.objects.get().revision])).content.decode()
    assert 'id="rollout"' in revision
    assert "rollout-banner" not in revision
    assert "rollout-banner" not in client_for(viewer).get(reverse("prompts")).content.decode()
    Release.objects.update(at=timezone.now() - timedelta(minutes=5))
    assert "rollout-banner" not in mine.get(reverse("prompts")).content.decode()


def test_a_release_keeps_its_roll_out(client, publish):
    publish("enhance", "One")
    revision = Release.objects.latest("revision").revision
    acknowledge(revision, "gpu-1", 0.2)
    acknowledge(revision, "gpu-2", 0.4)
    acknowledge(revision, "gpu-3", 4000, was_away=True)
    acknowledge(revision, "gpu-4", outcome="refused", why="Its hash is wrong.")
    acknowledge(revision, "control:8000", 0.0, kind="process")
    publish("enhance", "Two")
    response = client.get(reverse("rollout", args=[revision]), headers={"HX-Request": "true"})
    shown = response.context["rollout"]
    assert (shown.applied, shown.total, shown.slowest) == (3, 4, 0.4)
    assert "Its hash is wrong." in text_of(response)
    assert reverse("rollout", args=[revision]) in client.get(reverse("revision", args=[revision])).content.decode()
    assert client.get(reverse("rollout", args=[revision + 9]), headers={"HX-Request": "true"}).status_code == 404
