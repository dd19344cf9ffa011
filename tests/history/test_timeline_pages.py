"""The pages of the timeline over HTTP: all releases, any moment, one revision with its runs."""

import importlib
import json
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import JSONField
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.history.queries.timeline import configuration_of
from promptops.ledger import sentences
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.platform.pages import PAGE_SIZE
from promptops.prompts.actions import operations, templates
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.actions.releases import roll_back
from promptops.prompts.models import Operation
from promptops.providers.actions import chain
from promptops.providers.actions.chain import ProviderFields
from promptops.providers.models import Provider
from promptops.runs.models import Run
from promptops.site.actions import Settings, change_settings
from promptops.web import fragments

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def client(client_for, viewer):
    return client_for(viewer)


@pytest.fixture
def history(publish, actor):
    """Make six releases, one a minute from noon: two versions, a provider, settings, a rollback, another template."""
    first = publish("enhance", "First.", note="from files")
    second = publish("enhance", "Second.", note=f"calmer {HOSTILE}")
    chain.create_provider(
        ProviderFields("fast", "openai", "m", "http://127.0.0.1:9/v1"), by=actor, key="sk-secret", note="trial"
    )
    change_settings(Settings(20_000, 0.7, 512, 30), by=actor, expected=0, note="longer answers")
    roll_back(first, by=actor, expected=second.pk, note="too talkative")
    publish("noir", "Dark.", operation="enhance")
    for release in Release.objects.all():
        Release.objects.filter(pk=release.pk).update(at=NOON + timedelta(minutes=release.pk - 1))
    return [first, second]


def revisions(response) -> list[int]:
    return [int(number) for number in re.findall(r'name="since" value="(\d+)"', response.content.decode())]


def text_of(response) -> str:
    """Return the text of the page, without a space before punctuation."""
    return re.sub(r"\s+(?=[,.:])", "", re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())))


def test_an_empty_timeline_teaches_the_next_step(client):
    assert "No releases yet" in text_of(client.get(reverse("timeline")))
    assert "Nothing has been released yet" in text_of(client.get(reverse("timeline"), {"at": "2026-11-23T12:00:00Z"}))


def test_releases_are_listed_in_order_with_change_and_reason(client, history):
    response = client.get(reverse("timeline"))
    assert revisions(response) == [6, 5, 4, 3, 2, 1]
    page, text = response.content.decode(), text_of(response)
    for entry in AuditEntry.objects.filter(revision__in=[2, 3, 5]):
        assert sentences.sentence(entry) in text
    assert "too talkative" in text
    assert "Max tokens: 256 → 512" in text
    assert reverse("template_diff", args=["enhance"]) + "?a=1&amp;b=2" in page
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def test_the_timeline_of_one_template(client, history):
    response = client.get(reverse("timeline"), {"template": "enhance"})
    assert revisions(response) == [5, 2, 1]
    assert "This filter is left out" in text_of(client.get(reverse("timeline"), {"template": "no-such"}))


@pytest.mark.parametrize(
    ("at", "revision", "says"),
    [
        ("2026-11-23T11:59:59Z", None, "The first release is r1"),
        ("2026-11-23T12:00:00Z", 1, "until r2 replaced it"),
        ("2026-11-23T12:01:30Z", 2, "until r3 replaced it"),
        ("2026-11-23T12:04:00Z", 5, "until r6 replaced it"),
        ("2199-01-01T00:00:00Z", 6, "in the future"),
    ],
)
def test_the_timeline_shows_the_release_of_a_moment(client, history, at, revision, says):
    response = client.get(reverse("timeline"), {"at": at})
    assert says in text_of(response)
    assert revisions(response) == list(range(revision or 0, 0, -1))


def test_a_moment_shows_versions_chain_and_settings_with_author_and_reason(client, history):
    page = client.get(reverse("timeline"), {"at": "2026-11-23T12:03:30Z"})
    text = text_of(page)
    assert reverse("version", args=["enhance", 2]) in page.content.decode()
    assert "calmer" in text[: text.index("Provider order")]
    assert re.search(r"Provider order .* in r3: trial .* fast openai m http://127.0.0.1:9/v1 stored key", text)
    assert re.search(r"Settings .* in r4: longer answers .* Max tokens 512", text)
    before = text_of(client.get(reverse("timeline"), {"at": "2026-11-23T12:00:30Z"}))
    assert "No provider was enabled" in before
    assert "Max tokens 256" in before
    back = client.get(reverse("timeline"), {"at": "2026-11-23T12:04:30Z"})
    assert re.search(r"enhance default v1 Ada Administrator, .* in r5: too talkative", text_of(back))


def test_a_moment_of_one_template(client, history):
    text = text_of(client.get(reverse("timeline"), {"at": "2026-11-23T12:04:30Z", "template": "enhance"}))
    assert re.search(r"enhance v1 was live, released by Ada Administrator, .* in r5: too talkative", text)
    assert "Provider order" not in text
    text = text_of(client.get(reverse("timeline"), {"at": "2026-11-23T12:04:30Z", "template": "noir"}))
    assert "noir was not live" in text


