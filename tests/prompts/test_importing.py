"""Importing texts of other tools: actions, pages and the command."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.urls import reverse

from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.live import snapshots as live
from promptops.prompts.actions.drafts import save_draft
from promptops.prompts.actions.importing import NotImported, Text, import_drafts, import_versions
from promptops.prompts.actions.templates import archive
from promptops.prompts.content import Content
from promptops.prompts.models import Draft, Template, Version
from promptops.prompts.queries.similar import similar_texts

pytestmark = pytest.mark.django_db

CHINESE = "你是一位电影导演\u200b，把 {input} 改写成一个镜头。" * 600  # about 36 KB


def state() -> tuple:
    """Return everything that an import may change."""
    return (
        list(Template.objects.values_list("name", "operation", "live_version__number").order_by("name")),
        list(Draft.objects.values_list("template__name", "body").order_by("template__name")),
        Version.objects.count(),
        LiveConfiguration.objects.get().revision,
        AuditEntry.objects.count(),
    )


def test_drafts_are_made_for_new_and_existing_templates(publish, editor, actor):
    publish("enhance", "Old")
    import_drafts([Text("enhance", "rewrite", "New {}"), Text("noir", "rewrite", "Dark")], by=actor, user=editor)
    assert state()[:2] == (
        [("enhance", "enhance", 1), ("noir", "rewrite", None)],
        [("enhance", "New {}"), ("noir", "Dark")],
    )
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.object_name, entry.after) == ("prompts.drafts_imported", "enhance, noir", {"texts": 2})


def test_versions_go_live_and_keep_the_settings_of_their_template(publish, actor):
    publish("enhance", "Old", temperature=0.4)
    import_versions([Text("enhance", "", "New"), Text("noir", "enhance", "Dark")], by=actor, note="Moved here")
    versions = [template.live_version for template in Template.objects.order_by("name")]
    assert [(v.number, v.body, v.temperature, v.note) for v in versions] == [
        (2, "New", 0.4, "Moved here"),
        (1, "Dark", None, "Moved here"),
    ]
    assert AuditEntry.objects.first().action == "prompts.versions_imported"


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ([], "Choose at least one text."),
        ([Text("noir", "enhance", "A"), Text("noir", "enhance", "B")], "noir: two texts have this name"),
        ([Text("noir", "enhance", "A"), Text("Not a name", "enhance", "B")], "Not a name: Use lower-case letters"),
        ([Text("noir", "enhance", "A"), Text("", "enhance", "B")], "A text without a name: "),
        ([Text("noir", "unknown", "A")], "noir: "),
        ([Text("noir", "enhance", "A"), Text("old", "enhance", "B")], "old: this template is archived"),
        ([Text("noir", "enhance", "A"), Text("b", "enhance", "nul \0")], "b: "),
    ],
)
def test_what_cannot_be_imported_is_named_and_nothing_changes(texts, problem, publish, editor, actor):
    publish("enhance", "Old")
    archive(publish("old", "Old", operation="enhance").template, by=actor)
    before = state()
    for call in (lambda: import_drafts(texts, by=actor, user=editor), lambda: import_versions(texts, by=actor)):
        with pytest.raises(NotImported) as refused:
            call()
        assert any(each.startswith(problem) for each in refused.value.problems)
        assert state() == before


def test_a_draft_of_the_person_is_never_replaced(publish, editor, actor):
    template = publish("enhance", "Old").template
    save_draft(template, Content("Mine"), user=editor, base=template.live_version_id)
    before = state()
    with pytest.raises(NotImported, match="you have a draft of it already"):
        import_drafts([Text("noir", "enhance", "A"), Text("enhance", "enhance", "B")], by=actor, user=editor)
    assert state() == before


@pytest.mark.parametrize("body", ["Old", "With {{ unknown }}"])
def test_a_text_that_may_not_go_live_stops_all(body, publish, actor):
    publish("enhance", "Old")
    before = state()
    with pytest.raises(NotImported, match=r"^enhance: "):
        import_versions([Text("noir", "enhance", "A"), Text("enhance", "enhance", body)], by=actor)
    assert state() == before


def test_what_resembles_a_text_is_found(publish):
    text = "You are a prompt enhancer. Rewrite the text of the user as one vivid shot of a film."
    publish("enhance", text)
    publish("rewrite", "Offer alternatives to the prompt, one a line.")
    similar = similar_texts([("a", text), ("b", text + " Go."), ("c", "Something else entirely, about trains.")])
    assert [[(each.name, each.is_same) for each in found] for found in similar] == [
        [("enhance", True)],
        [("enhance", False), ("a", False)],
        [],
    ]


def send(client, action: str, *files: tuple[str, bytes], more: dict[str, str] | None = None, **fields):
    """Post files with the form's fields, whose names have hyphens instead of underscores, and `more` as it is."""
    uploads = [SimpleUploadedFile(name, data) for name, data in files]
    data = {name.replace("_", "-"): value for name, value in fields.items()}
    return client.post(reverse(f"texts_import_{action}"), {"files": uploads, **data, **(more or {})})


def test_an_editor_finds_chooses_and_imports(client_for, editor):
    client = client_for(editor)
    files = ("next.txt", CHINESE.encode()), ("more.py", b'LONG = "A prompt for the night, in the rain and in fog."')
    found = send(client, "read", *files)
    assert [(row.name, row.chosen, row.keeps_invisible) for row in found.context["rows"]] == [
        ("next", True, True),
        ("long", True, True),
    ]
    assert found.context["rows"][0].body == CHINESE
    chosen = {
        "digest": found.context["digest"],
        "text_0_chosen": "1",
        "text_0_name": "segment",
        "text_0_operation": "auto_extend",
        "text_0_variable": "{input}",
    }
    assert send(client, "drafts", *files, **chosen)["Location"] == reverse("template", args=["segment"])
    draft = Draft.objects.get()
    assert (draft.template.operation, draft.user) == ("auto_extend", editor)
    assert draft.body == CHINESE.replace("{input}", "{{ input }}").replace("\u200b", "")


