"""The pages of shared drafts and of requests for a release."""

import pytest
from django.urls import reverse

from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry
from promptops.prompts.actions.drafts import save_draft
from promptops.prompts.actions.handover import ask, publish_request, send_back
from promptops.prompts.content import Content
from promptops.prompts.models import DiscardedDraft, Draft, ReleaseRequest, SharedDraft, Template
from tests.factories import publish as publish_text
from tests.prompts.pages import form, text_of

pytestmark = pytest.mark.django_db


def make_request(template, user, body="First line.\nBetter line.", note="Warmer"):
    save_draft(template, Content(body), user=user, base=template.live_version_id)
    return ask(template, by=Actor.person(user), note=note)


@pytest.fixture
def asked(enhance, editor):
    return make_request(enhance, editor)


def test_sharing_saves_the_text_and_shows_a_link(enhance, client_for, editor, viewer):
    panel = client_for(editor, htmx=True).post(
        reverse("template_share", args=["enhance"]), form(enhance, "First line.\nShared <b>.")
    )
    shared = SharedDraft.objects.get()
    address = reverse("shared_draft", args=["enhance", shared.pk])
    assert f'value="http://testserver{address}"' in panel.content.decode()
    page = client_for(viewer).get(address).content.decode()
    assert "Eddie Editor" in page
    assert "Shared &lt;b&gt;." in page
    assert "Open in my editor" not in page
    assert client_for(viewer).get(address.replace("enhance", "rewrite")).status_code == 404
    assert client_for().get(address).status_code == 302


def test_a_shared_draft_becomes_an_own_one_and_loses_none(enhance, client_for, editor, releaser):
    client_for(editor, htmx=True).post(reverse("template_share", args=["enhance"]), form(enhance, "Shared."))
    save_draft(enhance, Content("Mine."), user=releaser, base=enhance.live_version_id)
    address = reverse("shared_draft_edit", args=["enhance", SharedDraft.objects.get().pk])
    client = client_for(releaser, htmx=True)
    assert "Replace your draft with Eddie Editor&#x27;s draft?" in client.post(address).content.decode()
    assert client.post(address, {"confirm": "1"})["HX-Redirect"] == "/prompts/enhance/"
    assert Draft.objects.get(user=releaser).body == "Shared."
    assert DiscardedDraft.objects.get(user=releaser).body == "Mine."
    assert Draft.objects.get(user=editor).body == "Shared."


def test_a_revoked_link_says_whom_to_ask(enhance, client_for, make_user, editor, releaser, viewer):
    def shared(text):
        client_for(editor, htmx=True).post(reverse("template_share", args=["enhance"]), form(enhance, text))
        return ["enhance", SharedDraft.objects.order_by("pk").last().pk]

    address = reverse("shared_draft", args=(where := shared("Shared.")))
    revoke = reverse("shared_draft_revoke", args=where)
    other = make_user("editor", username="other")
    assert "Revoke the link" not in client_for(other).get(address).content.decode()
    refused = client_for(other, htmx=True).post(revoke)
    assert (refused.status_code, refused.content.decode()) == (
        400,
        "Only Eddie Editor and releasers can revoke this link.",
    )
    assert "Revoke the link" in client_for(editor).get(address).content.decode()
    assert client_for(releaser, htmx=True).post(revoke)["HX-Redirect"] == "/prompts/enhance/"
    gone = client_for(viewer).get(address)
    assert gone.status_code == 410
    assert "Ask Eddie Editor for a new one." in text_of(gone)
    assert "Shared." not in text_of(gone)
    assert client_for(other, htmx=True).post(reverse("shared_draft_edit", args=where)).status_code == 400
    assert client_for(editor, htmx=True).post(revoke).status_code == 400
    entry = AuditEntry.objects.get(action="draft.share_revoked")
    assert (entry.actor_name, entry.before["shared_by"]) == (releaser.name, "Eddie Editor")
    again = shared("Shared.")
    assert again != where  # the same text gets a new link
    assert client_for(editor, htmx=True).post(reverse("shared_draft_revoke", args=again)).status_code == 200


def test_asking_takes_one_panel(enhance, client_for, editor):
    client, address = client_for(editor, htmx=True), reverse("template_ask", args=["enhance"])
    panel = client.post(address, form(enhance, "First line.\nBetter line."))
    assert "<ins>" in panel.content.decode()
    assert not ReleaseRequest.objects.exists()
    client.post(address, form(enhance, "First line.\nBetter line.") | {"note": "Warmer", "confirm": "1"})
    assert (ReleaseRequest.objects.get().note, ReleaseRequest.objects.get().user) == ("Warmer", editor)
    again = client.post(address, form(enhance, "First line.\nBest line."))
    assert 'value="Warmer"' in again.content.decode()
    failed = client.post(address, form(enhance, "Uses {{ nothing }}.") | {"confirm": "1"})
    assert failed.status_code == 409
    assert ReleaseRequest.objects.get().edition == 1


