"""The merge panel: conflicts, choices, outdated merges, and undoing a merge."""

import re

import pytest
from django.urls import reverse

from promptops.prompts.models import Draft, Template
from tests.prompts.pages import form, text_of, window

pytestmark = pytest.mark.django_db


MINE = "First line.\nMy second line."
THEIRS = "Their first line.\nSecond line."


def merge_form(page: str, **chosen) -> dict:
    """Return the fields that the merge panel sends."""
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    return hidden | {f"choice-{name.removeprefix('n')}": choice for name, choice in chosen.items()}


def test_edits_without_conflict_are_merged_into_the_draft(enhance, publish, client_for, releaser):
    mine = form(enhance, MINE)
    publish("enhance", THEIRS, temperature=0.2, note="hotfix")
    client = client_for(releaser, htmx=True)
    panel = client.post(reverse("template_publish", args=["enhance"]), mine)
    assert panel.status_code == 409
    words = text_of(panel)
    assert "No conflicts." in words
    assert "Merged automatically: 1 of your edits, 2 from v2." in words
    assert "Ada Administrator" in words
    page = panel.content.decode()
    assert re.search(r'<ins class="mine">.*?My second.*?</ins>', page)
    assert re.search(r'<ins class="theirs">.*?Their first.*?</ins>', page)
    assert "radio" not in page
    # The server ignores texts that the page sends.
    url = reverse("template_merge", args=["enhance"])
    taken = client.post(url, merge_form(page) | {"body": "Forged.", "base": "1"})
    assert taken["HX-Redirect"] == "/prompts/enhance/"
    live = Template.objects.get().live_version
    draft = Draft.objects.get()
    assert (draft.body, draft.temperature, draft.base) == ("Their first line.\nMy second line.", 0.2, live)
    editing = client_for(releaser).get("/prompts/enhance/")
    assert "Merged with v2. Your earlier text is kept" in editing.content.decode()
    assert "while you were editing" not in editing.content.decode()
    done = client.post(
        reverse("template_publish", args=["enhance"]), form(Template.objects.get(), draft.body, temperature="0.2")
    )
    assert done["HX-Redirect"] == "/prompts/enhance/?published=3"


def test_conflicts_are_shown_without_a_choice_and_must_be_decided(enhance, publish, client_for, editor):
    mine = form(enhance, "First line.\nSecond <b>.", temperature="0.4") | window(client_for(editor), enhance)
    publish("enhance", "First line.\nSecond row.", temperature=0.9)
    client = client_for(editor, htmx=True)
    url = reverse("template_merge", args=["enhance"])
    page = client.post(url, mine).content.decode()
    assert "2 conflicts" in page
    assert "The live version changed again" not in page
    assert "Second &lt;b&gt;" in page
    assert "checked" not in page
    for name in ("choice-1", "choice-temperature"):
        assert len(re.findall(f'<input type="radio" name="{name}" value="[a-z]+" required>', page)) >= 2
    refused = client.post(url, merge_form(page, n1="both"))
    assert refused.status_code == 409
    assert "1 of 2 conflicts are still open" in refused.content.decode()
    assert 'name="choice-1" value="both" required checked' in refused.content.decode()
    assert Draft.objects.get().body == mine["body"]
    client.post(url, merge_form(page, n1="theirs", temperature="mine"))
    assert (Draft.objects.get().body, Draft.objects.get().temperature) == ("First line.\nSecond row.", 0.4)


def test_when_live_changes_again_the_new_merge_is_shown(enhance, publish, client_for, editor):
    mine = form(enhance, MINE)
    publish("enhance", THEIRS)
    client = client_for(editor, htmx=True)
    url = reverse("template_merge", args=["enhance"])
    page = client.post(url, mine).content.decode()
    publish("enhance", THEIRS + "\nThird line.")
    again = client.post(url, merge_form(page))
    assert again.status_code == 409
    assert "The live version changed again: v3 is live now. This is the merge with it." in text_of(again)
    assert "Third line." in again.content.decode()
    assert Draft.objects.get().body == MINE
    assert client.post(url, merge_form(again.content.decode()))["HX-Redirect"] == "/prompts/enhance/"
    assert Draft.objects.get().body == "Their first line.\nMy second line.\nThird line."


