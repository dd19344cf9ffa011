"""Answer rules as a part of a version: drafts, versions, merges, files, what is live, and changes of the operation."""

import json
import re
from dataclasses import replace

import pytest
from django.urls import reverse

from promptops.engine.contracts import JsonContract, LinesContract, TextContract
from promptops.ledger.errors import Refused
from promptops.ledger.models import AuditEntry
from promptops.live import snapshots as live
from promptops.prompts.actions import drafts, merges, operations, releases, sets, templates
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.content import Content
from promptops.prompts.errors import ChecksFailed
from promptops.prompts.models import Draft, Operation, Template, Version
from tests.prompts.exported import change
from tests.prompts.pages import form, post, restore, text_of

pytestmark = pytest.mark.django_db

RULES = "at most 60 words\nmust not contain: <b>"
NARROWED = TextContract(max_words=60, excludes=("<b>",))
SCHEMA = {"type": "object", "required": ["scenes"], "properties": {"scenes": {"type": "array"}}}
STYLE = {"required": ["style"]}


def test_the_editor_keeps_rules_beside_the_other_settings(enhance, client_for, editor):
    page = client_for(editor).get("/prompts/enhance/").content.decode()
    assert "More settings:" not in page
    assert "must not contain: …" in page
    client = client_for(editor, htmx=True)
    typed = RULES.replace("\n", "\r\n")
    assert post(client, "template_draft", enhance, "Mine", answer_rules=typed).status_code == 200
    assert Draft.objects.get().answer_rules == RULES
    page = client_for(editor).get("/prompts/enhance/").content.decode()
    assert "More settings: Answer rules set" in page
    assert "must not contain: &lt;b&gt;</textarea>" in page
    post(client, "template_discard", enhance)
    restore(client, enhance, "Mine")
    assert Draft.objects.get().answer_rules == RULES
    post(client, "template_draft", enhance, enhance.live_version.body, answer_rules=" \r\n")
    assert not Draft.objects.exists()


def test_unfinished_rules_are_saved_and_the_page_says_what_is_wrong(enhance, client_for, editor):
    saved = post(client_for(editor, htmx=True), "template_draft", enhance, "Mine", answer_rules="be brief")
    assert "Answer rules: Line 1 is no rule: “be brief”." in text_of(saved)
    assert Draft.objects.get().answer_rules == "be brief"


def test_publishing_shows_and_records_rules_and_makes_them_live(enhance, client_for, releaser):
    client = client_for(releaser, htmx=True)
    panel = post(client, "template_review", enhance, "Text.", answer_rules=RULES).content.decode()
    assert re.search(r'<td class="of-text" colspan="2">.*<ins>.*at most 60 words', panel, re.DOTALL)
    assert "Each answer must be text, at most 60 words" in panel
    assert post(client, "template_publish", enhance, "Text.", answer_rules=RULES)["HX-Redirect"]
    version = Version.objects.get(number=2)
    assert version.answer_rules == RULES
    entry = AuditEntry.objects.filter(action="template.published").order_by("-seq").first()
    assert (entry.before["answer_rules"], entry.after["answer_rules"]) == (None, RULES)
    snapshot = live.load()
    spec = snapshot.template_for("enhance")
    assert spec.contract == snapshot.contract_for(spec) == NARROWED


def test_a_version_without_rules_has_the_contract_of_its_operation(publish):
    publish("enhance", "Text.")
    snapshot = live.load()
    spec = snapshot.template_for("enhance")
    assert (spec.contract, snapshot.contract_for(spec)) == (None, TextContract())


def test_pages_of_a_version_show_rules(enhance, publish, client_for, viewer):
    publish("enhance", "First line.", answer_rules=RULES)
    client = client_for(viewer)
    for address in (reverse("version", args=["enhance", 2]), "/prompts/enhance/"):
        assert "must not contain: &lt;b&gt;</pre>" in client.get(address).content.decode()
    page = client.get(reverse("template_diff", args=["enhance"]) + "?a=1&b=2").content.decode()
    assert page.count('class="of-text"') == 1


@pytest.mark.parametrize(
    ("operation", "rules", "sentence"),
    [
        ("enhance", '{"type": "object"}', "Line 1 is no rule"),
        ("enhance", "must contain: a\x00", "NUL"),
        ("rewrite", "at least 4", "rewrite answers with 3 alternatives"),
    ],
)
def test_rules_that_do_not_fit_do_not_go_live(publish, operation, rules, sentence):
    with pytest.raises(ChecksFailed, match=sentence):
        publish(operation, "Text.", answer_rules=rules)
    assert not Version.objects.exists()


