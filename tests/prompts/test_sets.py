"""Exporting and importing all templates as files: refusals, and that an import does everything or nothing."""

import io
import json
import zipfile

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from promptops.ledger.chain import first_bad_entry
from promptops.ledger.errors import Refused
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.prompts.actions import releases, sets, templates, variables
from promptops.prompts.actions.drafts import save_draft
from promptops.prompts.actions.releases import Content
from promptops.prompts.models import Draft, Template, Version
from tests.prompts.exported import change, live, problems, state, zipped
from tests.prompts.test_variable_actions import put_live

pytestmark = pytest.mark.django_db


def test_the_files_are_readable_sorted_and_the_same_each_time(folder, actor):
    assert sorted(path.name for path in folder.iterdir()) == [
        "enhance.json", "enhance.txt", "noir.json", "noir.txt", "rewrite.json", "rewrite.txt",
    ]  # fmt: skip
    assert (folder / "enhance.txt").read_text() == "First line.\nSecond line.\n"
    text = (folder / "enhance.json").read_text()
    facts = json.loads(text)
    sha256 = facts["base"].pop("sha256")
    assert len(sha256) == 64
    assert facts == {
        "base": {"version": 1},
        "default": True,
        "description": "",
        "name": "enhance",
        "note": "from the start",
        "operation": "enhance",
        "settings": {"max_tokens": 99, "model": "", "temperature": 0.4},
    }
    assert text.splitlines()[1:3] == ['  "base": {', f'    "sha256": "{sha256}",']
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    sets.write_set(folder, by=actor)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    entry = AuditEntry.objects.filter(action="prompts.exported").first()
    assert entry.after == {"files": 6}


def test_importing_an_unchanged_export_changes_nothing(folder, actor):
    plan = sets.plan_import(sets.read_folder(folder))
    assert (plan.changes, plan.unchanged, plan.left, plan.problems) == ([], ["enhance", "noir", "rewrite"], [], [])
    with pytest.raises(Refused, match="No changes to import"):
        sets.import_set(sets.read_folder(folder), by=actor)


def test_each_change_is_an_audited_version_and_release(folder, actor):
    change(folder, "enhance", "First line.\r\nAnother line.\n", note="Shorter", description="For all")
    change(folder, "rewrite", settings={"max_tokens": None, "model": "", "temperature": 1})
    before = LiveConfiguration.objects.get().revision
    plan = sets.import_set(sets.read_folder(folder), by=actor, note="From git")
    assert [planned.entry.name for planned in plan.changes] == ["enhance", "rewrite"]
    enhance, rewrite = (Template.objects.get(name=name) for name in ("enhance", "rewrite"))
    version = enhance.live_version
    assert (version.number, version.body, version.note) == (2, "First line.\nAnother line.", "Shorter")
    assert (version.temperature, version.max_tokens, enhance.description) == (0.4, 99, "For all")
    assert (rewrite.live_version.temperature, rewrite.live_version.note) == (1.0, "From git")
    assert LiveConfiguration.objects.get().revision == before + 2
    actions = list(AuditEntry.objects.order_by("-seq").values_list("action", flat=True)[:4])
    assert actions == ["prompts.imported", "template.published", "template.published", "template.described"]
    assert AuditEntry.objects.get(action="prompts.imported").after == {"templates": 2, "names": ["enhance", "rewrite"]}
    assert first_bad_entry() is None


def test_a_new_template_and_another_default(folder, actor):
    (folder / "enhance.txt").rename(folder / "bright.txt")
    (folder / "enhance.json").rename(folder / "bright.json")
    change(folder, "bright", "Bright.", name="bright", base=None)
    plan = sets.plan_import(sets.read_folder(folder))
    assert [(planned.entry.name, planned.template) for planned in plan.changes] == [("bright", None)]
    assert plan.left == ["enhance"]
    sets.import_set(sets.read_folder(folder), by=actor)
    assert Template.objects.get(name="bright").is_default
    assert not Template.objects.get(name="enhance").is_default
    assert live() == {
        "bright": "Bright.", "enhance": "First line.\nSecond line.", "noir": "Dark. 狐", "rewrite": "Offer.",
    }  # fmt: skip


def test_the_default_moves_with_two_files(folder, actor):
    change(folder, "enhance", default=False)
    change(folder, "noir", default=True)
    sets.import_set(sets.read_folder(folder), by=actor)
    assert [row.name for row in Template.objects.filter(is_default=True)] == ["noir", "rewrite"]
    assert Version.objects.count() == 3  # no text has changed


