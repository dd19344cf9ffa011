"""Renaming variables of older databases that have the name of an input."""

import pytest
from django.core.management import call_command

from promptops.apps import rename_clashing_variables
from promptops.engine.variables import rename
from promptops.ledger.audit import SYSTEM
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.live import snapshots as live
from promptops.prompts.actions import drafts, merges, operations, templates, variables
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.actions.renaming import rename_reserved
from promptops.prompts.content import Content
from promptops.prompts.models import DiscardedDraft, Draft, Template, Variable, Version
from promptops.prompts.models.templates import content_sha256

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


def test_everything_is_renamed_in_one_release(publish, actor, editor):
    style = variables.declare("enhance", "style", "noir", by=actor)
    old_variable("input")
    old_variable("count")
    old_variable("input", "rewrite")
    used = publish("enhance", "With {{ input }} in {{ style }}, {{ count }} times.", temperature=0.4)
    publish("noir", "Nothing of it.", operation="enhance")
    publish("rewrite", r"Plain \{{ input }}: {{ input }}.")
    archived = publish("old", "Old {{ input }}.", operation="enhance").template
    templates.archive(archived, by=actor)
    for body in ("Thrown away {{ input }}.", "Mine {{ input }}."):
        drafts.discard_draft(used.template, user=editor)
        drafts.save_draft(used.template, Content(body), user=editor, base=used.pk)
    merged = {**Content("Before {{ count }}.").__dict__, "base": used.pk, "merged_with": 1}
    Draft.objects.update(before_merges=[merged])
    revision, count = LiveConfiguration.objects.get().revision, AuditEntry.objects.count()
    renamed = {
        "enhance.count": "enhance.count_var",
        "enhance.input": "enhance.input_var",
        "rewrite.input": "rewrite.input_var",
    }
    assert rename_reserved(by=SYSTEM) == renamed
    assert LiveConfiguration.objects.get().revision == revision + 1
    assert {str(each): each.value for each in Variable.objects.all()} == {
        "enhance.style": "noir",
        "enhance.input_var": "the input",
        "enhance.count_var": "the count",
        "rewrite.input_var": "the input",
    }
    assert bodies() == {
        "enhance": "With {{ input_var }} in {{ style }}, {{ count_var }} times.",
        "noir": "Nothing of it.",
        "rewrite": r"Plain \{{ input }}: {{ input_var }}.",
        "old": "Old {{ input_var }}.",
    }
    now = Template.objects.get(name="enhance").live_version
    assert (now.number, now.temperature, now.author_name) == (2, 0.4, SYSTEM.name)
    assert now.sha256 == content_sha256(now.content)
    draft, discarded = Draft.objects.get(), DiscardedDraft.objects.get()
    assert (draft.body, draft.base, discarded.body) == ("Mine {{ input_var }}.", now, "Thrown away {{ input_var }}.")
    assert draft.before_merges == [merged | {"body": "Before {{ count_var }}.", "base": now.pk}]
    snapshot = live.load()
    filled = snapshot.filled("enhance", snapshot.template_for("enhance").body)
    assert filled == "With the input in noir, the count times."
    entry = AuditEntry.objects.latest("seq")
    assert (entry.action, entry.revision, AuditEntry.objects.count()) == ("variable.renamed", revision + 1, count + 1)
    assert entry.before["variables"] == list(renamed)
    assert entry.after == {
        "variables": list(renamed.values()),
        "live_texts": ["enhance v2", "old v2", "rewrite v2"],
        "drafts": 2,
    }
    assert style.pk in Variable.objects.values_list("pk", flat=True)
    templates.restore(archived, by=actor)
    assert rename_reserved(by=SYSTEM) == {}
    assert Draft.objects.get().before_merges == draft.before_merges


def test_undoing_a_merge_restores_the_renamed_text(publish, editor):
    old_variable("input")
    first = publish("enhance", "One. Two.")
    drafts.save_draft(first.template, Content("One {{ input }}. Two."), user=editor, base=first.pk)
    live_version = publish("enhance", "One. Two and three.")
    draft = Draft.objects.get()
    merges.take(first.template, {}, user=editor, expected=live_version.pk, seen=draft.sha256)
    rename_reserved(by=SYSTEM)
    assert Draft.objects.get().body == "One {{ input_var }}. Two and three."
    assert merges.undo(first.template, user=editor).body == "One {{ input_var }}. Two."


def test_a_taken_name_gets_a_number(publish, actor):
    old_variable("count")
    variables.declare("enhance", "count_var", "x", by=actor)
    rename_reserved(by=SYSTEM)
    assert set(Variable.objects.values_list("name", flat=True)) == {"count_var", "count_var2"}


def test_a_user_template_keeps_the_names_of_its_input_and_examples_stay(publish, actor):
    fields = [{"name": "scene", "description": "", "required": True, "max_characters": None}]
    operations.add("plan", OperationFields("Plans.", input="fields", fields=fields), by=actor)
    old_variable("scene", "plan")
    old_variable("prompts", "plan")
    texts = {"user_template": "{{ scene }} {{ prompts }}", "examples": "{{ scene }}\n=>\n{{ prompts }}"}
    template = publish("plan", "Soon.").template
    broken = Version.objects.create(template=template, number=9, author_name="-", body="About {{ scene }}.", **texts)
    Template.objects.filter(pk=template.pk).update(live_version=broken)
    rename_reserved(by=SYSTEM)
    now = Template.objects.get(pk=template.pk).live_version
    assert (now.number, now.body) == (10, "About {{ scene_var }}.")
    assert (now.user_template, now.examples) == ("{{ scene }} {{ prompts_var }}", texts["examples"])


def test_a_text_that_could_not_be_published_is_renamed_too(publish):
    old_variable("input")
    template = publish("enhance", "With it.").template
    # Live since before there were checks.
    broken = Version.objects.create(template=template, number=9, author_name="-", body="{{ input }} {{ never closed")
    Template.objects.filter(pk=template.pk).update(live_version=broken)
    rename_reserved(by=SYSTEM)
    assert bodies() == {"enhance": "{{ input_var }} {{ never closed"}


def test_migrate_renames_them_and_a_flush_does_not(publish):
    old_variable("prompts")
    publish("enhance", "With {{ prompts }}.")
    rename_clashing_variables(using="default")
    assert bodies() == {"enhance": "With {{ prompts }}."}
    call_command("migrate", verbosity=0)
    assert bodies() == {"enhance": "With {{ prompts_var }}."}
