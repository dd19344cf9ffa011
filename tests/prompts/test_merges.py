"""Merging a draft with a newer live version: the merged draft, refusals, and undoing without loss."""

import pytest

from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry
from promptops.prompts.actions import drafts, merges, releases, templates
from promptops.prompts.actions.releases import Content
from promptops.prompts.errors import StaleRelease
from promptops.prompts.models import Draft, Version

pytestmark = pytest.mark.django_db

BASE = "Keep the subject first. Then the light. End with the camera."
MINE = "Keep the main subject first. Then the light. End with the camera."
THEIRS = "Keep the subject first. Then the light. End with the camera and the lens."
MERGED = "Keep the main subject first. Then the light. End with the camera and the lens."


@pytest.fixture
def enhance(publish):
    return publish("enhance", BASE, temperature=0.7).template


@pytest.fixture
def draft(enhance, editor):
    """Return a function that saves Eddie's draft, based on the version that is live now."""

    def make(body: str, **settings) -> Draft:
        enhance.refresh_from_db()
        content = Content(body, **({"temperature": 0.7} | settings))
        return drafts.save_draft(enhance, content, user=editor, base=enhance.live_version_id)

    return make


def take(draft: Draft, expected: Version, **chosen: str) -> Draft:
    chosen = {name.removeprefix("n"): choice for name, choice in chosen.items()}
    return merges.take(draft.template, chosen, user=draft.user, expected=expected.pk, seen=draft.sha256)


def test_edits_of_different_sentences_merge_and_can_be_published(enhance, draft, publish, editor, actor):
    mine = draft(MINE, max_tokens=64)
    live = publish("enhance", THEIRS, temperature=0.2)
    entries = AuditEntry.objects.count()
    merged = take(mine, live)
    assert (merged.body, merged.temperature, merged.max_tokens) == (MERGED, 0.2, 64)
    assert (merged.base, merged.merged_with) == (live, 2)
    assert AuditEntry.objects.count() == entries
    releases.publish(enhance, Content(**merged.content), by=actor, expected=merged.base_id)
    enhance.refresh_from_db()
    assert enhance.live_version.body == MERGED


def test_conflicts_must_be_decided(draft, publish):
    mine = draft(BASE + " Be kind.", temperature=0.4)
    live = publish("enhance", BASE + " Be brief.", temperature=0.2)
    for chosen in ({}, {"n1": "mine"}, {"n1": "theirs", "temperature": "both"}, {"n1": "", "temperature": "mine"}):
        with pytest.raises(Refused, match="still open"):
            take(mine, live, **chosen)
    assert Draft.objects.get().content == mine.content
    merged = take(mine, live, n1="both", temperature="theirs")
    assert (merged.body, merged.temperature) == (BASE + " Be kind. Be brief.", 0.2)


def test_merges_are_undone_one_by_one(enhance, draft, publish, editor):
    mine = draft(MINE, temperature=None, max_tokens=9, model="m")
    second = take(mine, publish("enhance", THEIRS))
    third = take(second, publish("enhance", THEIRS + " Be brief."))
    assert (third.body, third.merged_with) == (MERGED + " Be brief.", 3)
    for before in (second, mine):
        undone = merges.undo(enhance, user=editor)
        assert (undone.content, undone.base) == (before.content, before.base)
    assert undone.before_merges == []
    with pytest.raises(Refused, match="no merge to undo"):
        merges.undo(enhance, user=editor)


def test_a_draft_with_an_earlier_text_is_not_deleted(enhance, draft, publish, editor):
    """The draft equals the live text, because every choice was theirs. The own text can still be restored."""
    mine = draft("Keep the whole subject first.")
    live = publish("enhance", "Never begin.")
    merged = take(mine, live, n1="theirs")
    assert merged.body == "Never begin."
    saved = drafts.save_draft(enhance, Content(**live.content), user=editor, base=live.pk)
    assert saved is not None
    assert merges.undo(enhance, user=editor).body == "Keep the whole subject first."


def test_an_outdated_merge_is_refused_and_changes_nothing(enhance, draft, publish, editor, viewer):
    with pytest.raises(Refused, match="no draft"):
        merges.take(enhance, {}, user=viewer, expected=None, seen="")
    with pytest.raises(Refused, match="no draft"):
        merges.undo(enhance, user=viewer)
    seen = draft(MINE)
    with pytest.raises(Refused, match="already starts from v1"):
        take(seen, enhance.live_version)
    live = publish("enhance", THEIRS)
    with pytest.raises(StaleRelease):
        merges.take(enhance, {}, user=editor, expected=enhance.live_version_id, seen=seen.sha256)
    newer = drafts.save_draft(enhance, Content(MINE + " More.", 0.7), user=editor, base=seen.base_id)
    with pytest.raises(Stale, match="another window"):
        take(seen, live)
    assert Draft.objects.get().content == newer.content
    assert take(newer, live).body == MERGED + " More."


def test_a_save_during_the_merge_wins(draft, publish, editor, monkeypatch):
    mine = draft(MINE)
    live = publish("enhance", THEIRS)
    merge = merges.merge

    def slow(*contents):
        drafts.save_draft(mine.template, Content("Typed meanwhile."), user=editor, base=mine.base_id)
        return merge(*contents)

    monkeypatch.setattr(merges, "merge", slow)
    with pytest.raises(Stale):
        take(mine, live)
    assert Draft.objects.get().body == "Typed meanwhile."


def test_a_too_long_merge_is_refused(draft, publish):
    mine = draft("m" * (4 * 64 * 1024 - 10))
    live = publish("enhance", "t" * 100)
    with pytest.raises(Refused, match="Choose one side"):
        take(mine, live, n1="both")
    assert take(mine, live, n1="theirs").body == "t" * 100


def test_a_draft_started_before_the_first_version_merges(actor, editor, publish):
    template = templates.create_template("noir", "enhance", by=actor)
    mine = drafts.save_draft(template, Content("Dark."), user=editor, base=None)
    live = publish("noir", "Darker.")
    merged = take(mine, live, n1="both")
    assert (merged.body, merged.base) == ("Dark. Darker.", live)
    assert merges.undo(template, user=editor).base is None
