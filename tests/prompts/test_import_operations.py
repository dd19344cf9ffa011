"""Operations that an import makes on the way: actions, pages and the command."""

import json

import pytest
from django.core.management import CommandError, call_command

from promptops.ledger.models import AuditEntry
from promptops.prompts.actions.importing import NotImported, Text, import_drafts, import_versions, new_operation
from promptops.prompts.models import Draft, Operation, Template
from tests.prompts.test_importing import send, state

pytestmark = pytest.mark.django_db

SCHEMA = {"type": "object", "required": ["prompts"], "properties": {"prompts": {"type": "array"}}}
TEXT = new_operation("plan", {"kind": "text"})
NEW = {"text_0_chosen": "1", "text_0_name": "plans", "text_0_operation": "+new"}
SIMPLE = {"text_0_new_name": "plan", "text_0_new_input": "text", "text_0_new_answer": "text"}


def made() -> list[str]:
    return list(Operation.objects.filter(built_in=False).values_list("name", flat=True))


def test_an_operation_is_made_with_the_texts_that_name_it(actor, editor):
    other = new_operation("shots", {"kind": "lines", "count": 2}, input="list", purpose="Lists shots.")
    import_versions([Text("a", "plan", "A"), Text("b", "shots", "B")], by=actor, operations=[TEXT, other], note="New")
    assert made() == ["plan", "shots"]
    assert set(Template.objects.values_list("name", "operation", "is_default")) == {
        ("a", "plan", True),
        ("b", "shots", True),
    }
    entries = AuditEntry.objects.filter(action="operation.added")
    assert {(each.object_name, each.note) for each in entries} == {("plan", "New"), ("shots", "New")}
    import_drafts([Text("c", "edit", "C")], by=actor, user=editor, operations=[new_operation("edit", {"kind": "text"})])
    assert Draft.objects.get().template.operation == "edit"


@pytest.mark.parametrize(
    ("texts", "operation", "problem"),
    [
        ([Text("a", "plan", "A"), Text("Not a name", "plan", "B")], TEXT, "Not a name: Use lower-case"),
        ([Text("a", "plan", "nul \0")], TEXT, "a: "),
        ([], TEXT, "Choose at least one text."),
        ([Text("a", "Plan", "A")], new_operation("Plan", {"kind": "text"}), "Plan: Use lower-case letters"),
        ([Text("a", "x", "A")], new_operation("x", {"kind": "json", "schema": {"$ref": "http://h"}}), "x: "),
        ([Text("a", "x", "A")], new_operation("x", {"kind": "json"}), "x: "),
        ([Text("a", "x", "A")], new_operation("x", {"kind": "text"}, field_names="a, a"), "x: Two fields"),
        ([Text("a", "enhance", "A")], new_operation("enhance", {"kind": "text"}), "enhance: An operation of that name"),
        ([Text("a", "", "A")], new_operation(" ", {"kind": "text"}), "An operation without a name: "),
    ],
)
def test_nothing_is_made_if_anything_is_refused(texts, operation, problem, actor, editor):
    before = state()
    for call in (
        lambda: import_drafts(texts, by=actor, user=editor, operations=[operation]),
        lambda: import_versions(texts, by=actor, operations=[operation]),
    ):
        with pytest.raises(NotImported) as refused:
            call()
        assert any(each.startswith(problem) for each in refused.value.problems), refused.value.problems
        assert (state(), made()) == (before, [])


def test_fields_are_named_in_short():
    fields = new_operation("x", {"kind": "text"}, field_names="scene, mood?\n light?").fields
    assert fields.input == "fields"
    assert [(each["name"], each["required"]) for each in fields.fields] == [
        ("scene", True),
        ("mood", False),
        ("light", False),
    ]


def test_a_name_is_enough_and_the_panel_comes_first(client_for, releaser):
    client, file = client_for(releaser, htmx=True), ("next-segment.txt", b"Go on.")
    found = send(client, "read", file)
    (row,) = found.context["rows"]
    assert (row.new["name"].value(), row.new["answer"].value()) == ("next_segment", None)
    chosen = {"digest": found.context["digest"], **NEW, **SIMPLE}
    panel = send(client, "drafts", file, **chosen)
    assert panel["HX-Retarget"] == "#review"
    assert "new operation" in panel.content.decode()
    assert (made(), Draft.objects.count()) == ([], 0)
    send(client, "drafts", file, **chosen, confirm="1", note="Day one")
    draft = Draft.objects.get()
    assert (draft.template.name, draft.template.operation, draft.body) == ("plans", "plan", "Go on.")
    row = Operation.objects.get(name="plan")
    assert (row.input, row.answer, row.purpose) == ("text", {"kind": "text"}, "Runs the imported prompt plan.")
    assert AuditEntry.objects.get(action="operation.added").note == "Day one"


