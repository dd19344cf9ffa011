"""The user template and the examples of a version: drafts, versions, differences, merges, files, checks, the audit."""

import json
import re
from dataclasses import replace

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from promptops.ledger.errors import Refused
from promptops.ledger.models import AuditEntry
from promptops.live import snapshots as live
from promptops.prompts.actions import drafts, importing, merges, operations, releases, sets, variables
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.content import Content
from promptops.prompts.errors import ChecksFailed, VariableInUse
from promptops.prompts.models import Draft, Template, Variable, Version
from tests.prompts.exported import change, state
from tests.prompts.pages import form, post, restore, text_of, window

pytestmark = pytest.mark.django_db

USER = "Prompt: {{ input }}\nPolish it. שלום"
EXAMPLES = "a fox\n=>\nA red fox.\n---\na {{ cat }}\n=>\nA <b>cat</b>."
BOTH = {"user_template": USER, "examples": EXAMPLES}
TYPED = {name: text.replace("\n", "\r\n") for name, text in BOTH.items()}  # as a browser sends them


def texts(row) -> dict:
    return {name: getattr(row, name) for name in BOTH}


def test_a_draft_keeps_both_and_the_editor_shows_them(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    assert "More settings:" not in client_for(editor).get("/prompts/enhance/").content.decode()
    assert post(client, "template_draft", enhance, "Mine", **TYPED).status_code == 200
    assert texts(Draft.objects.get()) == BOTH
    page = client_for(editor).get("/prompts/enhance/").content.decode()
    assert "More settings: User template, Examples set" in page
    assert f"{USER}</textarea>" in page
    assert "A &lt;b&gt;cat&lt;/b&gt;.</textarea>" in page
    post(client, "template_discard", enhance)
    restore(client, enhance, "Mine")
    assert texts(Draft.objects.get()) == BOTH
    # Emptied again, the draft equals its base.
    post(client, "template_draft", enhance, enhance.live_version.body, user_template=" \r\n", examples="")
    assert not Draft.objects.exists()


def test_an_unfinished_draft_is_saved_and_the_page_says_what_is_missing(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    saved = post(client, "template_draft", enhance, "Mine", user_template="Polish {{ inptu }}", examples="a fox")
    page = text_of(saved)
    assert "User template: Line 1, column 8: {{ inptu }} is not declared. Did you mean {{ input }}?" in page
    assert "Example 1 has no line =&gt; between" in page
    assert texts(Draft.objects.get()) == {"user_template": "Polish {{ inptu }}", "examples": "a fox"}
    assert re.search(r"<b>User template</b>.*Polish.*inptu.*<b>Examples</b>", saved.content.decode(), re.DOTALL)


def test_publishing_shows_the_differences_line_by_line_and_records_them(enhance, client_for, releaser):
    client = client_for(releaser, htmx=True)
    panel = post(client, "template_review", enhance, "First line.\nSecond line.", **TYPED).content.decode()
    assert re.search(r'<td class="of-text" colspan="2">.*<ins>.*Polish it', panel, re.DOTALL)
    assert "2 pairs, sent as they are." in panel
    assert "Uses input." in panel
    done = post(client, "template_publish", enhance, "First line.\nSecond line.", **TYPED)
    assert done["HX-Redirect"] == "/prompts/enhance/?published=2"
    assert not Draft.objects.exists()
    version = Version.objects.get(number=2)
    assert texts(version) == BOTH
    assert version.sha256 != Version.objects.get(number=1).sha256
    entry = AuditEntry.objects.get(action="template.published", revision=version.releases.get().revision)
    assert (texts_of(entry.before), texts_of(entry.after)) == (dict.fromkeys(BOTH), BOTH)
    spec = live.load().template_for("enhance")
    assert (spec.user_template, spec.examples[0]) == (USER, ("a fox", "A red fox."))


def texts_of(values: dict) -> dict:
    return {name: values[name] for name in BOTH}


def test_pages_of_a_version_show_both(enhance, publish, client_for, viewer):
    publish("enhance", "First line.", **BOTH)
    client = client_for(viewer)
    for address in (reverse("version", args=["enhance", 2]), "/prompts/enhance/"):
        page = client.get(address).content.decode()
        assert f">{USER}</pre>" in page
        assert "A &lt;b&gt;cat&lt;/b&gt;.</pre>" in page
    page = client.get(reverse("template_diff", args=["enhance"]) + "?a=1&b=2").content.decode()
    assert page.count('class="of-text"') == 2
    publish("enhance", "Other line.", **BOTH)
    page = client.get(reverse("template_diff", args=["enhance"]) + "?a=2&b=3").content.decode()
    assert page.count("unchanged</td>") == 2


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"user_template": "Polish it."}, "it does not use the input. Add {{ input }}."),
        ({"user_template": "{{ prompts }}"}, "{{ prompts }} is not declared."),
        ({"examples": "a fox"}, "Example 1 has no line =>"),
        ({"examples": "\n---\n".join(["a\n=>\nb"] * 11)}, "There are 11 examples; at most 10 are allowed."),
    ],
)
def test_what_cannot_be_sent_is_not_published(enhance, actor, fields, sentence):
    with pytest.raises(ChecksFailed) as refused:
        releases.publish(enhance, Content("Text.", **fields), by=actor, expected=enhance.live_version_id)
    assert sentence in str(refused.value)
    assert Version.objects.count() == 1


