"""Last good: everything as an earlier revision had it, by one release."""

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from promptops.engine.live_document import live_document
from promptops.fleet.actions import last_good
from promptops.fleet.queries.levers import default_revision, earlier_releases, value_changes
from promptops.ledger import parts
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.live import snapshots as live
from promptops.prompts.actions import operations, templates, variables
from promptops.prompts.actions.drafts import save_draft
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.content import Content
from promptops.prompts.models import Operation, Template, Variable
from promptops.prompts.queries.releases import newest_release_of
from promptops.providers.actions import chain
from promptops.providers.actions.chain import ProviderFields
from promptops.providers.models import Provider
from promptops.safety.actions import filter_settings
from promptops.safety.earlier import SafetyChange, Term
from promptops.safety.models import SafetySettings
from promptops.site import actions as settings
from tests.factories import make_provider
from tests.fleet.levers import freeze, pass_through

pytestmark = pytest.mark.django_db

SAFE = SafetyChange(mode="enforce", thresholds={"violence": 0.4}, terms=(Term("deny", "kraken", "violence"),))


def revision() -> int:
    return LiveConfiguration.objects.get().revision


def document() -> dict:
    """Return the live document without what names the revision."""
    written = live_document(live.refresh())
    return {name: value for name, value in written.items() if name not in ("revision", "sha256", "levers")}


def change_settings(actor, **wanted) -> None:
    config = LiveConfiguration.objects.get()
    now = {name: getattr(config, name) for name in settings.Settings.__annotations__}
    settings.change_settings(settings.Settings(**now | wanted), by=actor, expected=config.settings_revision)


@pytest.fixture(autouse=True)
def _the_preview_shows_what_restoring_does(monkeypatch):
    """Compare every restoring of these tests with its preview, and with what the release then stored."""

    def restore_all(chosen, **named):
        shown = last_good.preview(chosen)
        restored = restored_by(chosen, **named)
        stored = Release.objects.get(pk=named["expected"] + 1).configuration
        assert (shown, shown.after) == (restored, stored)
        return restored

    restored_by = last_good.restore_all
    monkeypatch.setattr(last_good, "restore_all", restore_all)


@pytest.fixture
def good(actor, publish):
    """A configuration with something of each part, and its revision."""
    publish("enhance", "Good {{ mood }}" if Variable.objects.exists() else "Good")
    publish("other", "Other", operation="enhance")
    publish("rewrite", "Rewrite")
    variables.declare("enhance", "mood", "calm", by=actor)
    operations.add("caption", OperationFields("Names a clip.", max_tokens=50), by=actor)
    publish("caption", "Caption")
    for name in ("first", "second", "third"):
        make_provider(name, by=actor, key="k")
    filter_settings.change_safety(SAFE, by=actor, expected=0)
    change_settings(actor, timeout_ms=9_000)
    return revision()


def spoil(actor, publish) -> None:
    """Change every part of what is live."""
    publish("enhance", "Bad")
    templates.make_default(Template.objects.get(name="other"), by=actor)
    templates.archive(Template.objects.get(name="enhance"), by=actor)
    publish("later", "Later", operation="rewrite")
    variable = Variable.objects.get(name="mood")
    variables.change(variable, "tense", by=actor, expected=variable.changed_revision)
    variables.declare("rewrite", "season", "winter", by=actor)
    operation = Operation.objects.get(name="caption")
    wanted = OperationFields("Names a clip.", max_tokens=900, timeout_ms=500)
    operations.change(operation, wanted, by=actor, expected=operation.changed_revision)
    first, second, third = Provider.objects.all()
    chain.reorder([third.pk, second.pk, first.pk], by=actor, expected=[first.pk, second.pk, third.pk])
    chain.set_enabled(second, False, by=actor)
    fields = ProviderFields("first", "openai", "another", base_url=first.base_url, timeout_ms=700)
    chain.edit_provider(first, fields, by=actor, expected=first.changed_revision)
    make_provider("fourth", by=actor)
    expected = SafetySettings.objects.get().changed_revision
    filter_settings.change_safety(SafetyChange(mode="off", thresholds={}, terms=()), by=actor, expected=expected)
    change_settings(actor, timeout_ms=700, temperature=1.9)


