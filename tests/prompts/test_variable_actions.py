"""Variables as part of what is live, the checks that actions enforce, and pinned samples."""

from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from promptops.engine.types import PromptOperation
from promptops.ledger import sentences
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.live import snapshots as live
from promptops.prompts.actions import drafts, releases, samples, templates, variables
from promptops.prompts.actions.prompts import export_prompts, import_prompts
from promptops.prompts.actions.releases import Content
from promptops.prompts.errors import ChecksFailed, VariableInUse
from promptops.prompts.models import Sample, Template, Variable, Version
from promptops.runs.enums import RunSource
from promptops.runs.plans import RunPlan

pytestmark = pytest.mark.django_db


@pytest.fixture
def season(actor) -> Variable:
    return variables.declare("enhance", "season", "winter", by=actor, description="The time of year")


def revision() -> int:
    return LiveConfiguration.objects.get().revision


def plan(body: str, operation: str = "enhance") -> RunPlan:
    return RunPlan(PromptOperation(operation), "a fox", Content(body), (), live.current(), RunSource.PREVIEW)


def put_live(template: Template, body: str) -> Version:
    """Make a version live without the checks, as before there were any."""
    version = Version.objects.create(template=template, number=99, author_name="Earlier", body=body)
    Template.objects.filter(pk=template.pk).update(live_version=version)
    return version


def test_declaring_is_a_release_that_runs_use(publish, actor):
    publish("enhance", "Text.")
    before, snapshot = revision(), live.current()
    variable = variables.declare("enhance", " season ", " early\r\nwinter ", by=actor, note="first snow")
    assert (variable.name, variable.value, variable.changed_revision) == ("season", "early\nwinter", before + 1)
    assert revision() == before + 1
    assert Release.objects.get(revision=before + 1).action == "variable.declared"
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.note, entry.revision) == ("variable.declared", "first snow", before + 1)
    assert entry.after["value"] == "early\nwinter"
    assert sentences.sentence(entry) == "Ada Administrator declared the variable enhance.season"
    live.refresh()
    assert live.current().variables[PromptOperation.ENHANCE] == {"season": "early\nwinter"}
    assert PromptOperation.REWRITE not in live.current().variables
    assert PromptOperation.ENHANCE not in snapshot.variables


def test_a_run_keeps_the_values_that_it_started_with(season, actor):
    live.refresh()
    started = plan("In {{ season }}. \\{{ season }}")
    variables.change(season, "summer", by=actor, expected=season.changed_revision)
    live.refresh()
    assert started.request().messages[0].content == "In winter. {{ season }}"
    assert plan("In {{ season }}.").request().messages[0].content == "In summer."
    assert plan("In {{ season }}.", "rewrite").request().messages[0].content == "In {{ season }}."


def test_changing_records_both_values(season, actor):
    variables.change(season, "summer", by=actor, expected=season.changed_revision, description="x", note="hot")
    entry = AuditEntry.objects.first()
    assert (entry.before["value"], entry.after["value"], entry.note) == ("winter", "summer", "hot")
    with pytest.raises(Stale, match="Someone else changed season"):
        variables.change(season, "fall", by=actor, expected=season.changed_revision)
    with pytest.raises(Stale):
        variables.remove(season, by=actor, expected=season.changed_revision)
    season.refresh_from_db()
    with pytest.raises(Refused, match="No changes"):
        variables.change(season, " summer\r\n", by=actor, expected=season.changed_revision, description="x")


@pytest.mark.parametrize("name", ["", "Season", "1st", "a b", "a-b", "x" * 41, "é", "_a", "{{"])
def test_bad_names_are_refused(name, actor):
    before = revision()
    with pytest.raises(ValidationError):
        variables.declare("enhance", name, "x", by=actor)
    assert revision() == before


@pytest.mark.parametrize("value", ["a\x00b", "a\ufffdb", f"a{chr(0xD800)}b", "x" * 4001])
def test_bad_values_are_refused(value, season, actor):
    with pytest.raises(ValidationError):
        variables.change(season, value, by=actor, expected=season.changed_revision)
    assert Variable.objects.get().value == "winter"


def test_a_name_is_declared_once_per_operation(season, actor):
    with pytest.raises(ValidationError, match="declared already"):
        variables.declare("enhance", "season", "x", by=actor)
    variables.declare("rewrite", "season", "x", by=actor)
    with pytest.raises(ValidationError):
        variables.declare("another", "season", "x", by=actor)


def test_a_variable_in_a_live_text_cannot_be_removed(season, publish, actor):
    publish("enhance", "In {{ season }}.")
    publish("noir", "Night, {{season}}.", operation="enhance")
    publish("calm", "No season, \\{{ season }}", operation="enhance")
    publish("rewrite", "Plain.")
    with pytest.raises(VariableInUse) as refused:
        variables.remove(season, by=actor, expected=season.changed_revision)
    assert str(refused.value) == (
        "season cannot be removed: enhance v1 and noir v1 are live and use it. "
        "Publish a text without {{ season }} first."
    )
    publish("enhance", "Plain.")
    templates.archive(Template.objects.get(name="noir"), by=actor)
    variables.remove(season, by=actor, expected=season.changed_revision)
    assert not Variable.objects.exists()
    assert AuditEntry.objects.first().before["value"] == "winter"
    # Texts that use the variable are kept, but cannot go live without it.
    with pytest.raises(ChecksFailed, match=r"\{\{season\}\} is not declared"):
        templates.restore(Template.objects.get(name="noir"), by=actor)
    assert Template.objects.get(name="noir").archived_at
    enhance = Template.objects.get(name="enhance")
    with pytest.raises(ChecksFailed, match="Line 1, column 4"):
        releases.roll_back(enhance.versions.get(number=1), by=actor, expected=enhance.live_version_id)
    variables.declare("enhance", "season", "spring", by=actor)
    templates.restore(Template.objects.get(name="noir"), by=actor)