def test_a_moment_is_typed_in_the_readers_zone_and_named_in_utc(client, history):
    client.cookies["tz"] = "Asia/Tokyo"
    moved = client.get(reverse("timeline"), {"at": "2026-11-23T21:01:30", "template": "enhance"})
    assert moved.status_code == 302
    assert moved["Location"] == "/timeline/?at=2026-11-23T12%3A01%3A30Z&template=enhance"
    page = client.get(moved["Location"]).content.decode()
    assert 'value="2026-11-23T21:01:30"' in page


@pytest.mark.parametrize(
    "at", ["yesterday", "2026-13-01T00:00", "0001-01-01T00:00", "9999-12-31T23:59:59", HOSTILE, "1" * 5000, "\x00"]
)
def test_an_invalid_moment_is_reported_and_ignored(client, history, at):
    client.cookies["tz"] = "Pacific/Kiritimati"
    response = client.get(reverse("timeline"), {"at": at})
    assert response.status_code == 200
    assert "This filter is left out" in text_of(response)
    assert HOSTILE not in response.content.decode()
    assert len(revisions(response)) == 6


def test_a_long_timeline_takes_the_same_queries(client, publish, history):
    counts = []
    for count in (6, PAGE_SIZE + 10):
        for number in range(Release.objects.count(), count):
            publish("enhance", f"Text {number}")
        for address, query in (("timeline", {}), ("timeline", {"at": "2199-01-01T00:00:00Z"})):
            client.get(reverse(address), query)
            with CaptureQueriesContext(connection) as captured:
                newest = client.get(reverse(address), query)
            counts.append(len(captured))
    assert counts[:2] == counts[2:]
    assert len(revisions(newest)) == PAGE_SIZE
    assert revisions(client.get(reverse("timeline"), {"before": 11})) == list(range(10, 0, -1))


def test_a_new_release_appears_by_itself(client, publish, history):
    publish("enhance", "Third.")
    response = client.get(reverse("timeline"), {"news": "rows", "since": "6"}, headers={"HX-Request": "true"})
    assert revisions(response) == [7]
    counted = client.get(reverse("timeline"), {"news": "count", "since": "5"}, headers={"HX-Request": "true"})
    assert "2 new releases" in text_of(counted)
    assert client.get(reverse("timeline"), {"news": "rows", "since": "7"}).status_code == 204


def test_a_review_panel_hears_what_other_people_released_meanwhile(client, client_for, history, releaser, actor):
    newest = Release.objects.first().revision
    address = reverse("releases_since", args=[newest])
    assert text_of(client.get(address, headers={"HX-Request": "true"})).strip() == ""
    chain.create_provider(ProviderFields("mine", "openai", "m", "http://127.0.0.1:9/v1"), by=actor)
    assert text_of(client_for(actor.user, htmx=True).get(address)).strip() == ""
    assert "added the provider mine." in text_of(client.get(address, headers={"HX-Request": "true"}))
    chain.create_provider(ProviderFields("other", "openai", "m", "http://127.0.0.1:9/v1"), by=actor)
    with CaptureQueriesContext(connection) as queries:
        shown = text_of(client.get(address, headers={"HX-Request": "true"}))
    assert "added the provider other." in shown
    assert "1 more release." in shown
    assert len(queries) <= 8


def test_a_revision_shows_its_change_and_its_runs(client, history):
    Run.objects.create(
        source="preview", operation="enhance", temperature=1, max_tokens=1, revision=2, status="failed", latency_ms=1
    )
    response = client.get(reverse("revision", args=[2]))
    page, text = response.content.decode(), text_of(response)
    assert re.search(r"until 23 Nov 2026, 12:02:00 UTC", text)
    assert re.search(r"<del>.*First.*</del>", page)
    assert reverse("version", args=["enhance", 2]) in page
    assert f'href="{reverse("runs")}?revision=2&amp;source=all"' in page
    assert "1 run" in text
    assert reverse("revision", args=[1]) in page
    assert reverse("revision", args=[3]) in page
    assert HOSTILE not in page
    assert "live now" in text_of(client.get(reverse("revision", args=[6])))
    assert client.get(reverse("revision", args=[7])).status_code == 404
    assert client.get("/revisions/999999999999999999/").status_code == 404


def test_runs_lead_to_their_revision_and_back(client, history):
    made = [
        Run.objects.create(
            source="preview",
            operation="enhance",
            temperature=1,
            max_tokens=1,
            revision=n,
            status="failed",
            latency_ms=1,
        )
        for n in (2, 3)
    ]
    assert reverse("revision", args=[2]) in client.get(reverse("run", args=[made[0].pk])).content.decode()
    assert revisions(client.get(reverse("runs"), {"revision": 2})) == [made[0].pk]
    for hostile in ("-1", "2; drop", "9" * 30):
        assert "This filter is left out" in text_of(client.get(reverse("runs"), {"revision": hostile}))