def test_a_text_that_is_kept_as_it_is_comes_through_byte_for_byte(client_for, editor):
    client = client_for(editor)
    file = ("enhance.txt", CHINESE.encode())
    digest = send(client, "read", file).context["digest"]
    send(
        client, "drafts", file, digest=digest, text_0_chosen="1", text_0_name="enhance", text_0_operation="enhance",
        text_0_invisible="1",
    )  # fmt: skip
    assert Draft.objects.get().body.encode() == file[1]


def test_a_releaser_sees_the_difference_and_publishes(publish, client_for, releaser):
    publish("enhance", "Old text")
    client, file = client_for(releaser), ("enhance.txt", b"New text")
    digest = send(client, "read", file).context["digest"]
    chosen = {"digest": digest, "text_0_chosen": "1", "text_0_name": "enhance", "text_0_operation": "rewrite"}
    panel = send(client, "versions", file, **chosen).content.decode()
    assert "Publish 1 text" in panel
    assert "Old" in panel
    assert Template.objects.get().live_version.number == 1
    send(client, "versions", file, **chosen, confirm="1", note="From the old tool")
    assert (Template.objects.get().live_version.body, Template.objects.get().live_version.note) == (
        "New text",
        "From the old tool",
    )


def test_other_files_than_those_of_the_choices_are_refused(client_for, releaser):
    client = client_for(releaser)
    digest = send(client, "read", ("a.txt", b"One")).context["digest"]
    for action in ("drafts", "versions"):
        answer = send(client, action, ("a.txt", b"Two"), digest=digest, text_0_chosen="1", text_0_name="a")
        assert "Read them again" in answer.content.decode()
    assert not Template.objects.exists()


@pytest.mark.parametrize(
    ("files", "pasted", "sentence"),
    [
        ([], "", "Choose a file or paste a text first."),
        ([], "  ", "Choose a file or paste a text first."),
        ([("a.json", b"{")], "", "a.json is not valid JSON in line 1."),
        ([("a.json", b"[" + b",".join([b'"x"'] * 101) + b"]")], "", "at most 100 are imported at once"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(files, pasted, sentence, client_for, editor):
    answer = send(client_for(editor), "read", *files, pasted=pasted)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()


def test_a_refused_import_keeps_the_choices(client_for, editor, actor, publish):
    publish("enhance", "Text")
    archive(publish("old", "Old", operation="enhance").template, by=actor)
    client, file = client_for(editor), ("a.txt", b"One")
    digest = send(client, "read", file).context["digest"]
    chosen = {"text_0_chosen": "1", "text_0_name": "old", "text_0_operation": "rewrite"}
    answer = send(client, "drafts", file, digest=digest, **chosen)
    row = answer.context["rows"][0]
    assert (answer.status_code, row.name, row.operation, row.chosen) == (422, "old", "rewrite", True)


def test_a_pasted_text_is_imported_too(client_for, editor):
    client = client_for(editor)
    found = send(client, "read", pasted="A pasted text").context
    send(client, "drafts", pasted="A pasted text", digest=found["digest"], text_0_chosen="1", text_0_name="pasted")
    assert Draft.objects.get().body == "A pasted text"


@pytest.mark.parametrize("count", [1, 30])
def test_the_number_of_queries_does_not_grow(count, client_for, editor, django_assert_num_queries):
    client = client_for(editor)
    files = [(f"t{number}.txt", f"Text {number}".encode()) for number in range(count)]
    client.get(reverse("texts_import"))
    live.current()
    with django_assert_num_queries(5):
        assert len(send(client, "read", *files).context["rows"]) == count


def test_the_command_imports_versions_or_drafts(tmp_path, editor, capsys):
    (tmp_path / "enhance.txt").write_text("Polish {}\u200b\r\n", newline="")
    (tmp_path / "more.py").write_text("NIGHT = 'Dark'\nDAY = 'Bright'")
    paths = [str(tmp_path / name) for name in ("enhance.txt", "more.py")]
    call_command("import_prompts", *paths, dry_run=True)
    assert not Template.objects.exists()
    with pytest.raises(CommandError, match="night is not named like an operation"):
        call_command("import_prompts", *paths)
    with pytest.raises(CommandError, match="There is no operation dance"):
        call_command("import_prompts", *paths, operation="dance", only=["night"])
    call_command("import_prompts", *paths, operation="rewrite", only=["night"], drafts_of=editor.username)
    assert state()[:2] == ([("night", "rewrite", None)], [("night", "Dark")])
    call_command("import_prompts", paths[0])
    assert Template.objects.get(name="enhance").live_version.body == "Polish {}\u200b"
    output = capsys.readouterr().out
    assert "zero width space (U+200B) × 1" in output
    assert "Placeholders are kept: {}." in output
    with pytest.raises(CommandError, match="No changes to publish"):
        call_command("import_prompts", paths[0])
    for arguments, error in (
        ({"only": ["none"]}, "hold no text named none. Found: night, day"),
        ({"operation": "rewrite", "drafts_of": "nobody"}, "no active user 'nobody'"),
    ):
        with pytest.raises(CommandError, match=error):
            call_command("import_prompts", paths[1], **arguments)
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        call_command("import_prompts", str(tmp_path / "missing.txt"))