@pytest.mark.parametrize("value", ["x" * 4000, ""])
def test_a_value_cannot_make_a_live_text_invalid(value, season, publish, actor):
    version = publish("enhance", "{{ season }} " * 20 if value else "{{ season }}")
    with pytest.raises(Refused, match=r"enhance v1 is live and uses season\."):
        variables.change(season, value, by=actor, expected=season.changed_revision)
    assert Variable.objects.get().value == "winter"
    assert version.template.live_version == version


@pytest.mark.parametrize("body", ["{{ sesaon }}", "{{ season", "{{{ season }}}", "{{ x y }}", "\\{{ {{"])
def test_a_text_that_fails_a_check_is_not_published_and_the_draft_stays(body, season, publish, actor):
    version = publish("enhance", "Plain.")
    drafts.save_draft(version.template, Content(body), user=actor.user, base=version.pk)
    before = revision()
    with pytest.raises(ChecksFailed, match=r"The text cannot go live\. Line 1, column "):
        releases.publish(version.template, Content(body), by=actor, expected=version.pk)
    assert revision() == before
    assert version.template.drafts.get().body == body
    assert Version.objects.count() == 1


def test_the_command_refuses_a_text_that_fails_a_check(season, publish, tmp_path):
    publish("enhance", "Plain.")
    path = tmp_path / "text.txt"
    path.write_text("In {{ sesaon }}.")
    with pytest.raises(CommandError, match=r"Did you mean \{\{ season \}\}"):
        call_command("publish", "enhance", file=str(path))
    path.write_text("In {{ season }}.")
    call_command("publish", "enhance", file=str(path))
    assert Template.objects.get().live_version.body == "In {{ season }}."


def test_exported_texts_are_filled_in_unless_variables_are_kept(season, publish, actor, tmp_path):
    publish("enhance", 'In {{ season }}: {"a": {"b": 1}} \\{{ name }}')
    publish("rewrite", "Plain.")
    export_prompts(tmp_path, by=actor)
    assert (tmp_path / "enhance.txt").read_text() == 'In winter: {"a": {"b": 1}} {{ name }}\n'
    call_command("export_prompts", str(tmp_path), keep_variables=True)
    assert (tmp_path / "enhance.txt").read_text() == 'In {{ season }}: {"a": {"b": 1}} \\{{ name }}\n'


def test_a_text_with_an_unknown_variable_is_not_exported(publish, actor, tmp_path):
    put_live(publish("enhance", "Plain.").template, "In {{ season }}.")
    with pytest.raises(CommandError, match=r"because enhance is not ready.*\{\{ season \}\}.*--keep-variables"):
        call_command("export_prompts", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    call_command("export_prompts", str(tmp_path), keep_variables=True)
    assert (tmp_path / "enhance.txt").read_text() == "In {{ season }}.\n"


def test_a_live_text_from_before_the_checks_runs_unchanged(publish, actor):
    put_live(publish("enhance", "Plain.").template, "In {{ season }}, {{ {")
    live.refresh()
    assert plan("In {{ season }}, {{ {").request().messages[0].content == "In {{ season }}, {{ {"


def test_a_file_with_an_unknown_variable_is_not_imported(actor, tmp_path: Path):
    (tmp_path / "enhance.txt").write_text("In {{ season }}.")
    (tmp_path / "rewrite.txt").write_text('Plain {"a": {"b": 1}}.')
    problems = import_prompts(tmp_path, by=actor)
    assert any("enhance.txt was not imported: Line 1, column 4: {{ season }}" in problem for problem in problems)
    assert list(Template.objects.values_list("name", flat=True)) == ["rewrite"]
    assert Template.objects.get().live_version.body == 'Plain {"a": {"b": 1}}.'


# ---------------------------------------------------------------- samples


def test_the_audit_has_no_text_of_a_pinned_input(actor):
    before = revision()
    sample = samples.pin("enhance", " my grandmother's garden\r\n", by=actor)
    assert (sample.operation, sample.text) == ("enhance", "my grandmother's garden")
    assert revision() == before
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.after["characters"]) == ("sample.pinned", 23)
    assert "grandmother" not in str(vars(entry))
    samples.unpin("enhance", sample.pk, by=actor)
    assert not Sample.objects.exists()
    with pytest.raises(Stale):
        samples.unpin("enhance", sample.pk, by=actor)


def test_at_most_five_inputs_are_pinned_and_none_twice(actor):
    for number in range(5):
        samples.pin("enhance", f"input {number}", by=actor)
    with pytest.raises(Refused, match="Unpin one first"):
        samples.pin("enhance", "one more", by=actor)
    with pytest.raises(Refused, match="already"):
        samples.pin("enhance", "input 0", by=actor)
    samples.pin("rewrite", "input 0", by=actor)
    with pytest.raises(Stale):
        samples.unpin("rewrite", Sample.objects.filter(operation="enhance").first().pk, by=actor)
    assert Sample.objects.count() == 6


@pytest.mark.parametrize("text", ["", "  ", "a\x00b", "x" * 16_001])
def test_an_invalid_input_is_not_pinned(text, actor):
    with pytest.raises(ValidationError):
        samples.pin("enhance", text, by=actor)