def test_an_old_release_says_that_its_configuration_is_unknown(client, history):
    Release.objects.filter(pk__lt=4).update(packed_configuration=None)
    for address in (reverse("revision", args=[2]), reverse("timeline") + "?at=2026-11-23T12:01:30Z"):
        response = client.get(address)
        assert "This release is older" in text_of(response)
        assert reverse("revision", args=[4]) in response.content.decode()


def test_a_damaged_configuration_is_named_on_the_page(client, history, caplog):
    Release.objects.filter(pk=2).update(packed_configuration=Release.objects.get(pk=2).packed_configuration[:-9])
    for address in (reverse("revision", args=[2]), reverse("timeline") + "?at=2026-11-23T12:01:30Z"):
        response = client.get(address)
        assert response.status_code == 200
        assert "The stored configuration of r2 is damaged" in text_of(response)
        assert "Second." in text_of(response) or "calmer" in text_of(response)
    assert "The stored configuration of revision 2 is damaged (EOFError" in caplog.text
    assert client.get(reverse("revision", args=[3])).status_code == 200


def test_links_lead_to_the_timeline(client, history):
    for address in ("/", reverse("audit"), reverse("template_history", args=["enhance"])):
        assert reverse("timeline") in client.get(address).content.decode()
    assert reverse("revision", args=[6]) in fragments.render("live-badge", "viewer", None).html


def test_a_release_stores_no_secrets_and_no_texts(history, actor):
    kept = Release.objects.get(pk=3).configuration
    assert kept["templates"] == [
        {"name": "enhance", "operation": "enhance", "default": True, "version": 2, "version_id": history[1].pk}
    ]
    assert [(provider["name"], provider["key"]) for provider in kept["providers"]] == [("fast", "stored key")]
    assert kept["settings"]["max_tokens"] == 256
    assert not re.search(r"sk-secret|encrypted|key_check", json.dumps(kept))
    # No release stores a new column until its part names it (tests/ledger/test_parts.py).
    secretive = {name for part in (kept["providers"][0], kept["settings"]) for name in part if "key" in name}
    assert secretive == {"key"}
    chain.set_enabled(Provider.objects.get(), False, by=actor)
    template = templates.archive(Release.objects.get(pk=6).template, by=actor)
    newest = Release.objects.first().configuration
    assert newest["providers"] == []
    assert template.name not in {row["name"] for row in newest["templates"]}


def test_the_migration_stores_the_configuration_of_the_newest_release(history):
    kept = Release.objects.get(pk=6).configuration
    module = importlib.import_module("promptops.migrations.0005_timeline")
    # Before 0053 the column held JSON. The test's transaction undoes this.
    loader = MigrationLoader(connection)
    state = loader.project_state(loader.graph.leaf_nodes("promptops"))
    state.add_field("promptops", "release", "configuration", JSONField(null=True), preserve_default=True)
    apps = state.apps
    older = apps.get_model("promptops", "Release")
    connection.check_constraints()  # now, because PostgreSQL alters no table with checks that wait
    with connection.cursor() as cursor:
        kind = older._meta.get_field("configuration").db_type(connection)
        cursor.execute(f"ALTER TABLE promptops_release ADD COLUMN configuration {kind}")
    module.keep_the_newest(apps, SimpleNamespace(connection=connection))
    assert list(older.objects.exclude(configuration=None).values_list("pk", flat=True)) == [6]
    later = {"variables": [], "safety": kept["safety"], "operations": kept["operations"], "levers": []}
    made = older.objects.get(pk=6).configuration | later
    made["settings"] = {name: made["settings"][name] for name in kept["settings"]}  # the migration keeps every column
    assert made == kept
    LiveConfiguration.objects.all().delete()
    module.keep_the_newest(apps, SimpleNamespace(connection=connection))


def test_operations_are_shown_as_they_were_and_old_releases_had_the_built_in_ones(actor, client_for, viewer):
    answer = {"kind": "json", "schema": {"type": "object"}}
    plan = OperationFields("Plans.", answer=answer, timeout_ms=8000, hedge="p95", on_failure="hold")
    added = operations.add("plan", plan, by=actor).changed_revision
    changed = OperationFields("Plans.", answer={"kind": "lines", "count": 2})
    operations.change(Operation.objects.get(name="plan"), changed, by=actor, expected=added)

    def rows(revision: int) -> list[tuple[str, str]]:
        configuration = configuration_of(Release.objects.get(pk=revision))
        return [(row.operation, row.declared) for row in configuration.operations]

    first = "One text → JSON; at most 8 s; hedged at p95; when nobody answers: An error that says to keep what runs"
    assert rows(added)[3] == ("plan", first)
    assert rows(added + 1)[3] == ("plan", "One text → Alternatives, one a line (2)")
    page = client_for(viewer).get(f"/revisions/{added}/").content.decode()
    assert "nothing answers it" in page
    assert "the engine&#x27;s built-in text" in page or "the engine's built-in text" in page
    release = Release.objects.get(pk=added)
    stored = release.configuration
    del stored["operations"]
    release.store(stored)
    release.save()
    assert rows(added) == [("enhance", ""), ("auto_extend", ""), ("rewrite", "")]
