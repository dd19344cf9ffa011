"""Renaming variables of older databases that have the name of an input."""

import pytest

from promptops.engine.variables import rename
from promptops.ledger.audit import SYSTEM
from promptops.ledger.models import AuditEntry
from promptops.live import snapshots as live
from promptops.management.commands.serve import Command
from promptops.prompts.actions import drafts, operations, variables
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.actions.renaming import rename_reserved
from promptops.prompts.content import Content
from promptops.prompts.models import DiscardedDraft, Draft, Template, Variable, Version

pytestmark = pytest.mark.django_db


def old_variable(name: str, operation: str = "enhance") -> Variable:
    return Variable.objects.create(
        operation=operation, name=name, value=f"the {name}", description="Old", changed_revision=1
    )


def bodies() -> dict[str, str]:
    return {row.name: row.live_version.body for row in Template.objects.select_related("live_version")}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{ input }} {{input}}", "{{ input_var }} {{input_var}}"),
        (r"\{{ input }} {{ inputs }} { input } {{ input", r"\{{ input }} {{ inputs }} { input } {{ input"),
        ("{{ input }}{{\tinput }}", "{{ input_var }}{{\tinput_var }}"),
        ("input", "input"),
    ],
)
def test_only_the_variable_is_renamed(text, result):
    assert rename(text, "input", "input_var") == result


def test_declaration_live_texts_and_drafts_are_renamed(publish, actor, editor):
    style = variables.declare("enhance", "style", "noir", by=actor)
    old_variable("input")
    used = publish("enhance", "With {{ input }} in {{ style }}.", temperature=0.4)
    publish("noir", "Nothing of it.", operation="enhance")
    publish("rewrite", r"Plain \{{ input }}.")
    for body in ("Thrown away {{ input }}.", "Mine {{ input }}."):
        drafts.discard_draft(used.template, user=editor)
        drafts.save_draft(used.template, Content(body), user=editor, base=used.pk)
    assert rename_reserved(by=SYSTEM) == []
    assert set(Variable.objects.values_list("name", "value")) == {("style", "noir"), ("input_var", "the input")}
    assert bodies() == {
        "enhance": "With {{ input_var }} in {{ style }}.",
        "noir": "Nothing of it.",
        "rewrite": r"Plain \{{ input }}.",
    }
    now = Template.objects.get(name="enhance").live_version
    assert (now.number, now.temperature, now.author_name) == (2, 0.4, SYSTEM.name)
    draft, discarded = Draft.objects.get(), DiscardedDraft.objects.get()
    assert (draft.body, draft.base, discarded.body) == ("Mine {{ input_var }}.", now, "Thrown away {{ input_var }}.")
    snapshot = live.load()
    assert snapshot.filled("enhance", snapshot.template_for("enhance").body) == "With the input in noir."
    entries = AuditEntry.objects.order_by("-seq")[:3]
    assert [entry.action for entry in entries] == ["variable.removed", "template.published", "variable.declared"]
    assert {entry.note for entry in entries} == {"input is now the name of an input. The variable became input_var."}
    assert style.pk in Variable.objects.values_list("pk", flat=True)
    count = AuditEntry.objects.count()
    assert rename_reserved(by=SYSTEM) == []
    assert AuditEntry.objects.count() == count


def test_a_taken_name_gets_a_number(publish, actor):
    old_variable("count")
    variables.declare("enhance", "count_var", "x", by=actor)
    rename_reserved(by=SYSTEM)
    assert set(Variable.objects.values_list("name", flat=True)) == {"count_var", "count_var2"}


def test_a_variable_named_like_a_field_is_renamed(publish, actor):
    fields = [{"name": "scene", "description": "", "required": True, "max_characters": None}]
    operations.add("plan", OperationFields("Plans.", input="fields", fields=fields), by=actor)
    old_variable("scene", "plan")
    publish("plan", "About {{ scene }}.", user_template=None)
    rename_reserved(by=SYSTEM)
    assert bodies() == {"plan": "About {{ scene_var }}."}


def test_a_live_text_that_cannot_be_published_keeps_its_variable(publish):
    old_variable("input")
    template = publish("enhance", "With {{ input }}.").template
    # Live since before there were checks.
    broken = Version.objects.create(template=template, number=9, author_name="-", body="{{ input }} {{ never closed")
    Template.objects.filter(pk=template.pk).update(live_version=broken)
    (problem,) = rename_reserved(by=SYSTEM)
    assert problem.startswith("The variable enhance.input has the name of an input and was not renamed.")
    assert "{{ is never closed" in problem
    assert Variable.objects.get().name == "input"
    assert bodies() == {"enhance": broken.body}


def test_a_server_renames_them_at_its_start(publish, tmp_path, settings, capsys):
    settings.PROMPTS_DIR = tmp_path
    old_variable("prompts")
    publish("enhance", "With {{ prompts }}.")
    Command()._prepare()
    assert bodies() == {"enhance": "With {{ prompts_var }}."}