def test_each_merges_as_one_value(publish, editor):
    template = publish("enhance", "Text.", **BOTH).template
    mine = Content("Text.", user_template="Mine: {{ input }}", examples=EXAMPLES)
    draft = drafts.save_draft(template, mine, user=editor, base=template.live_version_id)
    now = publish("enhance", "Text.", user_template="Theirs: {{ input }}", examples="a\n=>\nb")
    with pytest.raises(Refused, match="1 of 1 conflicts"):
        merges.take(template, {"user_template": "both"}, user=editor, expected=now.pk, seen=draft.sha256)
    merged = merges.take(template, {"user_template": "mine"}, user=editor, expected=now.pk, seen=draft.sha256)
    assert texts(merged) == {"user_template": "Mine: {{ input }}", "examples": "a\n=>\nb"}
    assert texts(merges.undo(template, user=editor)) == texts(mine)


def test_a_merge_from_before_these_fields_can_be_undone(publish, editor):
    template = publish("enhance", "Text.").template
    draft = drafts.save_draft(template, Content("Mine."), user=editor, base=template.live_version_id)
    older = {"body": "Old.", "temperature": None, "max_tokens": None, "model": "", "base": None, "merged_with": 1}
    Draft.objects.filter(pk=draft.pk).update(before_merges=[older], user_template=USER)
    restored = merges.undo(template, user=editor)
    assert (restored.body, texts(restored)) == ("Old.", dict.fromkeys(BOTH))


def test_the_merge_panel_shows_both_sides(publish, client_for, releaser):
    template = publish("enhance", "Text.").template
    publish("enhance", "Text.", user_template="Theirs: {{ input }}")
    stale = form(template, "Text.", user_template="Mine: {{ input }}", examples=EXAMPLES)
    panel = client_for(releaser, htmx=True).post(reverse("template_review", args=["enhance"]), stale)
    assert panel.status_code == 409
    page = panel.content.decode()
    assert 'name="choice-user_template" value="mine"' in page
    assert 'name="choice-user_template" value="both"' not in page
    assert "Theirs: {{ input }}" in page
    assert "was <del>exactly the input</del>" in page


def test_files_hold_both_and_come_back(enhance, publish, actor, tmp_path):
    publish("enhance", "First line.", **BOTH)
    publish("noir", "Dark.", operation="enhance")
    sets.write_set(tmp_path, by=actor)
    stored = json.loads((tmp_path / "enhance.json").read_text())["settings"]
    assert texts_of(stored) == BOTH
    assert not BOTH.keys() & json.loads((tmp_path / "noir.json").read_text())["settings"].keys()
    assert sets.plan_import(sets.read_folder(tmp_path)).changes == []
    change(tmp_path, "enhance", settings=stored | {"user_template": "> {{ input }}", "examples": None})
    sets.import_set(sets.read_folder(tmp_path), by=actor)
    assert texts(Template.objects.get(name="enhance").live_version) == {
        "user_template": "> {{ input }}",
        "examples": None,
    }
    before = state()
    change(tmp_path, "enhance", settings=stored | {"user_template": 5})
    with pytest.raises(sets.BadSet, match=r"settings\.user_template must be text or null, not 5"):
        sets.read_folder(tmp_path)
    assert state() == before


def test_a_large_content_comes_back_from_its_files(publish, actor, tmp_path):
    lines = "\n".join(["x" * 60] * 1000)
    publish("enhance", lines, user_template="{{ input }}\n" + lines, examples=f"{lines}\n=>\nb")
    sets.write_set(tmp_path, by=actor)
    assert sets.plan_import(sets.read_folder(tmp_path)).unchanged == ["enhance"]