def test_a_contract_is_pasted_and_two_texts_share_the_operation(client_for, releaser):
    client, files = client_for(releaser), (("a.txt", b"One."), ("b.txt", b"Two."))
    digest = send(client, "read", *files).context["digest"]
    chosen = {"digest": digest}
    for number in (0, 1):
        chosen |= {
            f"text_{number}_chosen": "1",
            f"text_{number}_name": f"t{number}",
            f"text_{number}_operation": "+new",
        }
        # Names of fields have a hyphen after the prefix, and this one keeps its underscore.
        chosen |= {
            f"text_{number}_new_{name}": value
            for name, value in {"name": "plan", "input": "fields", "answer": "json"}.items()
        }
    more = {f"text-{number}-new-{name}": value for number in (0, 1) for name, value in LONG.items()}
    panel = send(client, "versions", *files, **chosen, more=more).content.decode()
    assert "Named fields (scene, mood) → JSON" in panel
    assert "&quot;required&quot;: [" in panel
    wrong = more | {"text-1-new-schema": "{}"}
    assert (
        "two texts make this operation differently"
        in send(client, "versions", *files, **chosen, more=wrong, confirm="1").content.decode()
    )
    assert made() == []
    send(client, "versions", *files, **chosen, more=more, confirm="1")
    row = Operation.objects.get(name="plan")
    assert (row.answer["schema"], [each["name"] for each in row.fields]) == (SCHEMA, ["scene", "mood"])
    assert Template.objects.filter(operation="plan", live_version__number=1).count() == 2


LONG = {"field_names": "scene, mood?", "schema": json.dumps(SCHEMA)}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"text_0_new_name": "Plan"}, "New operation, name: Use lower-case letters"),
        ({"text_0_new_name": ""}, "New operation, name: This field is required."),
        ({"text_0_new_name": "enhance"}, "enhance: An operation of that name exists"),
        ({"text_0_new_input": "fields"}, "needs at least one field"),
        ({"text_0_new_input": "picture"}, "not one of the available choices"),
        ({"text_0_new_answer": "json", "text_0_new_schema": "{"}, "This is no valid JSON"),
        ({"text_0_new_answer": "lines", "text_0_new_count": ""}, "Ask for 1 to 10 alternatives"),
        ({"text_0_name": "polish"}, "polish exists and serves enhance"),
    ],
)
def test_a_wrong_operation_is_refused_with_a_sentence(fields, sentence, publish, client_for, releaser):
    publish("polish", "Old", operation="enhance")
    client, file = client_for(releaser), ("a.txt", b"One")
    digest = send(client, "read", file).context["digest"]
    before = state()
    for action in ("drafts", "versions"):
        page = send(client, action, file, digest=digest, **NEW | SIMPLE | fields, confirm="1").content.decode()
        assert sentence in page
        assert (state(), made()) == (before, [])
    shown = send(client, "drafts", file, digest=digest, **NEW | SIMPLE | fields)
    if "exists" not in sentence:
        assert shown.context["rows"][0].makes_operation


def test_an_editor_reads_who_can_make_one_and_cannot(client_for, editor):
    client, file = client_for(editor), ("a.txt", b"One")
    found = send(client, "read", file)
    page = found.content.decode()
    assert "Releasers and administrators can make an operation here." in page
    assert "+new" not in page
    refused = send(client, "drafts", file, digest=found.context["digest"], **NEW, **SIMPLE)
    assert "Only releasers and administrators can make an operation." in refused.content.decode()
    assert (made(), Draft.objects.count()) == ([], 0)


def test_the_command_makes_an_operation(tmp_path, capsys):
    text, schema = tmp_path / "next.txt", tmp_path / "schema.json"
    text.write_text("Go on.")
    schema.write_text(json.dumps(SCHEMA))
    options = {"make_operation": "next_segment", "fields": "scene, mood?", "schema": schema, "note": "Moved"}
    for wrong, sentence in (
        ({"operation": "enhance"}, "either --operation or --make-operation"),
        ({"make_operation": None}, "Name it with --make-operation"),
        ({"schema": tmp_path / "none.json"}, "cannot be read"),
        ({"schema": text}, "is not JSON"),
        ({"schema": None, "answer": "json"}, "needs a schema"),
        ({"make_operation": "Next"}, "Next: Use lower-case letters"),
    ):
        with pytest.raises(CommandError, match=sentence):
            call_command("import_prompts", str(text), **options | wrong)
        assert made() == []
    call_command("import_prompts", str(text), **options)
    row = Operation.objects.get(name="next_segment")
    assert (row.input, row.answer["schema"]) == ("fields", SCHEMA)
    assert Template.objects.get(operation="next_segment").live_version.note == "Moved"
    (tmp_path / "shots.txt").write_text("List shots.")
    call_command("import_prompts", str(tmp_path / "shots.txt"), make_operation="shots", answer="lines", count=2)
    assert Operation.objects.get(name="shots").answer == {"kind": "lines", "count": 2}
