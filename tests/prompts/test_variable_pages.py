"""The pages of variables, and variables, checks and samples in the editor and its panel."""

import html
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.ledger.models import AuditEntry
from promptops.prompts.actions import samples, variables
from promptops.prompts.models import Draft, Sample, Template, Variable, Version

pytestmark = pytest.mark.django_db


@pytest.fixture
def season(actor) -> Variable:
    return variables.declare("enhance", "season", "<b>winter</b>", by=actor, description="The time of year")


@pytest.fixture
def enhance(publish) -> Template:
    return publish("enhance", "First text.").template


def form(template: Template, body: str) -> dict:
    return {"body": body, "base": template.live_version_id, "temperature": "", "max_tokens": "", "model": ""}


def text_of(response) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


def test_declaring_uses_the_panel(client_for, releaser):
    client = client_for(releaser, htmx=True)
    wanted = {"operation": "enhance", "name": "season", "value": "early\r\nwinter", "description": "Now"}
    panel = client.post("/variables/new/", wanted)
    assert "Declare season for enhance" in text_of(panel)
    assert "No live text of enhance uses this variable" in text_of(panel)
    assert not Variable.objects.exists()
    done = client.post("/variables/new/", wanted | {"confirm": "1", "note": "first snow"})
    assert done["HX-Redirect"] == "/variables/"
    made = Variable.objects.get()
    assert (made.operation, made.name, made.value, made.description) == ("enhance", "season", "early\nwinter", "Now")
    assert AuditEntry.objects.first().note == "first snow"
    again = client.post("/variables/new/", wanted | {"confirm": "1"})
    assert again.status_code == 409
    assert "declared already" in text_of(again)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "Season"}, "lower-case letters"),
        ({"name": ""}, "required"),
        ({"operation": "dance"}, "not one of the available choices"),
        ({"value": "x" * 4001}, "at most 4,000"),
        ({"value": "a\ufffd"}, "broken characters"),
    ],
)
def test_a_bad_declaration_is_refused_with_the_reason(fields, sentence, client_for, releaser):
    wanted = {"operation": "enhance", "name": "season", "value": "x", "description": ""} | fields
    response = client_for(releaser, htmx=True).post("/variables/new/", wanted)
    assert response.status_code == 422
    assert response["HX-Retarget"] == "#variable-form"
    assert sentence in text_of(response)
    assert not Variable.objects.exists()


def test_line_ends_of_a_browser_do_not_count_for_the_limit(client_for, releaser):
    value = "x\r\n" * 1999 + "xx"
    wanted = {"operation": "enhance", "name": "season", "value": value, "description": "", "confirm": "1"}
    assert "HX-Redirect" in client_for(releaser, htmx=True).post("/variables/new/", wanted)
    assert len(Variable.objects.get().value) == 4000


def test_changing_shows_the_difference_and_the_affected_texts(season, publish, client_for, releaser):
    publish("enhance", "In {{ season }}.")
    client = client_for(releaser, htmx=True)
    url = reverse("variable", args=[season.pk])
    wanted = {"value": "summer", "description": "Now", "expected": season.changed_revision}
    panel = client.post(url, wanted)
    assert "Used by enhance v1." in text_of(panel)
    assert "&lt;b&gt;winter" in panel.content.decode()
    assert "HX-Redirect" in client.post(url, wanted | {"confirm": "1"})
    season.refresh_from_db()
    assert (season.value, season.description) == ("summer", "Now")
    stale = client.post(url, wanted | {"value": "fall", "confirm": "1"})
    assert stale.status_code == 409
    assert "Someone else changed season in the meantime" in text_of(stale)
    assert f'name="expected" id="id_expected" value="{season.changed_revision}"' in stale.content.decode()
    same = client.post(url, wanted | {"expected": season.changed_revision, "confirm": "1"})
    assert "No changes to save" in text_of(same)


def test_an_open_form_shows_that_somebody_else_changed_the_variable(season, client_for, releaser):
    client = client_for(releaser)
    url = reverse("variable", args=[season.pk])
    assert "Someone changed" not in text_of(client.get(url, {"seen": season.changed_revision}))
    assert "Someone changed season." in text_of(client.get(url, {"seen": season.changed_revision - 1}))
    Variable.objects.all().delete()
    assert "Someone removed this variable." in text_of(client.get(url, {"seen": season.changed_revision}))
    assert client.get(url).status_code == 404


