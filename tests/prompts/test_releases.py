"""Publishing and rolling back: results, refusals and drafts."""

import threading

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from promptops.engine.types import PromptOperation
from promptops.ledger import chain as audit_chain
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.live import snapshots as live
from promptops.prompts.actions import drafts, releases, templates
from promptops.prompts.actions.releases import Content
from promptops.prompts.errors import StaleRelease
from promptops.prompts.models import Draft, Template, Version
from promptops.prompts.models.templates import content_sha256

pytestmark = pytest.mark.django_db


@pytest.fixture
def enhance(publish):
    return publish("enhance", "First text.").template


def revision() -> int:
    return LiveConfiguration.objects.get().revision


def test_publishing_makes_an_immutable_version_and_makes_it_live(enhance, actor):
    before = revision()
    first = enhance.live_version
    version = releases.publish(
        enhance, Content(" Second\r\ntext. ", temperature=0.2), by=actor, expected=first.pk, note="shorter"
    )
    enhance.refresh_from_db()
    assert enhance.live_version == version
    assert (version.number, version.body, version.temperature) == (2, "Second\ntext.", 0.2)
    assert (version.author, version.author_name, version.note) == (actor.user, actor.name, "shorter")
    assert revision() == before + 1
    release = Release.objects.get(revision=before + 1)
    assert (release.version, release.replaced, release.user, release.note) == (version, first, actor.user, "shorter")
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.revision, entry.address) == ("template.published", before + 1, "192.0.2.7")
    assert (entry.before["body"], entry.after["body"]) == ("First text.", "Second\ntext.")
    with pytest.raises(ValidationError):
        version.save()
    with pytest.raises(ValidationError):
        version.delete()


def test_the_hash_covers_text_and_settings(enhance, actor, publish):
    a = publish("enhance", "Same", temperature=0.1)
    b = publish("enhance", "Same", temperature=0.2)
    releases.roll_back(a, by=actor, expected=b.pk)
    assert a.sha256 != b.sha256
    assert publish("other", "Same", operation="enhance", temperature=0.1).sha256 == a.sha256


def test_a_temperature_of_minus_zero_is_zero(enhance, actor):
    version = releases.publish(enhance, Content("New", temperature=-0.0), by=actor, expected=enhance.live_version_id)
    plain = Version(template=enhance, body="New", temperature=0.0)
    assert version.sha256 == content_sha256(plain.content)
    assert audit_chain.first_bad_entry() is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", "blank"),
        (" \n\t ", "blank"),
        ("a\x00b", "NUL"),
        ("a\ufffdb", "broken UTF-8"),
        ("a" + chr(0xD800), "broken UTF-8"),
        ("x" * (64 * 1024 + 1), "64 KiB"),
        ("é" * (32 * 1024 + 1), "64 KiB"),
    ],
)
def test_a_bad_text_is_refused_with_the_reason_and_changes_nothing(enhance, actor, body, sentence):
    before = (revision(), Version.objects.count(), AuditEntry.objects.count())
    with pytest.raises(ValidationError, match=sentence):
        releases.publish(enhance, Content(body), by=actor, expected=enhance.live_version_id)
    assert (revision(), Version.objects.count(), AuditEntry.objects.count()) == before


@pytest.mark.parametrize(
    "settings", [{"temperature": 2.1}, {"temperature": -1.0}, {"max_tokens": 0}, {"max_tokens": 99999}]
)
def test_bad_settings_are_refused(enhance, actor, settings):
    with pytest.raises(ValidationError):
        releases.publish(enhance, Content("New", **settings), by=actor, expected=enhance.live_version_id)
    assert Version.objects.count() == 1


def test_the_longest_text_is_published(enhance, actor):
    body = "x" * (64 * 1024)
    assert releases.publish(enhance, Content(body), by=actor, expected=enhance.live_version_id).body == body


def test_publishing_from_an_outdated_base_is_refused_and_the_draft_stays(enhance, actor, editor):
    base = enhance.live_version_id
    drafts.save_draft(enhance, Content("Mine"), user=editor, base=base)
    newer = releases.publish(enhance, Content("Faster"), by=actor, expected=base)
    with pytest.raises(StaleRelease) as caught:
        releases.publish(enhance, Content("Mine"), by=actor, expected=base)
    assert caught.value.live == newer
    assert Draft.objects.get(user=editor).body == "Mine"
    assert Version.objects.count() == 2