@pytest.mark.parametrize(
    ("meanwhile", "sentence"),
    [
        (
            lambda t, by: releases.publish(t, Content("Mine"), by=by, expected=t.live_version_id),
            "enhance has changed here since the export: v2 is live, the files come from v1",
        ),
        (lambda t, by: templates.describe(t, "New words", by=by), "enhance has changed here since the export"),
        (
            lambda t, by: templates.make_default(Template.objects.get(name="noir"), by=by),
            "enhance has changed here since the export",
        ),
        (
            lambda t, by: (
                templates.make_default(Template.objects.get(name="noir"), by=by),
                templates.archive(Template.objects.get(name="enhance"), by=by),
            ),
            "enhance is archived here",
        ),
    ],
)
def test_a_template_that_changed_since_the_export_is_not_overwritten(meanwhile, sentence, folder, actor):
    change(folder, "enhance", "From git.")
    change(folder, "rewrite", "From git, too.")
    meanwhile(Template.objects.get(name="enhance"), actor)
    before = state()
    with pytest.raises(sets.BadSet, match=sentence):
        sets.import_set(sets.read_folder(folder), by=actor)
    assert state() == before  # nor was rewrite imported


def test_a_template_that_already_matches_the_files_is_no_conflict(folder, actor):
    change(folder, "enhance", "The same.")
    enhance = Template.objects.get(name="enhance")
    releases.publish(enhance, Content("The same.", 0.4, 99), by=actor, expected=enhance.live_version_id)
    assert sets.plan_import(sets.read_folder(folder)).unchanged == ["enhance", "noir", "rewrite"]


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"operation": "rewrite", "default": False}, "noir serves enhance here, rewrite in its file"),
        ({"operation": "paint"}, "noir.json: operation: There is no operation paint"),
        ({"default": True}, "enhance is already the default for enhance in these files"),
        ({"settings": {"max_tokens": 99999, "model": "", "temperature": 3}}, "noir.json: temperature: .*max_tokens: "),
        ({"note": "x" * 501, "description": "Changed"}, "noir.json: note: .*500"),
        ({"description": "x" * 201}, "noir.json: description: .*200"),
        ({"base": None, "description": "x"}, "noir has changed here .* the files do not name a version"),
    ],
)
def test_an_invalid_template_is_refused_by_name(facts, sentence, folder, actor):
    change(folder, "noir", **facts)
    before = state()
    with pytest.raises(sets.BadSet, match=sentence):
        sets.import_set(sets.read_folder(folder), by=actor)
    assert state() == before


def test_a_default_needs_a_successor(folder, actor):
    change(folder, "rewrite", default=False)
    with pytest.raises(sets.BadSet, match="rewrite is the default for rewrite"):
        sets.import_set(sets.read_folder(folder), by=actor)


def test_an_import_that_fails_halfway_changes_nothing(folder, actor, monkeypatch):
    change(folder, "enhance", "One.")
    change(folder, "rewrite", "Two.")
    before, publish = state(), sets.publish

    def second_fails(template, *args, **kwargs):
        if template.name == "rewrite":
            raise OSError("the disk is full")
        return publish(template, *args, **kwargs)

    monkeypatch.setattr(sets, "publish", second_fails)
    with pytest.raises(OSError, match="disk is full"):
        sets.import_set(sets.read_folder(folder), by=actor)
    assert state() == before


def test_an_import_keeps_drafts(folder, actor):
    enhance = Template.objects.get(name="enhance")
    save_draft(enhance, Content("My own words"), user=actor.user, base=enhance.live_version_id)
    change(folder, "enhance", "From git.")
    sets.import_set(sets.read_folder(folder), by=actor)
    assert Draft.objects.get().body == "My own words"


# ---------------------------------------------------------------- commands and pages


def test_the_dry_run_shows_the_changes_and_makes_none(folder, capsys):
    change(folder, "enhance", "First line.\nAnother line.\n", description="For all")
    (folder / "noir.txt").unlink()
    (folder / "noir.json").unlink()
    before = state()
    call_command("import_set", str(folder), "--dry-run")
    out = capsys.readouterr().out
    assert "enhance: changes\n  description: '' -> 'For all'\n" in out
    assert "\n  -Second line.\n  +Another line.\n" in out
    assert "Unchanged: rewrite.\nNot in the files, left as they are: noir.\n1 to import. Nothing was changed" in out
    assert state() == before


