"""The pages of templates."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.ledger.models import AuditEntry
from promptops.prompts.models import DiscardedDraft, Draft, Template, Version
from promptops.prompts.queries.templates import departure

pytestmark = pytest.mark.django_db


@pytest.fixture
def enhance(publish):
    return publish("enhance", "First line.\nSecond line.", note="from files").template


def form(template: Template, body: str, **fields) -> dict:
    base = template.live_version_id or ""
    return {"body": body, "base": base, "temperature": "", "max_tokens": "", "model": ""} | fields


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_the_list_shows_what_is_live(enhance, publish, client_for, viewer):
    publish("noir", "Dark", operation="enhance", note="<script>alert(1)</script>")
    page = client_for(viewer).get(reverse("prompts")).content.decode()
    assert "v1" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert reverse("template", args=["noir"]) in page


@pytest.mark.parametrize("name", ["overview", "prompts", "template_history"])
def test_queries_do_not_grow_with_rows(name, enhance, publish, client_for, viewer):
    client, arguments = client_for(viewer), ["enhance"] if name == "template_history" else []
    counts = []
    for count in (1, 30):
        for number in range(Version.objects.count(), count):
            publish("enhance", f"Text {number}")
            publish(f"t{number}", f"Text {number}", operation="enhance")
        client.get(reverse(name, args=arguments))
        with CaptureQueriesContext(connection) as captured:
            assert client.get(reverse(name, args=arguments)).status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_overview_shows_what_is_live_and_warns_of_built_in_text(enhance, client_for, viewer):
    page = text_of(client_for(viewer).get(reverse("overview")))
    assert "from files" in page
    assert "Ada Administrator published enhance v1" in page
    assert page.count("built-in text") == 2
    assert "No provider is on" in page


def test_a_viewer_sees_the_live_text_without_controls(enhance, client_for, viewer):
    page = client_for(viewer).get(reverse("template", args=["enhance"])).content.decode()
    assert "First line.\nSecond line." in page
    assert "<textarea" not in page


def test_autosave_keeps_the_draft_and_the_editor_resumes_it(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    saved = client.post(reverse("template_draft", args=["enhance"]), form(enhance, "Mine <b>", temperature="0.4"))
    assert saved.status_code == 200
    assert "Only releasers and administrators can publish" in saved.content.decode()
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


def test_publishing_takes_one_review_panel(enhance, client_for, releaser):
    client = client_for(releaser, htmx=True)
    panel = client.post(reverse("template_review", args=["enhance"]), form(enhance, "First line.\nOther line."))
    assert panel.status_code == 200
    page = panel.content.decode()
    assert "Publish v2</button>" in page
    assert re.search(r"<ins>.*Other.*</ins>", page)
    assert re.search(r"<del>.*Second.*</del>", page)
    done = client.post(
        reverse("template_publish", args=["enhance"]), form(enhance, "First line.\nOther line.", note="why <i>")
    )
    assert done["HX-Redirect"] == "/prompts/enhance/?published=2"
    page = client_for(releaser).get("/prompts/enhance/?published=2").content.decode()
    assert "Undo: roll back to v1" in page
    version = Version.objects.get(number=2)
    assert (version.note, version.author) == ("why <i>", releaser)
    assert not Draft.objects.exists()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("   ", "blank"),
        ("a\ufffdb", "broken UTF-8"),
        ("x" * 65537, "64 KiB"),
        ("First line.\nSecond line.", "No changes"),
    ],
)
def test_an_invalid_text_is_refused_with_the_reason(enhance, client_for, releaser, body, sentence):
    client = client_for(releaser, htmx=True)
    response = client.post(reverse("template_publish", args=["enhance"]), form(enhance, body))
    assert response.status_code == 409
    assert sentence in response.content.decode()
    assert Version.objects.count() == 1


def test_publishing_from_an_outdated_base_shows_both_texts_and_saves_yours(enhance, publish, client_for, releaser):
    mine = form(enhance, "My own text.")
    theirs = publish("enhance", "Their faster text.", note="hotfix")
    client = client_for(releaser, htmx=True)
    for name in ("template_review", "template_publish"):
        response = client.post(reverse(name, args=["enhance"]), mine)
        assert response.status_code == 409
        page = response.content.decode()
        assert "v2 was published while you were editing" in page
        assert "Their faster text." in page
        assert "My own text." in page
    assert Draft.objects.get(user=releaser).body == "My own text."
    assert Template.objects.get().live_version == theirs
    over = client.post(reverse("template_review", args=["enhance"]), mine | {"base": theirs.pk})
    assert "Publish v3</button>" in over.content.decode()
    assert f'id="id_base" value="{theirs.pk}" hx-swap-oob="true"' in over.content.decode()


def test_the_state_shows_that_somebody_else_published(enhance, publish, client_for, editor):
    base = enhance.live_version_id
    publish("enhance", "Newer", note="quick fix")
    fragment = client_for(editor, htmx=True).get(reverse("template", args=["enhance"]), {"base": base})
    assert "Ada Administrator published v2 while you were editing" in text_of(fragment)
    assert "quick fix" in text_of(fragment)
    assert "<textarea" not in fragment.content.decode()


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
    shown = [re.sub(r"<span.*?</span>|<[^>]+>", "", text) for text in after]
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
        for name, query in (("template_diff", {"a": "1", "b": "2"}), ("template_history", {}), ("template", {})):
            client.get(reverse(name, args=["enhance"]), query)
            with CaptureQueriesContext(connection) as captured:
                page = client.get(reverse(name, args=["enhance"]), query).content.decode()
            assert len(set(re.findall(r'value="(\d+)"', page)) & {str(n) for n in range(1, count + 1)}) == count, name
            assert counts.setdefault(name, len(captured)) == len(captured)


def test_a_new_template_starts_empty_and_gets_its_first_version(client_for, releaser):
    client = client_for(releaser)
    assert client.post(reverse("template_new"), {"operation": "enhance", "name": "Bad Name"}).status_code == 422
    made = client.post(reverse("template_new"), {"operation": "enhance", "name": "noir", "description": "Dark"})
    assert made["Location"] == "/prompts/noir/"
    template = Template.objects.get()
    assert template.is_default
    client.post(reverse("template_draft", args=["noir"]), form(template, "Dark."))
    assert "Publish v1" in client.get("/prompts/noir/").content.decode()
    done = client_for(releaser, htmx=True).post(reverse("template_publish", args=["noir"]), form(template, "Dark."))
    assert done["HX-Redirect"] == "/prompts/noir/?published=1"
    assert client.get("/prompts/noir/?published=1").status_code == 200


def test_default_archive_and_restore_use_the_panel(enhance, publish, client_for, releaser):
    publish("noir", "Dark", operation="enhance")
    client = client_for(releaser, htmx=True)
    for name, template, expected in [
        ("template_default", "noir", ("noir", True, False)),
        ("template_archive", "enhance", ("enhance", False, True)),
        ("template_restore", "enhance", ("enhance", False, False)),
    ]:
        url = reverse(name, args=[template])
        before = AuditEntry.objects.count()
        assert client.post(url).status_code == 200
        assert AuditEntry.objects.count() == before
        assert client.post(url, {"confirm": "1"})["HX-Redirect"] == f"/prompts/{template}/details/"
        changed = Template.objects.get(name=template)
        assert (changed.name, changed.is_default, bool(changed.archived_at)) == expected
    refused = client.post(reverse("template_archive", args=["noir"]), {"confirm": "1"})
    assert refused.status_code == 409
    assert "Make another template the default first" in refused.content.decode()


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


def test_discarding_shows_the_live_text_again(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    client.post(reverse("template_draft", args=["enhance"]), form(enhance, "Mine"))
    done = client.post(reverse("template_discard", args=["enhance"]))
    assert done["HX-Redirect"] == "/prompts/enhance/"
    assert not Draft.objects.exists()
    assert "Mine" not in client_for(editor).get(reverse("template", args=["enhance"])).content.decode()


def post(client, name: str, template: Template, body: str = "", **fields):
    return client.post(reverse(name, args=[template.name]), form(template, body, **fields) if body else {})


def drafts() -> list[str]:
    """Return the text of the draft, then of the discarded ones, newest first."""
    return [row.body for model in (Draft, DiscardedDraft) for row in model.objects.all()]


def restore(client, template: Template, text: str, body: str = "", **fields):
    """Restore the discarded draft with this `text`, while the editor has `body`."""
    url = reverse("template_restore_draft", args=[template.name, DiscardedDraft.objects.get(body=text).pk])
    return client.post(url, form(template, body, **fields) if body else {})


def test_discarding_and_restoring_can_be_undone(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    post(client, "template_draft", enhance, "Saved", temperature="0.4")
    post(client, "template_discard", enhance, "Saved, and typed a moment ago", temperature="0.4")
    page = client_for(editor).get(reverse("template", args=["enhance"])).content.decode()
    assert "1 discarded draft<" in page
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
    assert "Theirs" not in mine.get(reverse("template_discarded", args=["enhance"])).content.decode()


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
        assert "2 discarded drafts" in page.content.decode()  # after a release, and after an autosave
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


def window(client, template: Template) -> dict:
    """Open the editor and return the hidden fields that it sends with each text."""
    page = client.get(reverse("template", args=[template.name])).content.decode()
    return {name: re.search(rf'name="{name}"(?: value="([^"]*)")?', page)[1] or "" for name in ("page", "seen")}


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


def test_unknown_addresses_are_not_found(enhance, client_for, viewer):
    client = client_for(viewer)
    for url in (
        "/prompts/nothing/",
        "/prompts/enhance/v9/",
        "/runs/9/",
        "/audit/999/",
        "/audit/9223372036854775808/",
        "/nowhere/",
    ):
        response = client.get(url)
        assert response.status_code == 404
        assert "sidebar" not in response.content.decode()


# ---------------------------------------------------------------- merging

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
    assert "Merged with v2. Your earlier text is kept" in text_of(editing)
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
    words = re.sub(r"\[added:|\]|<summary>.*?</summary>|<span class=\"whose.*?</span>|<[^>]+>", "", shown)
    assert words == f"Begin well. {long} End well."