def test_publishing_deletes_only_the_authors_draft(enhance, actor, editor):
    for user in (actor.user, editor):
        drafts.save_draft(enhance, Content("Draft"), user=user, base=enhance.live_version_id)
    releases.publish(enhance, Content("Draft"), by=actor, expected=enhance.live_version_id)
    assert list(Draft.objects.values_list("user", flat=True)) == [editor.pk]


def test_no_change_is_no_release(enhance, actor):
    with pytest.raises(Refused, match="No changes"):
        releases.publish(enhance, Content("First text."), by=actor, expected=enhance.live_version_id)


def test_rolling_back_makes_no_new_version(enhance, actor, publish):
    first = enhance.live_version
    second = publish("enhance", "Second")
    releases.roll_back(first, by=actor, expected=second.pk, note="worse")
    enhance.refresh_from_db()
    assert enhance.live_version == first
    assert Version.objects.count() == 2
    assert AuditEntry.objects.first().action == "template.rolled_back"
    with pytest.raises(Refused, match="already live"):
        releases.roll_back(first, by=actor, expected=first.pk)
    with pytest.raises(StaleRelease):
        releases.roll_back(second, by=actor, expected=second.pk)


def test_only_one_default_and_it_can_move(enhance, actor, publish):
    other = publish("noir", "Noir", operation="enhance").template
    with pytest.raises(Refused, match="default"):
        templates.archive(enhance, by=actor)
    templates.make_default(other, by=actor)
    assert list(Template.objects.filter(is_default=True)) == [other]
    templates.archive(enhance, by=actor)
    assert live.load().template_for(PromptOperation.ENHANCE).name == "noir"
    with pytest.raises(Refused, match="archived"):
        releases.publish(enhance, Content("New"), by=actor, expected=enhance.live_version_id)
    with pytest.raises(Stale):
        templates.archive(enhance, by=actor)
    templates.restore(enhance, by=actor)
    assert {template.name for template in live.load().templates} == {"enhance", "noir"}


def test_a_template_without_a_version_cannot_be_the_default(actor, enhance):
    empty = templates.create_template("empty", "enhance", by=actor)
    with pytest.raises(Refused, match="has no live version"):
        templates.make_default(empty, by=actor)


@pytest.mark.parametrize("name", ["", "new", "Upper", "with space", "-dash", "../up", "a" * 61, "enhance"])
def test_bad_template_names_are_refused(enhance, actor, name):
    with pytest.raises(ValidationError):
        templates.create_template(name, "enhance", by=actor)


def test_a_draft_equal_to_its_base_is_deleted(enhance, editor):
    base = enhance.live_version
    assert drafts.save_draft(enhance, Content("Changed"), user=editor, base=base.pk)
    assert drafts.save_draft(enhance, Content(base.body + "\n"), user=editor, base=base.pk) is None
    assert not Draft.objects.exists()
    with pytest.raises(ValidationError, match="NUL"):
        drafts.save_draft(enhance, Content("a\x00"), user=editor, base=base.pk)


@pytest.mark.django_db(transaction=True)
def test_one_of_many_simultaneous_publishers_wins_and_the_others_are_refused(enhance, actor):
    base, outcomes = enhance.live_version_id, []
    start = threading.Barrier(6)

    def compete(number: int) -> None:
        start.wait()
        try:
            releases.publish(enhance, Content(f"Text {number}"), by=actor, expected=base)
            outcomes.append("won")
        except StaleRelease:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(outcomes) == ["refused"] * 5 + ["won"]
    assert Version.objects.count() == 2
    revisions = list(Release.objects.order_by("revision").values_list("revision", flat=True))
    assert revisions == list(range(1, len(revisions) + 1))


@pytest.mark.django_db(transaction=True)
def test_the_snapshot_is_swapped_at_commit_and_a_run_keeps_its_own(enhance, actor):
    before = live.current()
    version = releases.publish(enhance, Content("Second"), by=actor, expected=enhance.live_version_id)
    assert before.template_for(PromptOperation.ENHANCE).body == "First text."
    after = live.current()
    assert after.template_for(PromptOperation.ENHANCE).version_id == version.pk
    assert after.revision == before.revision + 1