def test_everything_is_as_the_revision_had_it_by_one_release(actor, publish, good):
    before, stored = document(), Release.objects.get(pk=good).configuration
    spoil(actor, publish)
    assert document() != before
    newest = revision()
    restored = last_good.restore_all(good, by=actor, note="Bad prompts", expected=newest)
    assert restored.stays == []
    assert revision() == newest + 1
    assert document() == before
    assert parts.configuration() == stored == Release.objects.first().configuration
    entry = AuditEntry.objects.get(action="lever.last_good")
    assert (entry.revision, entry.before, entry.after["revision"], entry.note) == (
        newest + 1,
        {"revision": newest},
        good,
        "Bad prompts",
    )
    # Undone the same way.
    last_good.restore_all(newest, by=actor, note="Undo", expected=newest + 1)
    assert Template.objects.get(name="other").is_default
    assert Template.objects.get(name="later").live_version


def test_the_preview_changes_nothing_and_names_the_values(actor, publish, good):
    spoil(actor, publish)
    newest, configuration = revision(), parts.configuration()
    with CaptureQueriesContext(connection) as queries:
        restored = last_good.preview(good)
    assert {query["sql"].split()[0] for query in queries.captured_queries} == {"SELECT"}  # it takes no lock
    shown = {(change.label, change.before, change.after) for change in value_changes(restored)}
    assert (revision(), parts.configuration()) == (newest, configuration)
    assert ("Settings time limit", "0.7 s", "9 s") in shown
    assert ("Provider order", "third, first, fourth", "first, second, third") in shown
    assert ("Variable enhance.mood: value", "tense", "calm") in shown
    assert ("Template later: version", "1", "–") in shown
    assert ("Safety mode", "off", "enforce") in shown


def test_it_is_possible_during_a_freeze_and_levers_go_on(actor, publish, good):
    publish("enhance", "Bad")
    freeze(by=actor)
    pass_through(by=actor)
    earlier = earlier_releases()
    assert default_revision(earlier) == good  # before the last release that was no lever
    assert earlier[0].revision == revision() - 1
    last_good.restore_all(good, by=actor, note="Bad", expected=revision())
    assert Template.objects.get(name="enhance").live_version.body == "Good"
    assert [lever.kind for lever in live.refresh().levers] == ["freeze", "pass_through"]


def test_keys_stay_and_never_go_to_another_server(actor, publish, good):
    first, second, third = Provider.objects.all()
    chain.change_key(second, by=actor, expected=second.changed_revision, key_env="OPENAI_API_KEY")
    moved = ProviderFields("first", "openai", "m", base_url="http://192.0.2.9/v1")
    chain.edit_provider(first, moved, by=actor, expected=first.changed_revision)
    first.refresh_from_db()
    chain.change_key(first, by=actor, expected=first.changed_revision, key="new")
    chain.set_enabled(third, False, by=actor)
    third.refresh_from_db()
    chain.remove_provider(third, by=actor, expected=third.changed_revision)
    first.refresh_from_db()
    kept = (first.base_url, first.key_encrypted)
    publish("enhance", "Bad")
    stays = last_good.restore_all(good, by=actor, note="Bad", expected=revision()).stays
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.base_url, first.key_encrypted) == kept
    assert second.key_env == "OPENAI_API_KEY"
    assert [sentence.split()[0:3] for sentence in stays] == [
        ["first", "keeps", "its"],
        ["second", "keeps", "its"],
        ["The", "provider", "third"],
    ]
    assert list(Provider.objects.values_list("name", flat=True)) == ["first", "second"]


def test_what_decides_about_deleting_stays(actor, publish, good):
    change_settings(actor, run_retention_days=400, timeout_ms=1_000)
    stays = last_good.restore_all(good, by=actor, note="Why", expected=revision()).stays
    config = LiveConfiguration.objects.get()
    assert (config.run_retention_days, config.timeout_ms, len(stays)) == (400, 9_000, 1)


def test_an_operation_added_since_is_archived_unless_templates_serve_it(actor, publish, good):
    operations.add("free", OperationFields("Nobody needs it."), by=actor)
    operations.add("served", OperationFields("A template serves it."), by=actor)
    publish("served", "Text")
    stays = last_good.restore_all(good, by=actor, note="Why", expected=revision()).stays
    assert Operation.objects.get(name="free").archived_at
    assert not Operation.objects.get(name="served").archived_at
    assert len(stays) == 1
    assert "served" in stays[0]
    assert not Template.objects.get(name="served").live_version


def test_an_archived_operation_comes_back(actor, publish, good):
    templates.archive(Template.objects.get(name="caption"), by=actor)
    operations.archive(Operation.objects.get(name="caption"), by=actor)
    last_good.restore_all(good, by=actor, note="Why", expected=revision())
    assert not Operation.objects.get(name="caption").archived_at
    assert Template.objects.get(name="caption").is_default


