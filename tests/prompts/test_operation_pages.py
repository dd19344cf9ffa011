"""The pages of operations."""

import html
import json
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from promptops.ledger.models import AuditEntry
from promptops.live import snapshots as live
from promptops.prompts.actions import operations, templates
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.models import Operation

pytestmark = pytest.mark.django_db(transaction=True)

FORM = {
    "name": "caption",
    "purpose": "Names a clip.",
    "input": "text",
    "answer": "text",
    "count": "3",
    "on_failure": "error",
}


def text_of(response) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


@pytest.fixture
def caption(actor) -> Operation:
    return operations.add("caption", OperationFields("Names a clip."), by=actor)


def test_adding_uses_the_panel(client_for, releaser):
    client = client_for(releaser, htmx=True)
    wanted = FORM | {
        "input": "fields",
        "answer": "lines",
        "count": "4",
        "field-0-name": "scene",
        "field-0-description": "What is seen",
        "field-1-name": "mood",
        "field-1-optional": "on",
        "field-1-max_characters": "200",
        "timeout_ms": "5",
        "hedge": "p95",
        "keeps_system": "on",
    }
    panel = client.post("/operations/new/", wanted)
    shown = text_of(panel)
    assert "Add the operation caption" in shown
    for words in ("Named fields", "lines, 4", "scene: What is seen; mood (optional, at most 200 characters)", "5 s"):
        assert words in shown
    assert Operation.objects.count() == 3
    done = client.post("/operations/new/", wanted | {"confirm": "1", "note": "asked for"})
    assert done["HX-Redirect"] == "/operations/"
    spec = live.current().operation("caption")
    assert [(field.name, field.required, field.max_characters) for field in spec.fields] == [
        ("scene", True, None),
        ("mood", False, 200),
    ]
    assert (spec.answer, spec.count, spec.timeout_ms, spec.hedge) == ("lines", 4, 5000, "p95")
    assert spec.keeps_system
    assert AuditEntry.objects.first().note == "asked for"
    again = client.post("/operations/new/", wanted | {"confirm": "1"})
    assert again.status_code == 409
    assert "An operation of that name exists" in text_of(again)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "Caption"}, "lower-case letters"),
        ({"name": ""}, "required"),
        ({"purpose": ""}, "required"),
        ({"input": "picture"}, "not one of the available choices"),
        ({"answer": "lines", "count": ""}, "Ask for 1 to 10 alternatives"),
        ({"hedge": "soon"}, "enter p95 or seconds"),
        ({"field-0-description": "What is seen", "input": "fields"}, "Give the field a name"),
        ({"input": "fields"}, "needs at least one field"),
        ({"input": "fields", "field-0-name": "Scene"}, "lower-case letters, digits and _, starting with a letter"),
        ({"input": "list", "on_failure": "input"}, "Only an input of one text can go on unchanged"),
        ({"answer": "json", "schema": "{}", "on_failure": "input"}, "An input cannot stand for a JSON answer"),
        ({"answer": "lines", "count": "2", "at_least": "3"}, "at_least is a whole number from 1 to 2"),
        ({"answer": "json", "schema": ""}, "A json contract needs a schema."),
        ({"answer": "json", "schema": '{"type": }'}, "This is no valid JSON at line 1, column 10. Correct it."),
        ({"answer": "json", "schema": "[" * 60_000}, "nested too deeply"),
        ({"answer": "json", "schema": '{"required": ["a"], "requird": []}'}, "unknown keyword requird"),
        ({"answer": "json", "schema": '{"properties": {"a": {"pattern": "(?=a)"}}}'}, "The pattern (?=a)"),
        ({"answer": "text", "contains": "a fox", "excludes": "fox"}, 'No text can contain "a fox"'),
        ({"answer": "text", "max_words": "0"}, "greater than or equal to 1"),
    ],
)
def test_a_bad_form_is_shown_again_with_the_reason(fields, sentence, client_for, releaser):
    response = client_for(releaser, htmx=True).post("/operations/new/", FORM | fields)
    assert response.status_code == 422
    assert response["HX-Retarget"] == "#operation-form"
    assert sentence in text_of(response)
    plain = client_for(releaser).post("/operations/new/", FORM | fields)
    assert plain.status_code == 422


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"input": "fields"}, "needs at least one field"),
        ({"input": "fields", "field-0-name": "scene", "field-1-name": "scene"}, "Two fields have the name scene"),
        ({"input": "list", "on_failure": "input"}, "Only an input of one text can go on unchanged"),
        ({"name": "new"}, "reserved for an address"),
    ],
)
def test_what_contradicts_itself_is_refused_in_the_panel(fields, sentence, client_for, releaser):
    response = client_for(releaser, htmx=True).post("/operations/new/", FORM | fields | {"confirm": "1"})
    assert response.status_code == 409
    assert sentence in text_of(response)