def test_the_editor_shows_the_state_of_the_own_request(enhance, client_for, editor, releaser, asked):
    client = client_for(editor, htmx=True)
    page = text_of(client_for(editor).get("/prompts/enhance/"))
    assert page.count("Release asked for") == 2  # the state and the disabled button
    saved = text_of(client.post(reverse("template_draft", args=["enhance"]), form(enhance, "Something else.")))
    assert "Your draft has moved on" in saved
    assert "Update the request" in saved
    state = reverse("template_request", args=["enhance"])
    assert client.get(state, {"shown": asked.mark}).status_code == 204
    send_back(asked, "Shorter <please>", by=Actor.person(releaser), edition=1)
    news = client.get(state, {"shown": asked.mark}).content.decode()
    assert "Rita Releaser" in news
    assert "Shorter &lt;please&gt;" in news
    assert "Shorter" in text_of(client_for(editor).get("/"))
    assert "Shorter" not in text_of(client_for(releaser).get("/"))


def test_publishing_a_request_takes_one_panel(enhance, client_for, releaser, asked):
    client = client_for(releaser, htmx=True)
    address = reverse("release_request_publish", args=[asked.pk])
    panel = client.post(address, {"note": "Warmer"}).content.decode()
    assert "Publish enhance v2, as Eddie Editor asked?" in panel
    assert 'value="Warmer"' in panel
    wanted = {"confirm": "1", "note": "Warmer", "expected": enhance.live_version_id, "edition": 1}
    assert client.post(address, wanted | {"edition": 7}).status_code == 409
    assert client.post(address, wanted)["HX-Redirect"] == "/prompts/enhance/?published=2"
    assert Template.objects.get().live_version.body == "First line.\nBetter line."
    assert "as Eddie Editor asked" in text_of(client_for(releaser).get(reverse("timeline")))
    assert "for Eddie Editor" in text_of(client_for(releaser).get(reverse("template_history", args=["enhance"])))
    entry = AuditEntry.objects.get(action="template.published_on_request")
    assert entry.after["asked_by"] == "Eddie Editor"
    assert client.post(address, wanted).status_code == 409  # a second press


def test_sending_back_needs_a_comment(client_for, releaser, asked):
    client = client_for(releaser, htmx=True)
    address = reverse("release_request_send_back", args=[asked.pk])
    assert client.post(address, {"comment": " ", "edition": 1}).status_code == 400
    assert client.post(address, {"comment": "Shorter", "edition": 2}).status_code == 400
    assert client.post(address, {"comment": "Shorter", "edition": 1})["HX-Redirect"] == "/release-requests/"
    assert ReleaseRequest.objects.get().state == "sent_back"


def test_withdrawing(client_for, editor, releaser, asked):
    address = reverse("release_request_withdraw", args=[asked.pk])
    assert client_for(releaser, htmx=True).post(address).status_code == 400
    assert client_for(editor, htmx=True).post(address)["HX-Redirect"] == "/prompts/enhance/"
    assert ReleaseRequest.objects.get().state == "withdrawn"


def publish_button(page: str) -> str:
    """Return the tag of the button that publishes the request."""
    return page.split("Publish…")[0].rpartition("<button")[2]


def test_a_request_says_what_happened_since(enhance, client_for, releaser, asked, actor):
    client, address = client_for(releaser), reverse("release_request", args=[asked.pk])
    assert "aria-disabled" not in publish_button(client.get(address).content.decode())
    publish_text("enhance", "First, changed.\nSecond line.", by=actor)
    assert "merge without conflicts" in text_of(client.get(address))
    publish_text("enhance", "First, changed.\nOther line.", by=actor)
    page = client.get(address)
    assert "1 conflict with v3" in text_of(page)
    assert "aria-disabled" in publish_button(page.content.decode())
    seen = client.get(address, {"seen": "old"}, headers={"HX-Request": "true"})
    assert "has changed" in seen.content.decode()


def test_only_releasers_see_how_many_wait(enhance, client_for, editor, releaser, asked):
    for address in ("/runs/", "/safety/queue/"):  # the second counts what waits there, too
        assert "1 request for a release" in text_of(client_for(releaser).get(address))
    assert 'id="requests-count"' not in client_for(editor).get("/runs/").content.decode()
    assert "1 for a release" in text_of(client_for(releaser).get("/"))
    assert "1 for a release" not in text_of(client_for(editor).get("/"))


@pytest.mark.parametrize("ended", [False, True], ids=["active", "ended"])
@pytest.mark.parametrize("count", [1, 30])
def test_the_number_of_queries_does_not_grow(
    count, ended, publish, make_user, client_for, releaser, viewer, django_assert_num_queries
):
    template = publish("enhance", "First.").template
    for number in range(count):
        asked = make_request(template, make_user("editor", f"e{number}", f"Editor {number}"), f"Text {number}.")
        if ended:
            live = Template.objects.get().live_version
            asked.base = live
            asked.save()
            publish_request(asked, by=Actor.person(releaser), edition=1, expected=live.pk)
    client = client_for(viewer)
    client.get(reverse("release_requests"))
    with django_assert_num_queries(8):
        page = client.get(reverse("release_requests"), {"ended": "1"} if ended else {})
    assert page.content.decode().count('data-label="Template"') == count