@pytest.mark.parametrize("name", ["input", "prompts", "count"])
def test_a_variable_cannot_have_the_name_of_an_input(actor, name):
    with pytest.raises(ValidationError, match=f"{name} is reserved for inputs. Use another name, such as {name}_var"):
        variables.declare("enhance", name, "x", by=actor)
    assert not Variable.objects.exists()


def test_a_variable_of_a_user_template_is_in_use(publish, actor):
    style = variables.declare("enhance", "style", "noir", by=actor)
    version = publish("enhance", "Text.", user_template="{{ input }}{{ style }}")
    with pytest.raises(VariableInUse):
        variables.remove(style, by=actor, expected=style.changed_revision)
    publish("enhance", "Text.", user_template="{{ input }}" + "{{ style }}" * 20)
    with pytest.raises(Refused, match="with its variables filled in it is 80,000 bytes"):
        variables.change(style, "x" * 4_000, by=actor, expected=style.changed_revision)
    assert texts(version)["user_template"] == "{{ input }}{{ style }}"


def test_an_older_variable_named_like_the_input_is_named_at_the_check(publish, actor):
    Variable.objects.create(operation="enhance", name="input", value="old", changed_revision=1)
    publish("enhance", "Text with {{ input }}.")  # as before
    with pytest.raises(ChecksFailed, match="input is the name of an input and of a variable"):
        publish("enhance", "Text.", user_template="{{ input }}")


def scene(*names: str) -> OperationFields:
    fields = [{"name": name, "description": "", "required": True, "max_characters": None} for name in names]
    return OperationFields("Plans.", input="fields", fields=fields)


def test_an_operation_keeps_the_fields_that_a_live_user_template_uses(publish, actor):
    plan = operations.add("plan", scene("scene", "mood"), by=actor)
    publish("plan", "Text.", user_template="{{ scene }} {{ mood }}")
    variables.declare("plan", "style", "noir", by=actor)
    with pytest.raises(ValidationError, match="mood is reserved"):
        variables.declare("plan", "mood", "x", by=actor)
    both = scene("scene", "mood")
    for fields, sentence in [
        (scene("scene"), r"plan is live and would no longer fit\. User template: Line 1, column 13: \{\{ mood \}\}"),
        (replace(both, fields=[each | {"required": False} for each in both.fields]), "it is empty when no optional"),
        (scene("scene", "mood", "style"), "plan has a variable style. Rename the field"),
    ]:
        with pytest.raises(Refused, match=sentence):
            operations.change(plan, fields, by=actor, expected=plan.changed_revision)
    operations.change(plan, scene("scene", "mood", "more"), by=actor, expected=plan.changed_revision)


def test_two_windows_that_differ_in_a_user_template_show_it(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    first, second = (window(client_for(editor), enhance) for _ in range(2))
    post(client, "template_draft", enhance, "Same.", user_template="First: {{ input }}", **first)
    answer = post(client, "template_draft", enhance, "Same.", user_template="Second: {{ input }}", **second)
    assert answer.status_code == 409
    assert re.search(r'class="of-text" colspan="2">.*First.*Second', answer.content.decode(), re.DOTALL)


def test_discarded_drafts_show_both(enhance, client_for, editor):
    client = client_for(editor, htmx=True)
    post(client, "template_draft", enhance, "Mine", **TYPED)
    post(client, "template_discard", enhance)
    page = client.get(reverse("template_discarded", args=["enhance"])).content.decode()
    assert f">{USER}</pre>" in page


@pytest.mark.parametrize(
    ("name", "hint", "inputs"),
    [
        ("enhance", "From the input: {{ input }}.", "input"),
        ("auto_extend", "From the input: {{ prompts }}.", "prompts"),
        ("rewrite", "From the input: {{ input }}, {{ count }}.", "input count"),
    ],
)
def test_the_editor_names_the_inputs(publish, client_for, editor, name, hint, inputs):
    publish(name, "Text.")
    page = client_for(editor).get(reverse("template", args=[name])).content.decode()
    assert hint in page
    assert f'data-inputs="{inputs}"' in page


def test_a_text_imported_as_a_draft_keeps_the_rest_of_the_live_version(publish, actor, editor):
    publish("enhance", "Text.", temperature=0.4, **BOTH)
    importing.import_drafts([importing.Text("enhance", "enhance", "New text.")], by=actor, user=editor)
    draft = Draft.objects.get()
    assert (draft.body, draft.temperature, texts(draft)) == ("New text.", 0.4, BOTH)