def test_changing_shows_the_differences_and_notices_another_change(caption, client_for, releaser, actor):
    client = client_for(releaser, htmx=True)
    expected = str(caption.changed_revision)
    wanted = FORM | {"input": "list", "timeout_ms": "0.9", "expected": expected}
    panel = text_of(client.post("/operations/caption/", wanted))
    assert "Input One text A list of prompts, one a line" in panel
    assert "Time limit the setting 0.9 s" in panel
    assert "Names a clip." not in panel
    operations.change(caption, OperationFields("Names it."), by=actor, expected=caption.changed_revision)
    stale = client.post("/operations/caption/", wanted | {"confirm": "1"})
    assert stale.status_code == 409
    assert "Someone else changed caption" in text_of(stale)
    newest = Operation.objects.get(name="caption").changed_revision
    assert f'value="{newest}"' in stale.content.decode()
    seen = client_for(releaser).get(f"/operations/caption/?seen={expected}")
    assert "Someone changed caption" in text_of(seen)
    done = client.post("/operations/caption/", wanted | {"expected": newest, "confirm": "1"})
    assert done["HX-Redirect"] == "/operations/"
    assert live.current().operation("caption").timeout_ms == 900
    same = client.post("/operations/caption/", wanted | {"expected": newest + 1})
    assert "No changes to save" in text_of(same)


def test_the_form_shows_what_is_stored(client_for, releaser, actor):
    fields = [{"name": "scene", "description": "", "required": False, "max_characters": 9}]
    answer = {"kind": "lines", "count": 5, "at_least": 2}
    operations.add(
        "plan", OperationFields("Plans.", input="fields", fields=fields, answer=answer, hedge="70"), by=actor
    )
    page = client_for(releaser).get("/operations/plan/").content.decode()
    for words in ('value="scene"', 'value="5"', 'value="0.07"', 'placeholder="20"', '<details class="own" open>'):
        assert words in page
    row = Operation.objects.get(name="plan")
    wanted = FORM | {
        "purpose": "Plans.",
        "input": "fields",
        "answer": "lines",
        "count": "5",
        "at_least": "2",
        "hedge": "0.07",
    }
    wanted |= {"field-0-name": "scene", "field-0-optional": "on", "field-0-max_characters": "9"}
    same = client_for(releaser, htmx=True).post("/operations/plan/", wanted | {"expected": row.changed_revision})
    assert "No changes to save" in text_of(same)