def test_removing_a_variable_in_use_is_refused(season, publish, client_for, releaser):
    publish("enhance", "In {{ season }}.")
    client = client_for(releaser, htmx=True)
    url = reverse("variable_remove", args=[season.pk])
    for confirm in ({}, {"confirm": "1"}):
        response = client.post(url, {"expected": season.changed_revision} | confirm)
        assert response.status_code == 409
        assert "season cannot be removed: enhance v1 is live and uses it." in text_of(response)
    publish("enhance", "Plain.")
    assert "Remove season" in text_of(client.post(url, {"expected": season.changed_revision}))
    assert "HX-Redirect" in client.post(url, {"expected": season.changed_revision, "confirm": "1"})
    assert not Variable.objects.exists()


def test_viewers_see_variables_without_controls(season, publish, client_for, viewer):
    publish("enhance", "In {{ season }}.")
    page = client_for(viewer).get("/variables/")
    assert "season The time of year <b>winter</b> enhance v1" in text_of(page)
    assert "variables/new" not in page.content.decode()
    assert reverse("variable", args=[season.pk]) not in page.content.decode()


@pytest.mark.parametrize("name", ["variables", "template"])
def test_queries_do_not_grow_with_variables(name, season, publish, client_for, releaser, actor):
    publish("enhance", "In {{ season }}.")
    client = client_for(releaser)
    url = reverse(name, args=["enhance"] if name == "template" else [])
    client.get(url)
    with CaptureQueriesContext(connection) as few:
        client.get(url)
    for number in range(30):
        variables.declare("enhance", f"v{number}", "x", by=actor)
        publish(f"t{number}", f"{{{{ v{number} }}}} {{{{ season }}}}", operation="enhance")
    client.get(url)
    with CaptureQueriesContext(connection) as many:
        client.get(url)
    assert len(many) == len(few) < 23


# ---------------------------------------------------------------- the editor


def test_autosave_saves_any_text_and_shows_failed_checks(enhance, season, client_for, editor):
    client = client_for(editor, htmx=True)
    body = "In {{ season }} and {{ sesaon }}.\n{{ open <i>"
    response = client.post(reverse("template_draft", args=["enhance"]), form(enhance, body))
    assert response.status_code == 200
    assert Draft.objects.get().body == body
    page = response.content.decode()
    assert "Line 1, column 21: {{ sesaon }} is not declared. Did you mean {{ season }}?" in text_of(response)
    assert "Line 2, column 1: {{ is never closed." in text_of(response)
    page = re.sub(r"\s+", " ", page)
    assert '<mark title="season" data-written="12">&lt;b&gt;winter&lt;/b&gt;</mark>' in page
    assert '<mark class="bad" title="Not declared" data-written="12">{{ sesaon }}</mark>' in page
    assert '<mark class="bad" title="Not closed, or no name" data-written="2">{{</mark> open &lt;i&gt;' in page
    long = client.post(reverse("template_draft", args=["enhance"]), form(enhance, "{{ season }}" * 5400))
    assert "With its variables filled in, the prompt is 70,200 bytes" in text_of(long)
    assert len(long.content) < 300_000
    blank = client.post(reverse("template_draft", args=["enhance"]), form(enhance, "  "))
    assert blank.status_code == 200
    assert "The prompt is blank." in text_of(blank)


def test_the_editor_opens_with_variables_and_the_filled_in_text(enhance, season, publish, client_for, editor):
    publish("enhance", "In {{ season }}, \\{{ as it is }} }}.")
    page = client_for(editor).get("/prompts/enhance/")
    assert 'data-insert="season"' in page.content.decode()
    filled = re.search(r'<div class="filled[^>]*>(.*?)</div>', page.content.decode(), re.S)[1]
    assert html.unescape(re.sub(r"<[^>]+>", "", filled)) == "In <b>winter</b>, {{ as it is }} }}."


def test_user_template_and_examples_are_shown_as_they_are_sent(enhance, season, client_for, editor):
    content = {
        "body": "Plain.",
        "user_template": "In {{ season }}: {{ input }} {{ x }}",
        "examples": "{{ season }}\n=>\n\\=>\n---\nb\n=>\nc",
    }
    page = client_for(editor, htmx=True).post("/prompts/enhance/check/", form(enhance, "") | content).content.decode()
    labels = re.findall(r'class="filled-label"[^>]*>([^<]*)<', page)
    texts = re.findall(r'<div class="filled"[^>]*>(.*?)</div>', page, re.S)
    shown = list(zip(labels, texts, strict=True))
    assert [(label, html.unescape(re.sub(r"<[^>]+>", "", text))) for label, text in shown] == [
        ("System prompt", "Plain."),
        ("Example 1, user", "{{ season }}"),
        ("Example 1, assistant", "=>"),
        ("Example 2, user", "b"),
        ("Example 2, assistant", "c"),
        ("User template", "In <b>winter</b>: {{ input }} {{ x }}"),
    ]
    assert re.search(
        r'<mark\s+class="input" title="From the input"\s+data-written="11"\s*>\{\{ input \}\}</mark>', shown[-1][1]
    )
    assert re.search(r'<mark\s+class="bad" title="Not declared"\s+data-written="7"\s*>\{\{ x \}\}</mark>', shown[-1][1])