def test_a_merge_uses_the_draft_that_another_window_saved(enhance, publish, client_for, editor):
    publish("enhance", THEIRS)
    client = client_for(editor, htmx=True)
    url = reverse("template_merge", args=["enhance"])
    page = client.post(url, form(enhance, MINE)).content.decode()
    client.post(reverse("template_draft", args=["enhance"]), form(enhance, MINE + " And more."))
    again = client.post(url, merge_form(page))
    assert "another window" in again.content.decode()
    assert "And more." in again.content.decode()
    assert Draft.objects.get().body == MINE + " And more."


def test_undoing_a_merge_shows_the_difference_first(enhance, publish, client_for, editor):
    mine = form(enhance, MINE)
    base = enhance.live_version
    publish("enhance", THEIRS)
    client = client_for(editor, htmx=True)
    page = client.post(reverse("template_merge", args=["enhance"]), mine).content.decode()
    client.post(reverse("template_merge", args=["enhance"]), merge_form(page))
    url = reverse("template_merge_undo", args=["enhance"])
    panel = client.post(url)
    assert "Restore my text" in panel.content.decode()
    assert re.search(r"<del>.*Their.*</del>", panel.content.decode())
    assert Draft.objects.get().body != MINE
    assert client.post(url, {"confirm": "1"})["HX-Redirect"] == "/prompts/enhance/"
    assert (Draft.objects.get().body, Draft.objects.get().base) == (MINE, base)
    assert "no merge to undo" in client.post(url, {"confirm": "1"}).content.decode()


def test_without_anything_to_merge_the_panel_explains_it(enhance, publish, client_for, releaser):
    client = client_for(releaser, htmx=True)
    url = reverse("template_merge", args=["enhance"])
    fresh = client.post(url, form(enhance, MINE))
    assert "already starts from the live version" in fresh.content.decode()
    untouched = form(enhance, "First line.\nSecond line.")
    publish("enhance", THEIRS)
    page = client.post(url, untouched).content.decode()
    assert "Show v2 in the editor" in page
    assert "Use the merged text" not in page
    assert "no draft" in client.post(url, {"seen": "", "expected": "x"}).content.decode()
    long = client.post(url, untouched | {"body": "x" * (4 * 64 * 1024 + 1)}).content.decode()
    assert "too long to save or merge" in long
    assert "Use the merged text" not in long


def test_a_merge_without_own_changes_gets_a_warning(enhance, publish, client_for, editor):
    mine = form(enhance, "Mine.")
    publish("enhance", "Theirs.")
    client = client_for(editor, htmx=True)
    page = client.post(reverse("template_merge", args=["enhance"]), mine).content.decode()
    client.post(reverse("template_merge", args=["enhance"]), merge_form(page, n1="theirs"))
    editing = text_of(client.get("/prompts/enhance/", headers={"HX-Request": "false"}))
    assert "same as the live text" in editing
    assert "Undo the merge" in editing


def test_long_unchanged_stretches_are_folded(enhance, publish, client_for, editor):
    long = " ".join(f"Rule {number} stays as it is." for number in range(200))
    publish("enhance", f"Begin. {long} End.")
    mine = form(Template.objects.get(), f"Begin well. {long} End.")
    publish("enhance", f"Begin. {long} End well.")
    page = client_for(editor, htmx=True).post(reverse("template_merge", args=["enhance"]), mine).content.decode()
    folded = re.search(r"<summary>([\d,]+) unchanged words</summary><span>(.*?)</span></details>", page)
    assert folded
    assert int(folded[1].replace(",", "")) > 1100
    shown = re.search(r'<div class="boxed merge".*?</div>', page, re.S)[0]
    assert "Rule 100 stays" in folded[2]
    words = re.sub(r"\[added:|\]|<summary>.*?</summary>|<bdi class=\"whose.*?</bdi>|<[^>]+>", "", shown)
    assert words == f"Begin well. {long} End well."