def test_the_commands_export_and_import_a_set(folder, tmp_path_factory, capsys):
    out = tmp_path_factory.mktemp("out") / "new"
    call_command("export_set", str(out))
    assert str(out / "enhance.txt") in capsys.readouterr().out
    change(out, "enhance", "Another text.")
    call_command("import_set", str(out), "--note", "From git")
    assert capsys.readouterr().out == "Imported: enhance.\n"
    version = Template.objects.get(name="enhance").live_version
    assert (version.body, version.note, version.author_name) == ("Another text.", "From git", "Command line")
    for arguments, sentence in (([str(out)], "No changes"), ([str(out / "nowhere")], "cannot be read")):
        with pytest.raises(CommandError, match=sentence):
            call_command("import_set", *arguments)
    change(out, "enhance", "Once more.")
    with pytest.raises(CommandError, match="enhance has changed here since the export"):
        call_command("import_set", str(out), "--dry-run")
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("export_set", str(out / "enhance.txt"))


@pytest.fixture
def seasonal(folder, publish, actor):
    """Publish noir, with a variable and escaped braces."""
    variables.declare("enhance", "season", "winter", by=actor)
    return publish("noir", "Dark in {{ season }}. \\{{ x }}", operation="enhance").template


def test_exported_texts_are_filled_in_unless_variables_are_kept(seasonal, folder, actor):
    files = sets.export_files(by=actor)
    assert files["noir.txt"] == "Dark in winter. {{ x }}\n"
    assert json.loads(files["noir.json"])["filled"] is True
    assert "filled" not in files["enhance.json"]
    sets.write_set(folder, by=actor)
    assert {path.name: path.read_text() for path in folder.iterdir()} == files
    call_command("export_set", str(folder), keep_variables=True)
    assert (folder / "noir.txt").read_text() == "Dark in {{ season }}. \\{{ x }}\n"
    assert "filled" not in json.loads((folder / "noir.json").read_text())
    assert sets.plan_import(sets.read_folder(folder)).unchanged == ["enhance", "noir", "rewrite"]


def test_a_filled_in_text_does_not_replace_a_text_with_variables(seasonal, folder, actor):
    sets.write_set(folder, by=actor)
    change(folder, "enhance", "Another text.")
    sets.import_set(sets.read_folder(folder), by=actor)
    assert live()["noir"] == "Dark in {{ season }}. \\{{ x }}"
    assert live()["enhance"] == "Another text."
    sets.write_set(folder, by=actor)
    change(folder, "noir", "Darker in winter.")
    plan = sets.plan_import(sets.read_folder(folder))
    assert (plan.changes, plan.unchanged) == ([], ["enhance", "rewrite"])
    assert plan.problems == [
        "noir.txt was exported with its variables filled in. "
        "Export again with variables kept, then make your change in those files."
    ]
    change(folder, "noir", filled="yes")
    assert problems(folder) == ['noir.json: filled must be true or false, not "yes".']


def test_a_user_template_is_filled_in_too_and_keeps_the_names_of_its_input(seasonal, folder, publish, actor):
    variables.declare("enhance", "braces", "{{ input }}", by=actor)
    template = "{{ season }} {{ braces }} {{ input }} \\{{ x }}"
    publish("noir", "Dark.", operation="enhance", user_template=template, examples="a\n=>\n{{ b }}")
    sets.write_set(folder, by=actor)
    facts = json.loads((folder / "noir.json").read_text())
    assert facts["filled"] is True
    assert facts["settings"]["user_template"] == "winter \\{{ input }} {{ input }} \\{{ x }}"
    assert facts["settings"]["examples"] == "a\n=>\n{{ b }}"
    assert "noir" in sets.plan_import(sets.read_folder(folder)).unchanged
    sets.write_set(folder, by=actor, keep_variables=True)
    assert json.loads((folder / "noir.json").read_text())["settings"]["user_template"] == template


@pytest.mark.parametrize(
    ("variable", "template"), [("{", "{{ v }}{ input }} {{ input }}"), ("\\", "{{ v }}{{ input }}")]
)
def test_a_user_template_that_would_change_its_meaning_is_not_exported(variable, template, folder, publish, actor):
    variables.declare("enhance", "v", variable, by=actor)
    publish("noir", "Dark.", operation="enhance", user_template=template)
    with pytest.raises(Refused, match="a variable of noir ends in a brace or a backslash"):
        sets.export_files(by=actor)