def test_a_release_during_the_preview_is_in_it(actor, publish, good, monkeypatch):
    publish("enhance", "Bad")
    configuration, meanwhile = parts.configuration, [publish]

    def interrupted():
        found = configuration()
        if meanwhile:
            meanwhile.pop()("enhance", "Worse")
        return found

    monkeypatch.setattr(parts, "configuration", interrupted)
    assert any(row["version"] == 3 for row in last_good.preview(good).before["templates"])


@pytest.mark.parametrize("chosen", ["newest", 0, 999, "same"])
def test_what_cannot_be_restored_is_refused(actor, publish, good, chosen):
    variable = Variable.objects.get(name="mood")
    variables.change(variable, "calm", description="Nothing live", by=actor, expected=variable.changed_revision)
    wanted = {"newest": revision(), "same": good}.get(chosen, chosen)
    before = revision()
    with pytest.raises(Refused):
        last_good.restore_all(wanted, by=actor, note="Why", expected=before)
    assert revision() == before


def test_an_old_release_that_stored_nothing_is_refused(actor, publish, good):
    Release.objects.filter(pk=good).update(packed_configuration=None)
    publish("enhance", "Bad")
    with pytest.raises(Refused, match="too old"):
        last_good.preview(good)
    assert good not in [row.revision for row in earlier_releases()]


def test_an_older_release_restores_the_parts_that_it_stored(actor, publish, good):
    release = Release.objects.get(pk=good)
    older = {name: values for name, values in release.configuration.items() if name not in ("operations", "safety")}
    release.store(older)
    release.save()
    spoil(actor, publish)
    stays = last_good.restore_all(good, by=actor, note="Why", expected=revision()).stays
    assert len(stays) == 2
    assert SafetySettings.objects.get().mode == "off"
    assert Template.objects.get(name="enhance").is_default


def test_it_is_in_the_history_of_each_template_that_it_changed(actor, publish, good, client_for, viewer):
    client = client_for(viewer)
    spoil(actor, publish)
    newest = revision()
    last_good.restore_all(good, by=actor, note="Bad", expected=newest)
    assert AuditEntry.objects.get(action="lever.last_good").after["templates"] == [
        "other is no longer the default",
        "later not live",
        "enhance v1",
    ]
    publish("rewrite", "Newer")  # every page links to the newest revision
    link = f'href="/revisions/{newest + 1}/"'
    for name, is_listed in {"enhance": True, "other": True, "later": True, "rewrite": False}.items():
        assert (link in client.get(f"/timeline/?template={name}").content.decode()) is is_listed, name
    history = client.get("/prompts/enhance/history/").content.decode()
    assert history.count(link) == 1
    assert link in client.get("/prompts/enhance/v1/").content.decode()
    assert link not in client.get("/prompts/enhance/v2/").content.decode()
    assert link not in client.get("/prompts/other/v1/").content.decode()


def test_the_pages_name_the_release_that_restored_a_version(actor, publish, good, client_for, make_user):
    client = client_for(writing := make_user("editor", username="writing"))
    spoil(actor, publish)
    spoiled = Template.objects.get(name="enhance")
    save_draft(spoiled, Content("Mine"), user=writing, base=spoiled.live_version_id)
    last_good.restore_all(good, by=actor, note="The new text was bad", expected=revision())
    restored = revision()
    publish("rewrite", "Newer", note="Calmer")
    enhance, rewrite, other = (Template.objects.get(name=name) for name in ("enhance", "rewrite", "other"))
    found = newest_release_of([enhance.live_version_id, rewrite.live_version_id, other.live_version_id])
    assert found[enhance.live_version_id].pk == restored
    assert found[rewrite.live_version_id].pk == restored + 1
    assert found[other.live_version_id].pk < good  # it was live all the time
    assert "The new text was bad" in client.get("/").content.decode()
    editor = " ".join(client.get("/prompts/enhance/").content.decode().split())
    assert "restored <b>v1</b> while you were editing" in editor
    assert "The new text was bad" in editor
    assert len(rows := client.get("/prompts/").context["window"].rows) > 2
    assert {row.release.pk for row in rows if row.name == "enhance"} == {restored}


def test_a_release_in_between_and_a_missing_note_are_refused(actor, publish, good):
    publish("enhance", "Bad")
    seen = revision()
    publish("enhance", "Worse")
    with pytest.raises(Stale):
        last_good.restore_all(good, by=actor, note="Why", expected=seen)
    with pytest.raises(ValidationError):
        last_good.restore_all(good, by=actor, note=" ", expected=revision())
    assert Template.objects.get(name="enhance").live_version.body == "Worse"