def test_a_contract_is_typed_reviewed_and_shown_again(client_for, releaser, viewer):
    client = client_for(releaser, htmx=True)
    schema = '{"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}'
    wanted = FORM | {"answer": "json", "schema": schema}
    panel = client.post("/operations/new/", wanted)
    assert "&quot;required&quot;" in panel.content.decode()
    client.post("/operations/new/", wanted | {"confirm": "1"})
    row = Operation.objects.get(name="caption")
    assert row.answer == {"kind": "json", "schema": json.loads(schema)}
    page = html.unescape(client_for(releaser).get("/operations/caption/").content.decode())
    assert '"required": [' in page
    wanted |= {"expected": row.changed_revision}
    assert "No changes to save" in text_of(client.post("/operations/caption/", wanted))
    panel = client.post("/operations/caption/", wanted | {"schema": '{"type": "object"}'})
    assert "Change the operation caption" in text_of(panel)
    assert "No changes to save" not in text_of(panel)
    wanted |= {"answer": "text", "one_paragraph": "on", "max_words": "5", "contains": "fox\r\n\r\n snow "}
    client.post("/operations/caption/", wanted | {"confirm": "1"})
    row.refresh_from_db()
    assert row.answer == {"kind": "text", "one_paragraph": True, "max_words": 5, "contains": ["fox", "snow"]}
    listed = text_of(client_for(viewer).get("/operations/"))
    assert "One text (one paragraph, at most 5 words, contains “fox”, contains “snow”)" in listed
    entry = AuditEntry.objects.get(action="operation.changed")
    shown = client_for(viewer).get(f"/audit/{entry.seq}/").content.decode()
    assert "JSON Schema" in shown


def test_archiving_and_restoring(caption, publish, client_for, releaser, actor):
    client = client_for(releaser, htmx=True)
    template = publish("clip", "Name it.", operation="caption").template
    refused = client.post("/operations/caption/archive/", {"confirm": "1"})
    assert refused.status_code == 409
    assert "The template clip serves caption" in text_of(refused)
    assert "The template clip serves caption" in text_of(client_for(releaser).get("/operations/caption/"))
    templates.archive(template, by=actor)
    assert "Archive caption" in text_of(client.post("/operations/caption/archive/"))
    assert client.post("/operations/caption/archive/", {"confirm": "1"})["HX-Redirect"] == "/operations/"
    assert "caption" not in live.current().operations
    page = client_for(releaser).get("/operations/").content.decode()
    assert 'id="restore-caption"' in page
    assert client.post("/operations/enhance/archive/", {"confirm": "1"}).status_code == 409
    for path in ("/prompts/clip/", "/prompts/clip/history/", "/prompts/clip/details/", "/prompts/clip/v1/", "/runs/"):
        assert client_for(releaser).get(path).status_code == 200
    assert client.post("/operations/caption/restore/", {"confirm": "1"})["HX-Redirect"] == "/operations/"
    assert "caption" in live.current().operations


def test_everybody_sees_the_list_and_releasers_change_it(caption, client_for, viewer, editor, releaser, administrator):
    for user, allowed in ((viewer, False), (editor, False), (releaser, True), (administrator, True)):
        client = client_for(user)
        page = client.get("/operations/")
        assert page.status_code == 200
        assert "Names a clip." in page.content.decode()
        assert ('href="/operations/caption/"' in page.content.decode()) is allowed
        wanted = 200 if allowed else 403
        for path in ("/operations/new/", "/operations/caption/"):
            assert client.get(path).status_code == wanted
        for path in ("/operations/new/", "/operations/caption/", "/operations/caption/archive/"):
            assert client.post(path, FORM | {"expected": "0"}).status_code in ((200, 409) if allowed else (403,))
    assert client_for(releaser).get("/operations/paint/").status_code == 404


def test_the_number_of_queries_does_not_grow(client_for, viewer, actor, publish):
    client = client_for(viewer)
    pages = ("/operations/", "/", "/runs/", "/variables/", "/prompts/")
    counts = []
    for first, last in ((0, 1), (1, 12)):
        for number in range(first, last):
            operations.add(f"op_{number}", OperationFields("Does it."), by=actor)
            publish(f"t-{number}", f"Do {number}.", operation=f"op_{number}")
        live.current()
        client.get("/")
        for path in pages:
            with CaptureQueriesContext(connection) as captured:
                assert client.get(path).status_code == 200
            counts.append(len(captured))
    assert counts[: len(pages)] == counts[len(pages) :]
