"""Sharing a draft, asking for its release, and the answers of releasers: the actions."""

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from promptops.alerts import events
from promptops.ledger import sentences
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry, Release
from promptops.people.actions import accounts
from promptops.prompts.actions import drafts, templates
from promptops.prompts.actions.handover import ask, publish_request, send_back, share, withdraw
from promptops.prompts.content import Content
from promptops.prompts.errors import ChecksFailed, StaleRelease
from promptops.prompts.models import Draft, ReleaseRequest, SharedDraft, Template
from promptops.prompts.queries.handover import Arrival, own

pytestmark = pytest.mark.django_db


def write(template, user, body, **settings):
    """Save a person's draft on what is live, or on the base that it has."""
    draft = template.drafts.filter(user=user).first()
    base = draft.base_id if draft else Template.objects.get(pk=template.pk).live_version_id
    drafts.save_draft(template, Content(body, **settings), user=user, base=base)


@pytest.fixture
def eddie(editor):
    return Actor.person(editor)


@pytest.fixture
def rita(releaser):
    return Actor.person(releaser)


@pytest.fixture
def asked(enhance, editor, eddie):
    write(enhance, editor, "First line.\nBetter line.", temperature=0.4)
    return ask(enhance, by=eddie, note="Warmer")


def entries():
    return [sentences.sentence(entry) for entry in AuditEntry.objects.order_by("seq") if entry.seq > 2]


def live():
    return Template.objects.select_related("live_version").get(name="enhance").live_version


def test_a_share_keeps_the_text_as_it_was(enhance, editor, eddie):
    write(enhance, editor, "Mine")
    shared = share(enhance, by=eddie)
    assert share(enhance, by=eddie) == shared  # the same text has one link
    write(enhance, editor, "Mine, changed")
    assert share(enhance, by=eddie) != shared
    assert SharedDraft.objects.get(pk=shared.pk).body == "Mine"
    assert entries() == ["Eddie Editor shared a draft of enhance"] * 2


@pytest.mark.parametrize("action", [share, ask])
def test_without_a_draft_nothing_is_handed_over(enhance, eddie, action):
    with pytest.raises(Refused, match="no draft"):
        action(enhance, by=eddie)


def test_the_author_goes_on_editing_without_changing_the_request(enhance, editor, eddie, asked):
    draft = Draft.objects.get()
    assert own(enhance, editor, draft).has_moved_on is False
    write(enhance, editor, "First line.\nYet better.")
    draft.refresh_from_db()
    assert own(enhance, editor, draft).has_moved_on is True
    asked.refresh_from_db()
    assert (asked.body, asked.temperature) == ("First line.\nBetter line.", 0.4)
    updated = ask(enhance, by=eddie, note="Warmer")
    assert (updated.pk, updated.edition, updated.body) == (asked.pk, 2, "First line.\nYet better.")
    assert own(enhance, editor, draft).has_moved_on is False
    with pytest.raises(Refused, match="already has this text"):
        ask(enhance, by=eddie, note="Warmer")
    assert entries() == [
        "Eddie Editor asked for a release of enhance",
        "Eddie Editor updated the request for a release of enhance",
    ]


def test_one_active_request_for_each_person_and_template(enhance, editor, asked):
    with pytest.raises(IntegrityError), transaction.atomic():
        ReleaseRequest.objects.create(template=enhance, user=editor, body="Another")


@pytest.mark.parametrize(
    ("body", "error"),
    [("First line.\nSecond line.", Refused), ("  ", ValidationError), ("Uses {{ nothing }}.", ChecksFailed)],
    ids=["as live", "blank", "fails a check"],
)
def test_texts_that_cannot_go_live_are_refused(enhance, editor, eddie, body, error):
    Draft.objects.create(template=enhance, user=editor, base=enhance.live_version, body=body)
    with pytest.raises(error):
        ask(enhance, by=eddie)
    assert not ReleaseRequest.objects.exists()


def test_a_releaser_publishes_what_was_asked_for(enhance, editor, releaser, rita, asked):
    version = publish_request(asked, by=rita, edition=1, expected=live().pk, note="Warmer")
    assert live() == version
    assert (version.body, version.temperature, version.author) == ("First line.\nBetter line.", 0.4, editor)
    release = Release.objects.get(version=version)
    assert (release.user, release.note) == (releaser, "Warmer")
    assert entries()[-1] == "Rita Releaser published enhance v2, as Eddie Editor asked"
    assert not Draft.objects.exists()
    asked.refresh_from_db()
    assert (asked.state, asked.version, asked.answered_by) == ("published", version, releaser)


