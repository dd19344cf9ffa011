"""Publishing from the editor, and the notice that another version went live."""

import json
import re

import pytest
from django.urls import reverse

from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.prompts.actions import operations
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.models import Draft, Template, Version
from tests.prompts.pages import form, text_of

pytestmark = pytest.mark.django_db


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


BOX = 'name="override_pins"'


def test_a_release_applies_to_pinned_sessions_where_the_box_is_ticked(enhance, client_for, releaser):
    client = client_for(releaser, htmx=True)
    panel = client.post(reverse("template_review", args=["enhance"]), form(enhance, "Other text."))
    box = re.search(rf"<input[^>]*{BOX}[^>]*>", panel.content.decode())
    assert box
    assert "checked" not in box[0]
    client.post(reverse("template_publish", args=["enhance"]), form(enhance, "Other text."))
    back = reverse("version_live", args=["enhance", 1])
    wanted = {"expected": Template.objects.get(name="enhance").live_version_id, "override_pins": "1"}
    panel = client.post(back, wanted).content.decode()
    assert "checked" in re.search(rf"<input[^>]*{BOX}[^>]*>", panel)[0]
    client.post(back, wanted | {"confirm": "1"})
    newest, before = Release.objects.order_by("-revision")[:2]
    assert (newest.overrides_pins, before.overrides_pins) == (True, False)
    assert LiveConfiguration.objects.get(pk=1).pins_from == newest.revision
    assert AuditEntry.objects.get(revision=newest.revision).after["override_pins"] is True
    assert "Pinned sessions" in client.get(reverse("revision", args=[newest.revision])).content.decode()
    assert "Pinned sessions" not in client.get(reverse("revision", args=[before.revision])).content.decode()


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


def test_a_contradiction_of_the_contract_warns_and_does_not_block(publish, client_for, releaser, actor):
    schema = {"type": "object", "required": ["scenes"], "properties": {"scenes": {"type": "array"}}}
    operations.add("plan", OperationFields("Plans.", answer={"kind": "json", "schema": schema}), by=actor)
    plan = publish("plan", 'Write JSON: {"scenes": []}', operation="plan").template
    client = client_for(releaser, htmx=True)
    wanted = form(plan, 'Write JSON: {"scene_list": []}')
    panel = client.post(reverse("template_review", args=["plan"]), wanted)
    shown = text_of(panel)
    assert "Contract warning: The text names the key scene_list, which the contract does not have" in shown
    assert "The text never names the key scenes, which the contract requires." in shown
    assert "not ready to publish" not in shown
    done = client.post(reverse("template_publish", args=["plan"]), wanted)
    assert done["HX-Redirect"] == "/prompts/plan/?published=2"
    first = plan.versions.get(number=1)
    panel = text_of(client.post(reverse("version_live", args=["plan", first.number])))
    assert "Contract passed: The prompt names each key that the JSON needs." in panel


def test_changing_a_contract_warns_of_live_texts_that_contradict_it(publish, client_for, releaser, actor):
    schema = {"type": "object", "required": ["scenes"], "properties": {"scenes": {"type": "array"}}}
    row = operations.add("plan", OperationFields("Plans.", answer={"kind": "json", "schema": schema}), by=actor)
    publish("plan", 'Write JSON: {"scenes": []}', operation="plan")
    wanted = {"purpose": "Plans.", "input": "text", "answer": "json", "on_failure": "error"}
    wanted |= {"schema": json.dumps(schema).replace("scenes", "shots"), "expected": row.changed_revision}
    client = client_for(releaser, htmx=True)
    panel = text_of(client.post("/operations/plan/", wanted))
    assert "plan v1: The text names the key scenes, which the contract does not have" in panel
    assert client.post("/operations/plan/", wanted | {"confirm": "1"})["HX-Redirect"] == "/operations/"