def test_a_changed_variable_refreshes_the_filled_in_text(enhance, season, actor, client_for, editor):
    variables.change(season, "high summer", by=actor, expected=season.changed_revision)
    response = client_for(editor, htmx=True).post("/prompts/enhance/check/", form(enhance, "In {{ season }}."))
    assert '<mark title="season" data-written="12">high summer</mark>' in response.content.decode()
    assert 'title="Insert season: high summer"' in response.content.decode()
    assert not Draft.objects.exists()


def test_the_panel_lists_the_checks_and_the_server_enforces_them(enhance, season, client_for, releaser):
    client = client_for(releaser, htmx=True)
    bad = form(enhance, "In {{ sesaon }}.")
    panel = client.post("/prompts/enhance/review/", bad)
    assert panel.status_code == 200
    assert "Checks: not ready to publish Not blank passed: The prompt has text." in text_of(panel)
    assert "Variables failed: Line 1, column 4: {{ sesaon }} is not declared." in text_of(panel)
    assert re.search(r"<button[^>]* aria-disabled[^>]*>Publish v2</button>", panel.content.decode())
    refused = client.post("/prompts/enhance/publish/", bad)
    assert refused.status_code == 409
    assert "Nothing was published: some checks failed. Your text is saved as your draft." in text_of(refused)
    assert "Did you mean {{ season }}?" in text_of(refused)
    assert (Version.objects.count(), Draft.objects.get().body) == (1, "In {{ sesaon }}.")
    fine = client.post("/prompts/enhance/review/", form(enhance, "In {{ season }}."))
    assert "Declared: season." in text_of(fine)
    assert "disabled" not in fine.content.decode()
    assert "HX-Redirect" in client.post("/prompts/enhance/publish/", form(enhance, "In {{ season }}."))


def test_rolling_back_to_a_text_with_a_removed_variable_is_refused(season, publish, actor, client_for, releaser):
    old = publish("enhance", "In {{ season }}.")
    newer = publish("enhance", "Plain.")
    variables.remove(season, by=actor, expected=season.changed_revision)
    client = client_for(releaser, htmx=True)
    url = reverse("version_live", args=["enhance", old.number])
    panel = client.post(url, {"expected": newer.pk})
    assert "{{ season }} is not declared." in text_of(panel)
    assert re.search(r"<button[^>]* aria-disabled[^>]*>Roll back to v1</button>", panel.content.decode())
    refused = client.post(url, {"expected": newer.pk, "confirm": "1"})
    assert refused.status_code == 409
    assert "The text cannot go live. Line 1, column 4" in text_of(refused)
    assert Template.objects.get().live_version == newer


# ---------------------------------------------------------------- samples


def test_inputs_are_pinned_and_unpinned_in_the_menu(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    url = reverse("template_samples", args=["enhance"])
    assert "Smoke runs use these until you pin an input." in text_of(client.get(url))
    pinned = client.post(url, {"input": "a <i>whale</i>"})
    assert 'data-value="a &lt;i&gt;whale&lt;/i&gt;"' in pinned.content.decode()
    assert "Pinned. Smoke runs of enhance now use this input." in text_of(pinned)
    assert "a fox running through snow" in text_of(pinned)
    again = client.post(url, {"input": "a <i>whale</i>"})
    assert (again.status_code, again.content.decode()) == (400, "This input is already pinned.")
    blank = client.post(url, {"input": " "})
    assert (blank.status_code, blank["Content-Type"]) == (400, "text/plain; charset=utf-8")
    for bad in ("x", "9" * 30, "-1"):
        assert client.post(url, {"unpin": bad}).status_code == 400
    gone = client.post(url, {"unpin": Sample.objects.get().pk})
    assert "whale" not in gone.content.decode()
    assert [entry.action for entry in AuditEntry.objects.all()[:2]] == ["sample.unpinned", "sample.pinned"]


def test_try_it_starts_with_the_first_pinned_input(enhance, actor, client_for, editor):
    page = client_for(editor).get("/prompts/enhance/").content.decode()
    assert ">a fox running through snow</textarea>" in page
    samples.pin("enhance", "a pinned whale", by=actor)
    assert ">a pinned whale</textarea>" in client_for(editor).get("/prompts/enhance/").content.decode()