def test_a_filled_in_text_can_create_a_template(seasonal, folder, publish, actor):
    publish("noir", "Dark in {{ season }}.", operation="enhance")
    sets.write_set(folder, by=actor)
    for kind in ("txt", "json"):
        path = folder / f"noir.{kind}"
        path.with_name(f"dark.{kind}").write_text(path.read_text().replace('"noir"', '"dark"'))
    sets.import_set(sets.read_folder(folder), by=actor)
    assert live()["dark"] == "Dark in winter."
    assert live()["noir"] == "Dark in {{ season }}."


def test_a_text_with_an_unknown_variable_is_not_filled_in(folder, publish, actor, client_for, releaser):
    put_live(publish("noir", "Plain.", operation="enhance").template, "In {{ season }}.")
    exports = AuditEntry.objects.filter(action="prompts.exported")
    with pytest.raises(CommandError, match=r"because noir is not ready.*\{\{ season \}\}.*--keep-variables"):
        call_command("export_set", str(folder / "new"))
    assert not (folder / "new").exists()
    client = client_for(releaser)
    page = client.post(reverse("prompts_export"), follow=True).content.decode()
    assert "Nothing was exported, because noir is not ready" in page
    assert exports.count() == 1  # that of the fixture
    with zipfile.ZipFile(io.BytesIO(client.post(reverse("prompts_export"), {"keep": "1"}).content)) as archive:
        assert archive.read("noir.txt") == b"In {{ season }}.\n"


def upload(client, files: dict[str, str], **fields):
    archive = zipped(list(files.items()))
    archive.seek(0)
    archive.name = "prompts.zip"
    return client.post(reverse("prompts_import"), {"archive": archive} | fields)


def test_the_page_exports_reviews_and_imports(folder, client_for, releaser):
    client = client_for(releaser)
    response = client.post(reverse("prompts_export"))
    assert response["Content-Disposition"] == 'attachment; filename="prompts.zip"'
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert files == {path.name: path.read_text() for path in folder.iterdir()}
    assert AuditEntry.objects.first().actor == releaser
    files["enhance.txt"] = "First line.\nA <b>bold</b> line.\n"
    htmx = client_for(releaser, htmx=True)
    panel = upload(htmx, files).content.decode()
    assert "Import 1 template" in panel
    assert "&lt;b&gt;bold" in panel
    digest = panel.split('name="digest" value="')[1].split('"')[0]
    assert live()["enhance"] == "First line.\nSecond line."
    # An archive other than the reviewed one is shown again, not imported.
    other = upload(htmx, files | {"noir.txt": "Else."}, confirm="1", digest=digest)
    assert "Import 2 templates" in other.content.decode()
    assert live()["enhance"] == "First line.\nSecond line."
    done = upload(htmx, files, confirm="1", digest=digest, note="By hand")
    assert done["HX-Redirect"] == reverse("prompts")
    assert live()["enhance"] == "First line.\nA <b>bold</b> line."
    assert AuditEntry.objects.first().note == "By hand"
    refused = upload(htmx, files | {"enhance.txt": "Again."}).content.decode()
    assert "enhance has changed here since the export" in refused
    assert 'value="1" data-busy>Import' not in refused
    assert "Choose a zip archive" in htmx.post(reverse("prompts_import")).content.decode()
    assert (
        "not a readable zip archive"
        in htmx.post(reverse("prompts_import"), {"archive": io.BytesIO(b"no zip")}).content.decode()
    )
    assert (
        "larger than 4 MiB"
        in htmx.post(reverse("prompts_import"), {"archive": io.BytesIO(bytes(4 * 2**20 + 1))}).content.decode()
    )


def test_editors_see_no_import(folder, client_for, editor):
    page = client_for(editor).get(reverse("prompt_files")).content.decode()
    assert reverse("prompts_export") in page
    assert reverse("prompts_import") not in page


def test_planning_takes_as_many_queries_for_1_and_30(publish, actor, django_assert_num_queries):
    for count in (1, 30):
        for number in range(Template.objects.count(), count):
            publish(f"t{number}", "Text", operation="enhance")
        entries = sets.read_zip(zipped(list(sets.export_files(by=actor).items())))
        with django_assert_num_queries(1):
            assert len(sets.plan_import(entries).unchanged) == count
