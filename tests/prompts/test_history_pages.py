"""The pages of versions: comparing, rolling back, and editing from an older version."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.prompts.models import Draft, Template, Version
from tests.prompts.pages import form, text_of

pytestmark = pytest.mark.django_db


def test_rolling_back_in_two_clicks(enhance, publish, client_for, releaser):
    second = publish("enhance", "Worse")
    client = client_for(releaser, htmx=True)
    url = reverse("version_live", args=["enhance", 1])
    assert "Roll back to v1" in client.post(url, {"expected": second.pk}).content.decode()
    assert Template.objects.get().live_version == second
    done = client.post(url, {"expected": second.pk, "confirm": "1", "note": "v1 was better"})
    assert done["HX-Redirect"] == "/prompts/enhance/?published=1"
    assert Template.objects.get().live_version.number == 1
    stale = client.post(url, {"expected": second.pk, "confirm": "1"})
    assert stale.status_code == 409
    assert "v1 went live in the meantime" in stale.content.decode()


def test_any_two_texts_are_compared_and_the_address_names_both(enhance, publish, client_for, editor):
    publish("enhance", "First line.\nThird line.", temperature=0.0)
    client = client_for(editor)
    client.post(reverse("template_draft", args=["enhance"]), form(Template.objects.get(), "Draft line."))
    url = reverse("template_diff", args=["enhance"])
    page = client.get(url, {"a": "1", "b": "2"}).content.decode()
    assert re.search(r"<del>.*Second.*</del>.*<ins>.*Third.*</ins>", page, re.S)
    assert "<td>default</td><td><b>0.0</b></td>" in page
    assert re.search(r"<ins>.*Draft.*</ins>", client.get(url, {"a": "2", "b": "draft"}).content.decode())
    assert client.get(url, {"a": "9", "b": "1"}).status_code == 404
    assert client.get(url).status_code == 200


def test_live_in_an_address_follows_releases_and_a_number_does_not(enhance, publish, client_for, viewer):
    client, url = client_for(viewer), reverse("template_diff", args=["enhance"])
    publish("enhance", "First line.\nThird line.")
    assert re.search(r"<del>.*Second.*<ins>.*Third", client.get(url, {"a": "1", "b": "live"}).content.decode())
    publish("enhance", "First line.\nFourth line.")
    assert re.search(r"<del>.*Second.*<ins>.*Fourth", client.get(url, {"a": "1", "b": "live"}).content.decode())
    same = text_of(client.get(url, {"a": "3", "b": "live"}))
    assert "No changes" in same


def test_a_comparison_shows_equal_settings_too(enhance, publish, client_for, viewer):
    publish("enhance", "Other.", temperature=0.5, model="m<b>")
    page = client_for(viewer).get(reverse("template_diff", args=["enhance"]), {"a": "1", "b": "2"}).content.decode()
    for row in ("<td>default</td><td><b>0.5</b></td>", "<td>default</td><td><b>m&lt;b&gt;</b></td>"):
        assert row in page
    assert '<td class="faint">default</td><td class="faint">default</td>' in page


@pytest.mark.parametrize(
    ("view", "columns", "current"),
    [
        (None, "auto", "Automatic"),
        ("side", "side", "Side by side"),
        ("inline", "", "Inline"),
        ("<b>", "auto", "Automatic"),
    ],
)
def test_views_of_a_difference(enhance, publish, client_for, viewer, view, columns, current):
    publish("enhance", "First line.\nThird line.\nNew line.")
    query = {"a": "1", "b": "2"} | ({"view": view} if view else {})
    page = client_for(viewer).get(reverse("template_diff", args=["enhance"]), query).content.decode()
    assert f'<div class="diff {columns}" role="group"' in page
    assert re.search(rf'aria-current="true"[^>]*>\s*{current}\s*</a>', page)
    after = re.findall(r'<div class="text after" dir="auto">(.*?)</div>', page)
    shown = [re.sub(r"<bdi.*?</bdi>|<[^>]+>", "", text) for text in after]
    assert shown == (["First line.", "Third line.", "New line."] if columns else [])
    assert 'value="<b>"' not in page


@pytest.mark.parametrize("key", ["0", "-1", "1.0", "²", "9" * 30, "drafts", "<b>", "\x00"])
def test_an_unknown_side_of_a_comparison_is_not_found(enhance, client_for, viewer, key):
    assert client_for(viewer).get(reverse("template_diff", args=["enhance"]), {"a": "1", "b": key}).status_code == 404


def test_only_the_author_compares_a_draft(enhance, client_for, editor, viewer):
    client_for(editor).post(reverse("template_draft", args=["enhance"]), form(enhance, "A secret plan."))
    url = reverse("template_diff", args=["enhance"])
    assert "secret" in client_for(editor).get(url, {"a": "live", "b": "draft"}).content.decode()
    assert client_for(viewer).get(url, {"a": "live", "b": "draft"}).status_code == 404
    assert "your draft" not in client_for(viewer).get(url).content.decode()


def test_any_of_many_versions_can_be_chosen_under_the_same_queries(enhance, publish, client_for, editor):
    client = client_for(editor)
    counts = {}
    for count in (2, 130):
        for number in range(Version.objects.count(), count):
            publish("enhance", f"Text {number}")
        for name, query in (("template_diff", {"a": "1", "b": "2"}), ("template", {})):
            client.get(reverse(name, args=["enhance"]), query)
            with CaptureQueriesContext(connection) as captured:
                page = client.get(reverse(name, args=["enhance"]), query).content.decode()
            assert len(set(re.findall(r'value="(\d+)"', page)) & {str(n) for n in range(1, count + 1)}) == count, name
            assert counts.setdefault(name, len(captured)) == len(captured)


def test_editing_from_an_old_version_makes_a_draft_on_what_is_live(enhance, publish, client_for, editor):
    publish("enhance", "Second")
    client = client_for(editor, htmx=True)
    url = reverse("version_edit", args=["enhance", 1])
    assert client.post(url)["HX-Redirect"] == "/prompts/enhance/"
    draft = Draft.objects.get()
    assert (draft.body, draft.base.number) == ("First line.\nSecond line.", 2)
    client.post(reverse("template_draft", args=["enhance"]), form(Template.objects.get(), "Dear words."))
    panel = client.post(url)
    assert "Replace my draft with v1" in panel.content.decode()
    assert Draft.objects.get().body == "Dear words."
    assert client.post(url, {"confirm": "1"})["HX-Redirect"] == "/prompts/enhance/"
    assert Draft.objects.get().body == "First line.\nSecond line."