def test_a_draft_that_has_moved_on_stays_after_the_release(enhance, editor, rita, asked):
    write(enhance, editor, "Something else.")
    publish_request(asked, by=rita, edition=1, expected=live().pk)
    assert Draft.objects.get().body == "Something else."


def test_a_request_is_merged_with_what_went_live_since(enhance, rita, asked, publish):
    publish("enhance", "First, changed.\nSecond line.", temperature=0.2, max_tokens=99)
    arrival = Arrival(ReleaseRequest.objects.get())
    assert (arrival.is_outdated, arrival.conflicts) == (True, 1)  # both set the temperature
    publish("enhance", "First, changed.\nSecond line.", max_tokens=99)
    version = publish_request(asked, by=rita, edition=1, expected=live().pk)
    assert (version.body, version.temperature, version.max_tokens) == ("First, changed.\nBetter line.", 0.4, 99)
    assert not Draft.objects.exists()  # its changes are live


def test_a_clash_is_refused(enhance, rita, asked, publish):
    publish("enhance", "First line.\nOther line.")
    with pytest.raises(Refused, match="changed the same places"):
        publish_request(asked, by=rita, edition=1, expected=live().pk)
    assert live().number == 2


def test_what_the_releaser_has_not_read_is_not_published(enhance, editor, eddie, rita, asked, publish):
    expected = live().pk
    write(enhance, editor, "First line.\nSneaky line.")
    ask(enhance, by=eddie)
    for answer in (
        lambda: publish_request(asked, by=rita, edition=1, expected=expected),
        lambda: send_back(asked, "No", by=rita, edition=1),
    ):
        with pytest.raises(Stale, match="updated the request"):
            answer()
    publish("enhance", "First line.\nSecond line.\nThird line.")
    with pytest.raises(StaleRelease):
        publish_request(asked, by=rita, edition=2, expected=expected)


def test_sent_back_with_a_comment_answered_with_an_update(enhance, editor, eddie, rita, asked):
    with pytest.raises(Refused, match="Write what"):
        send_back(asked, "  ", by=rita, edition=1)
    send_back(asked, "Shorter, please", by=rita, edition=1)
    asked.refresh_from_db()
    assert (asked.state, asked.comment) == ("sent_back", "Shorter, please")
    with pytest.raises(Stale, match="already sent back"):
        publish_request(asked, by=rita, edition=1, expected=live().pk)
    again = ask(enhance, by=eddie, note="I disagree")  # the same text, with an answer
    assert (again.pk, again.state, again.comment) == (asked.pk, "open", "Shorter, please")
    entry = AuditEntry.objects.get(action="request.sent_back")
    assert (sentences.sentence(entry), entry.note) == (
        "Rita Releaser sent the request of Eddie Editor for a release of enhance back",
        "Shorter, please",
    )


def test_only_the_author_withdraws(enhance, eddie, rita, asked):
    with pytest.raises(Refused, match="Only the person who asked"):
        withdraw(asked, by=rita)
    withdraw(asked, by=eddie)
    with pytest.raises(Stale):
        withdraw(asked, by=eddie)
    assert ask(enhance, by=eddie).pk != asked.pk


def test_an_archived_template_refuses_a_request_and_its_release(enhance, editor, eddie, rita, asked, publish):
    other = publish("other", "Other", operation="enhance").template
    templates.make_default(other, by=rita)
    templates.archive(enhance, by=rita)
    with pytest.raises(Refused, match="archived"):
        publish_request(asked, by=rita, edition=1, expected=live().pk)
    write(enhance, editor, "More")
    with pytest.raises(Refused, match="archived"):
        ask(enhance, by=eddie)
    assert withdraw(asked, by=eddie).state == "withdrawn"


def test_a_request_of_a_deactivated_person_stays(enhance, editor, actor, rita, asked):
    accounts.deactivate(editor, by=actor)
    assert publish_request(asked, by=rita, edition=1, expected=live().pk).author == editor


def test_releasers_hear_of_each_request_once(enhance, editor, eddie, asked):
    before = events.newest_request()
    assert events.requests_since(before) == []
    [first] = events.requests_since(0)
    assert (first.number, first.title) == (before, "Eddie Editor asked for a release of enhance")
    assert first.facts == {"template": "enhance", "by": "Eddie Editor", "note": "Warmer"}
    assert first.page == f"/release-requests/{asked.pk}/"
    write(enhance, editor, "Again.")
    ask(enhance, by=eddie)
    assert [each.title for each in events.requests_since(before)] == [
        "Eddie Editor updated the request for a release of enhance"
    ]