def test_rules_merge_as_one_value(publish, editor, client_for, releaser):
    template = publish("enhance", "Text.").template
    mine = Content("Text.", answer_rules="at most 50 words")
    draft = drafts.save_draft(template, mine, user=editor, base=template.live_version_id)
    now = publish("enhance", "Text.", answer_rules=RULES)
    stale = form(template, "Text.", answer_rules="at most 50 words")
    panel = client_for(releaser, htmx=True).post(reverse("template_review", args=["enhance"]), stale)
    assert 'name="choice-answer_rules" value="mine"' in panel.content.decode()
    taken = {"answer_rules": "mine"}
    merged = merges.take(template, taken, user=editor, expected=now.pk, seen=draft.sha256)
    assert merged.answer_rules == "at most 50 words"


def test_files_hold_rules_and_come_back(publish, actor, tmp_path):
    publish("enhance", "First line.", answer_rules=RULES)
    sets.write_set(tmp_path, by=actor)
    stored = json.loads((tmp_path / "enhance.json").read_text())["settings"]
    assert stored["answer_rules"] == RULES
    assert sets.plan_import(sets.read_folder(tmp_path)).changes == []
    change(tmp_path, "enhance", settings={name: value for name, value in stored.items() if name != "answer_rules"})
    sets.import_set(sets.read_folder(tmp_path), by=actor)
    assert Template.objects.get(name="enhance").live_version.answer_rules is None


def changed(name: str, answer: dict, actor) -> Operation:
    operation = Operation.objects.get(name=name)
    fields = OperationFields(**{each: getattr(operation, each) for each in OperationFields.__annotations__})
    return operations.change(operation, replace(fields, answer=answer), by=actor, expected=operation.changed_revision)


def test_an_operation_keeps_what_live_rules_need(publish, actor):
    publish("rewrite", "Offer.", answer_rules="at least 3")
    assert live.load().template_for("rewrite").contract == LinesContract(3)
    with pytest.raises(
        Refused, match=r"rewrite is live and would no longer fit\. Answer rules: rewrite answers with 2"
    ):
        changed("rewrite", {"kind": "lines", "count": 2}, actor)
    with pytest.raises(Refused, match=r"rewrite is live and would no longer fit\. Answer rules: Line 1 is no rule"):
        changed("rewrite", {"kind": "text"}, actor)
    changed("rewrite", {"kind": "lines", "count": 3, "at_least": 2}, actor)
    changed("rewrite", {"kind": "lines", "count": 4, "at_least": 3}, actor)
    assert live.load().template_for("rewrite").contract == LinesContract(4, 3)


def test_an_old_version_that_no_longer_fits_does_not_come_back(publish, actor):
    old = publish("enhance", "Text.", answer_rules="at most 60 words")
    now = publish("enhance", "Text.")
    changed("enhance", {"kind": "text", "max_words": 40}, actor)
    with pytest.raises(ChecksFailed, match="The version allows 60 words, and the operation 40"):
        releases.roll_back(old, by=actor, expected=now.pk)


def test_a_template_whose_rules_no_longer_fit_stays_in_the_archive(publish, actor):
    publish("enhance", "Text.")
    noir = publish("noir", "Text.", operation="enhance", answer_rules="at most 60 words").template
    templates.archive(noir, by=actor)
    changed("enhance", {"kind": "text", "max_words": 40}, actor)
    with pytest.raises(ChecksFailed, match="The version allows 60 words"):
        templates.restore(noir, by=actor)


def test_a_change_of_a_schema_warns_of_live_texts_with_their_rules(publish, actor, client_for, releaser):
    answer = {"kind": "json", "schema": SCHEMA}
    plan = operations.add("plan", OperationFields("Plans.", answer=answer), by=actor)
    publish("plan", "Write JSON: scenes, style", operation="plan", answer_rules=json.dumps(STYLE))
    assert live.load().template_for("plan").contract == JsonContract.of(SCHEMA, STYLE)
    wanted = {
        "purpose": "Plans.", "input": "text", "on_failure": "error", "answer": "json",
        "expected": plan.changed_revision, "schema": json.dumps(SCHEMA | {"required": ["scenes", "mood"]}),
    }  # fmt: skip
    panel = client_for(releaser, htmx=True).post(reverse("operation", args=["plan"]), wanted).content.decode()
    assert "plan v1: The text never names the key mood" in panel
    assert "style" not in panel.split("plan v1:", 1)[1].split("<", 1)[0]
