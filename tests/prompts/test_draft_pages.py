"""Autosave, discarded drafts, and two windows of the same person."""

import pytest
from django.urls import reverse

from promptops.ledger.models import AuditEntry
from promptops.prompts.models import DiscardedDraft, Draft, Template, Version
from promptops.prompts.queries.templates import departure
from tests.prompts.pages import drafts, form, post, restore, window

pytestmark = pytest.mark.django_db


def test_autosave_keeps_the_draft_and_the_editor_resumes_it(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    saved = client.post(reverse("template_draft", args=["enhance"]), form(enhance, "Mine <b>", temperature="0.4"))
    assert saved.status_code == 200
    assert 'form="ask-form"' in saved.content.decode()
    page = client_for(editor).get(reverse("template", args=["enhance"])).content.decode()
    assert "Mine &lt;b&gt;</textarea>" in page
    assert 'value="0.4"' in page
    assert Version.objects.count() == 1


def test_a_refused_draft_names_the_reason(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    for fields, sentence in [
        ({"body": "a\x00b"}, "NUL"),
        ({"temperature": "9"}, "Temperature"),
        ({"max_tokens": "-1"}, "Max tokens"),
    ]:
        response = client.post(reverse("template_draft", args=["enhance"]), form(enhance, "x") | fields)
        assert (response.status_code, response["Content-Type"]) == (400, "text/plain; charset=utf-8")
        assert sentence in response.content.decode()


def test_discarding_shows_the_live_text_again(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    client.post(reverse("template_draft", args=["enhance"]), form(enhance, "Mine"))
    done = client.post(reverse("template_discard", args=["enhance"]))
    assert done["HX-Redirect"] == "/prompts/enhance/"
    assert not Draft.objects.exists()
    assert "Mine" not in client_for(editor).get(reverse("template", args=["enhance"])).content.decode()


def test_discarding_and_restoring_can_be_undone(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    post(client, "template_draft", enhance, "Saved", temperature="0.4")
    post(client, "template_discard", enhance, "Saved, and typed a moment ago", temperature="0.4")
    page = client_for(editor).get(reverse("template", args=["enhance"])).content.decode()
    assert '1 <span class="words">discarded draft<' in page
    assert restore(client, enhance, "Saved, and typed a moment ago")["HX-Redirect"] == "/prompts/enhance/"
    assert drafts() == ["Saved, and typed a moment ago"]
    assert (Draft.objects.get().temperature, Draft.objects.get().base_id) == (0.4, enhance.live_version_id)
    post(client, "template_discard", enhance)
    post(client, "template_draft", enhance, "Started again")
    restore(client, enhance, "Saved, and typed a moment ago")
    assert drafts() == ["Saved, and typed a moment ago", "Started again"]
    restore(client, enhance, "Started again")
    assert drafts() == ["Started again", "Saved, and typed a moment ago"]
    assert AuditEntry.objects.filter(action__contains="draft").count() == 0


def test_the_toast_of_a_discarded_draft_has_an_undo_button(enhance, client_for, editor):
    client = client_for(editor)
    post(client, "template_draft", enhance, "Mine")
    page = client.post(reverse("template_discard", args=["enhance"]), follow=True).content.decode()
    assert "Draft discarded." in page
    undo = reverse("template_restore_draft", args=["enhance", DiscardedDraft.objects.get().pk])
    assert f'hx-post="{undo}" hx-include="#editor"' in page


def test_restoring_a_missing_discarded_draft_changes_nothing(enhance, client_for, editor, releaser):
    theirs, mine = client_for(releaser), client_for(editor)
    post(theirs, "template_draft", enhance, "Theirs")
    post(theirs, "template_discard", enhance)
    url = reverse("template_restore_draft", args=["enhance", DiscardedDraft.objects.get().pk])
    assert "no longer exists" in mine.post(url, follow=True).content.decode()
    post(mine, "template_discard", enhance)
    assert drafts() == ["Theirs"]
    panel = mine.get(reverse("template_discarded", args=["enhance"]), headers={"HX-Request": "true"}).content.decode()
    assert "Discarded drafts of enhance" in panel
    assert "Theirs" not in panel


@pytest.mark.parametrize(
    ("discarded", "expected"),
    [
        (["A", "B"], ["B", "A"]),
        (["A", "B", "A"], ["A", "B"]),
        ([f"{n}" for n in range(12)], [f"{n}" for n in range(11, 1, -1)]),
    ],
    ids=["each", "each text once", "the newest ten"],
)
def test_the_newest_discarded_drafts_are_kept(discarded, expected, enhance, publish, client_for, editor, releaser):
    for client, name in (
        (client_for(releaser), "enhance"),
        (client_for(editor), publish("rewrite", "R").template.name),
    ):
        post(client, "template_draft", Template.objects.get(name=name), "Another's, or of another template")
        post(client, "template_discard", Template.objects.get(name=name))
    client = client_for(editor)
    for text in discarded:
        post(client, "template_draft", enhance, text)
        post(client, "template_discard", enhance)
    assert drafts() == [*expected, *["Another's, or of another template"] * 2]


def test_discarded_drafts_are_listed_and_restored_without_losing_another(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    for text in ("First, and of that the most.", "Second one."):
        post(client, "template_draft", enhance, text, temperature="0.4")
        post(client, "template_discard", enhance)
    for page in (client.get(reverse("template", args=["enhance"])), post(client, "template_draft", enhance, "Third.")):
        assert (
            '2 <span class="words">discarded drafts<' in page.content.decode()
        )  # after a release, and after an autosave
    post(client, "template_draft", enhance, "First line.\nSecond line.")  # equal to the live text: no draft
    panel = client.get(reverse("template_discarded", args=["enhance"])).content.decode()
    assert panel.index("Second one.") < panel.index("First, and of that the most.")
    assert panel.count("started from v1") == 2
    assert panel.count("data-exact") == 2  # with seconds, because both may be discarded in the same minute
    assert "Temperature <b>0.4</b>" in panel
    url = reverse("template_restore_draft", args=["enhance", DiscardedDraft.objects.last().pk])
    assert f'hx-post="{url}" hx-include="#editor"' in panel
    restore(client, enhance, "First, and of that the most.", "Typed a moment ago, not saved")
    assert drafts() == ["First, and of that the most.", "Typed a moment ago, not saved", "Second one."]
    assert "no longer exists" in client_for(editor).post(url, follow=True).content.decode()
    assert drafts()[0] == "First, and of that the most."


@pytest.mark.parametrize(
    ("text", "base", "begins"),
    [
        ("Write short words.", "", "Write short words."),
        ("Write  short\nwords.", "Write", "Write short words."),
        ("Write short words.", "Write shorter words.", "… short words."),
        ("Write short\nwords, please.", "Write short\nwords.", "… words, please."),
        ("Write", "Write short words.", "Write"),
        ("", "Write short words.", ""),
    ],
)
def test_departure_returns_the_first_new_words(text, base, begins):
    assert departure(text, base) == begins


@pytest.mark.parametrize("first", ["", "There before"])
def test_two_windows_of_one_person_never_overwrite_each_other(first, enhance, client_for, editor):
    client = client_for(editor)
    if first:
        post(client, "template_draft", enhance, first)
    one, two = window(client, enhance), window(client, enhance)
    assert one["page"] != two["page"]
    assert post(client, "template_draft", enhance, "One", **one).status_code == 200
    assert post(client, "template_draft", enhance, "One, longer", **one).status_code == 200
    refused = post(client, "template_draft", enhance, "Two", **two)
    assert refused.status_code == 409
    assert "changed in another window" in refused["X-Reason"]
    assert "Keep this text" in refused.content.decode()
    assert drafts() == ["One, longer"]
    assert post(client, "template_draft", enhance, "One, longer", **two).status_code == 200  # the same text
    assert post(client, "template_draft", enhance, "Back in one", **one).status_code == 409


def test_either_text_of_two_windows_can_be_chosen_and_neither_is_lost(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    one, two = window(client_for(editor), enhance), window(client_for(editor), enhance)
    post(client, "template_draft", enhance, "One", **one)
    assert post(client, "template_draft", enhance, "Two", **two, overwrite="1").status_code == 200
    assert drafts() == ["Two", "One"]
    assert post(client, "template_draft", enhance, "Two, longer", **two).status_code == 200
    assert post(client, "template_draft", enhance, "One, longer", **one).status_code == 409
    assert post(client, "template_set_aside", enhance, "One, longer", **one)["HX-Redirect"] == "/prompts/enhance/"
    assert drafts() == ["Two, longer", "One, longer", "One"]
    assert post(client, "template_set_aside", enhance, "\x00", **one).status_code == 400
    assert drafts() == ["Two, longer", "One, longer", "One"]


def test_discarding_in_one_window_does_not_lose_the_text_of_another(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    one, two = window(client_for(editor), enhance), window(client_for(editor), enhance)
    post(client, "template_draft", enhance, "Long ago")
    post(client, "template_discard", enhance)
    post(client, "template_draft", enhance, "One", **one)
    assert post(client, "template_discard", enhance, "Two", **two).status_code == 409
    assert restore(client, enhance, "Long ago", "Two", **two).status_code == 409
    assert drafts() == ["One", "Long ago"]
    assert "HX-Redirect" in restore(client, enhance, "Long ago", "One, longer", **one)
    assert drafts() == ["Long ago", "One, longer"]


def test_another_computer_continues_the_same_draft(enhance, client_for, editor):
    laptop, desktop = client_for(editor), client_for(editor)
    post(laptop, "template_draft", enhance, "Started on the laptop", **window(laptop, enhance))
    assert "Started on the laptop" in desktop.get(reverse("template", args=["enhance"])).content.decode()
    on_desktop = window(desktop, enhance)
    assert post(desktop, "template_draft", enhance, "Started on the laptop, and more", **on_desktop).status_code == 200


def test_publishing_from_one_window_keeps_the_text_of_another(enhance, client_for, releaser):
    client = client_for(releaser, htmx=True)
    one, two = window(client_for(releaser), enhance), window(client_for(releaser), enhance)
    post(client, "template_draft", enhance, "One", **one)
    assert post(client, "template_review", enhance, "Two", **two).status_code == 200
    assert drafts() == ["Two", "One"]
    post(client, "template_draft", enhance, "One again", **one, overwrite="1")
    assert "HX-Redirect" in post(client, "template_publish", enhance, "Two", **two)
    assert drafts()[0] == "One again"
