"""Adding, changing, archiving and restoring operations."""

import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone

from promptops.engine.contracts import JsonContract, LinesContract, TextContract, contradictions
from promptops.engine.errors import LLMContractError
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry, Release
from promptops.live import snapshots as live
from promptops.prompts.actions import operations, samples, templates, variables
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.models import Operation, Sample, Template
from promptops.runs.enums import RunSource
from promptops.runs.models import ReportedRuns
from tests.factories import arm_of, make_provider, make_run, start_comparison

pytestmark = pytest.mark.django_db(transaction=True)

CAPTION = OperationFields("Names a clip.")


def field(name: str, **facts) -> dict:
    return {"name": name, "description": "", "required": True, "max_characters": None} | facts


SCENE = OperationFields("Plans a scene.", input="fields", fields=[field("scene"), field("mood", required=False)])


def test_an_operation_is_added_changed_archived_and_restored_by_releases(actor):
    caption = operations.add("caption", CAPTION, by=actor, note="Asked for")
    assert live.current().operation("caption").purpose == "Names a clip."
    assert list(live.current().operations) == ["enhance", "auto_extend", "rewrite", "caption"]
    wanted = replace(CAPTION, answer={"kind": "lines", "count": 2}, timeout_ms=900, hedge="p95")
    caption = operations.change(caption, wanted, by=actor, expected=caption.changed_revision)
    spec = live.current().operation("caption")
    assert (spec.answer, spec.count, spec.timeout_ms, spec.hedge) == ("lines", 2, 900, "p95")
    operations.archive(caption, by=actor)
    assert "caption" not in live.current().operations
    operations.restore(caption, by=actor)
    assert live.current().operation("caption") == spec
    entries = AuditEntry.objects.filter(object_type="operation").order_by("seq")
    assert [entry.action for entry in entries] == [
        f"operation.{verb}" for verb in ("added", "changed", "archived", "restored")
    ]
    assert entries[0].note == "Asked for"
    changed = {name for name in entries[1].after if entries[1].after[name] != entries[1].before[name]}
    assert changed == {"answer", "timeout_ms", "hedge"}
    assert entries[1].after["answer"] == "lines, 2"
    stored = [[row["name"] for row in release.configuration["operations"]][3:] for release in Release.objects.all()]
    assert stored == [["caption"], [], ["caption"], ["caption"]]


@pytest.mark.parametrize(
    ("name", "wanted", "at"),
    [
        ("Caption", {}, "name"),
        ("2nd", {}, "name"),
        ("", {}, "name"),
        ("enhance", {}, "name"),
        ("new", {}, "name"),
        ("a" * 41, {}, "name"),
        ("caption", {"purpose": "  "}, "purpose"),
        ("caption", {"input": "picture"}, "input"),
        ("caption", {"answer": {"kind": "picture"}}, "answer"),
        ("caption", {"answer": {"kind": "lines"}}, "answer"),
        ("caption", {"answer": {"kind": "lines", "count": 11}}, "answer"),
        ("caption", {"answer": {"kind": "lines", "count": True}}, "answer"),
        ("caption", {"answer": {"kind": "lines", "count": 2, "at_least": 3}}, "answer"),
        ("caption", {"answer": {"kind": "text", "count": 2}}, "answer"),
        ("caption", {"answer": {"kind": "text", "color": 2}}, "answer"),
        ("caption", {"answer": {"kind": "text", "max_words": 0}}, "answer"),
        ("caption", {"answer": {"kind": "json"}}, "answer"),
        ("caption", {"answer": {"kind": "json", "schema": {"type": "string"}}}, "answer"),
        ("caption", {"answer": {"kind": "json", "schema": {"$ref": "http://example.com/"}}}, "answer"),
        ("caption", {"timeout_ms": 499}, "timeout_ms"),
        ("caption", {"max_tokens": 0}, "max_tokens"),
        ("caption", {"hedge": "soon"}, "hedge"),
        ("caption", {"retention_days": 0}, "retention_days"),
        ("caption", {"on_failure": "shrug"}, "on_failure"),
        ("caption", {"on_failure": "input", "input": "list"}, "on_failure"),
        ("caption", {"on_failure": "input", "answer": {"kind": "json", "schema": {}}}, "on_failure"),
        ("caption", {"input": "fields"}, "fields"),
        ("caption", {"input": "fields", "fields": [field("Scene")]}, "fields"),
        ("caption", {"input": "fields", "fields": [field("scene"), field("scene")]}, "fields"),
        ("caption", {"input": "fields", "fields": [field(f"f{n}") for n in range(13)]}, "fields"),
    ],
)
def test_an_invalid_operation_is_refused(name, wanted, at, actor):
    with pytest.raises(ValidationError) as refused:
        operations.add(name, replace(CAPTION, **wanted), by=actor)
    assert at in refused.value.message_dict
    assert Operation.objects.count() == 3
    assert not Release.objects.exists()


PLAN = {
    "type": "object",
    "required": ["title", "scenes"],
    "properties": {"title": {"type": "string"}, "scenes": {"type": "array", "minItems": 2, "maxItems": 2}, "id": {}},
}


def test_an_answer_is_stored_and_loaded_as_a_contract_with_its_keys_in_order(actor):
    wanted = OperationFields("Plans.", answer={"kind": "json", "schema": PLAN})
    operations.add("plan", wanted, by=actor)
    assert live.current().operation("plan").contract == JsonContract.of(PLAN)
    stored = Operation.objects.get(name="plan").answer
    assert json.dumps(stored) == json.dumps({"kind": "json", "schema": PLAN})
    released = Release.objects.get().configuration["operations"][-1]["answer"]
    assert json.dumps(released) == json.dumps(stored)
    assert json.loads(AuditEntry.objects.get(action="operation.added").after["schema"]) == PLAN


def test_a_text_has_rules_and_defaults_are_left_out(actor):
    answer = {"kind": "text", "one_paragraph": False, "max_words": 80, "excludes": ["Here is"]}
    row = operations.add("caption", replace(CAPTION, answer=answer), by=actor)
    assert row.answer == {"kind": "text", "max_words": 80, "excludes": ["Here is"]}
    assert live.current().operation("caption").contract == TextContract(max_words=80, excludes=("Here is",))
    words = AuditEntry.objects.get(action="operation.added").after["answer"]
    assert words == "text, at most 80 words, does not contain “Here is”"


def test_json_without_a_schema_from_before_contracts_is_not_checked():
    Operation.objects.create(name="plan", purpose="Plans.", answer={"kind": "json"})
    assert live.load().operation("plan").contract is None


def test_built_in_operations_have_contracts():
    contracts = {name: spec.contract for name, spec in live.load().operations.items()}
    assert contracts == {
        "enhance": TextContract(),
        "auto_extend": TextContract(),
        "rewrite": LinesContract(3, at_least=1),
    }


def test_a_comparison_in_progress_needs_the_contract_as_it_is(actor, publish):
    row = operations.add("caption", CAPTION, by=actor)
    version = publish("short", "Name it.", operation="caption")
    arms = [arm_of(version, make_provider("a")), arm_of(version, make_provider("b"))]
    start_comparison(arms, by=actor)
    wanted = replace(CAPTION, answer={"kind": "text", "max_words": 5})
    with pytest.raises(Refused, match="is in progress"):
        operations.change(row, wanted, by=actor, expected=row.changed_revision)


def test_a_built_in_operation_is_changed_but_never_archived(actor):
    rewrite = Operation.objects.get(name="rewrite")
    wanted = OperationFields(rewrite.purpose, answer={"kind": "lines", "count": 5})
    operations.change(rewrite, wanted, by=actor, expected=0)
    assert live.current().operation("rewrite").count == 5
    with pytest.raises(Refused, match="rewrite is built in and cannot be archived"):
        operations.archive(rewrite, by=actor)


def test_a_change_on_an_old_page_or_without_a_difference_is_refused(actor):
    caption = operations.add("caption", CAPTION, by=actor)
    with pytest.raises(Refused, match="caption is already like this"):
        operations.change(caption, CAPTION, by=actor, expected=caption.changed_revision)
    with pytest.raises(Stale, match="Someone else changed caption"):
        operations.change(caption, replace(CAPTION, hedge="9"), by=actor, expected=caption.changed_revision - 1)
    operations.archive(caption, by=actor)
    caption.refresh_from_db()
    with pytest.raises(Refused, match="caption is archived"):
        operations.change(caption, SCENE, by=actor, expected=caption.changed_revision)
    with pytest.raises(Stale, match="already archived"):
        operations.archive(caption, by=actor)
    operations.restore(caption, by=actor)
    with pytest.raises(Stale, match="not archived"):
        operations.restore(caption, by=actor)


def test_archiving_waits_for_the_templates_and_the_last_default_can_go(actor, publish):
    caption = operations.add("caption", CAPTION, by=actor)
    short = publish("short", "Name it.", operation="caption").template
    long = publish("long", "Name it well.", operation="caption").template
    with pytest.raises(Refused, match="The templates short, long serve caption"):
        operations.archive(caption, by=actor)
    with pytest.raises(Refused, match="short is the default for caption"):
        templates.archive(short, by=actor)
    templates.archive(long, by=actor)
    with pytest.raises(Refused, match=r"The template short serves caption\. Archive it first"):
        operations.archive(caption, by=actor)
    templates.archive(short, by=actor)
    assert "caption" not in live.current().defaults
    operations.archive(caption, by=actor)
    with pytest.raises(ValidationError, match="The operation caption is archived"):
        templates.restore(short, by=actor)
    operations.restore(caption, by=actor)
    assert templates.restore(long, by=actor).is_default
    assert not templates.restore(short, by=actor).is_default


@pytest.mark.parametrize(("hours", "is_needed"), [(1, True), (30, False)])
@pytest.mark.parametrize("is_reported", [True, False])
def test_archiving_waits_for_the_servers_that_use_an_operation(actor, hours, is_needed, is_reported):
    caption = operations.add("caption", CAPTION, by=actor)
    lately = timezone.now() - timedelta(hours=hours)
    if is_reported:
        ReportedRuns.objects.create(hour=lately, server="gpu-7", operation="caption", status="succeeded", runs=1)
    else:
        make_run(operation="caption", source=RunSource.API, at=lately)
    if is_needed:
        with pytest.raises(Refused, match="ran caption in the last 24 hours"):
            operations.archive(caption, by=actor)
    else:
        operations.archive(caption, by=actor)


def test_the_default_of_a_built_in_operation_stays(actor, publish):
    template = publish("enhance", "Polish it.").template
    with pytest.raises(Refused, match="enhance is the default for enhance"):
        templates.archive(template, by=actor)


def test_an_archived_or_unknown_operation_gets_nothing_new(actor):
    operations.archive(operations.add("caption", CAPTION, by=actor), by=actor)
    for name in ("caption", "paint"):
        for attempt in (
            lambda name=name: templates.create_template("t", name, by=actor),
            lambda name=name: variables.declare(name, "season", "winter", by=actor),
            lambda name=name: samples.pin(name, "a fox", by=actor),
        ):
            with pytest.raises(ValidationError) as refused:
                attempt()
            assert "operation" in refused.value.message_dict
    assert not Template.objects.exists()


@pytest.mark.parametrize(
    ("before", "sample", "after", "sentence"),
    [
        (CAPTION, "a fox", SCENE, "of the old form are pinned"),
        (SCENE, '{"scene": "snow"}', CAPTION, "of the old form are pinned"),
        (SCENE, '{"scene": "snow"}', replace(SCENE, fields=[field("place")]), "no field 'scene'"),
        (SCENE, '{"scene": "snow"}', replace(SCENE, fields=[field("scene", max_characters=3)]), "at most 3"),
        (SCENE, '{"scene": "snow"}', replace(SCENE, fields=[field("scene")]), ""),
        (CAPTION, "a fox", replace(CAPTION, input="list"), ""),
    ],
)
def test_pinned_samples_must_fit_the_changed_input(before, sample, after, sentence, actor):
    caption = operations.add("caption", before, by=actor)
    samples.pin("caption", sample, by=actor)
    change = {"by": actor, "expected": caption.changed_revision}
    if not sentence:
        operations.change(caption, after, **change)
        return
    with pytest.raises(Refused, match=sentence):
        operations.change(caption, after, **change)
    samples.unpin("caption", Sample.objects.get().pk, by=actor)
    operations.change(caption, after, **change)


def test_a_comparison_in_progress_needs_its_operation(actor, publish):
    caption = operations.add("caption", CAPTION, by=actor)
    versions = [publish("clip", text, operation="caption") for text in ("Name it.", "Name it well.")]
    provider = make_provider(by=actor)
    comparison = start_comparison([arm_of(version, provider) for version in versions], by=actor)
    change = {"by": actor, "expected": caption.changed_revision}
    with pytest.raises(Refused, match="The comparison Old or new of caption is in progress"):
        operations.change(caption, replace(CAPTION, input="list"), **change)
    templates.archive(versions[0].template, by=actor)
    with pytest.raises(Refused, match="The comparison Old or new of caption is in progress"):
        operations.archive(caption, by=actor)
    caption = operations.change(caption, replace(CAPTION, timeout_ms=900), **change)
    comparison.state = "done"
    comparison.save()
    operations.archive(caption, by=actor)


def test_a_comparison_of_an_archived_operation_is_not_repeated(actor, publish, client_for, editor):
    caption = operations.add("caption", CAPTION, by=actor)
    versions = [publish("clip", text, operation="caption") for text in ("Name it.", "Name it well.")]
    provider = make_provider(by=actor)
    comparison = start_comparison([arm_of(version, provider) for version in versions], by=actor)
    comparison.state = "done"
    comparison.save()
    templates.archive(versions[0].template, by=actor)
    operations.archive(caption, by=actor)
    client = client_for(editor)
    assert client.get(f"/compare/{comparison.pk}/").status_code == 200
    assert client.get(f"/compare/new/?repeat={comparison.pk}").status_code == 200
    arms = {f"{letter}-text": f"arm:{arm.pk}" for letter, arm in zip("ab", comparison.arms.all(), strict=True)}
    arms |= {f"{letter}-provider": provider.pk for letter in "abcd"}
    form = {"repeat": comparison.pk, "name": "Again", "repeats": 1, "prompt_set": ""} | arms
    page = client.post("/compare/new/", form)
    assert page.status_code == 422
    assert b"The operation caption is archived" in page.content


def test_the_documented_contracts_are_accepted_and_break_as_documented():
    page = (settings.BASE_DIR / "docs/prompt-operations.md").read_text()
    plan = JsonContract.of(json.loads(re.search(r"```json\n(.*?)```", page, re.S)[1]))
    prompts = ["A fox trots along a frozen creek."] * 5
    text = TextContract(one_paragraph=True, max_words=80, excludes=("Translation:",))
    for contract, answer in (
        (plan, json.dumps({"reasoning": "Go on.", "segment_prompts": prompts})),
        (LinesContract(4), "1. One\n2. Two\n3. Three"),
        (text, "Translation: a fox in the snow."),
        (text, "A fox.\n\nIt runs."),
    ):
        with pytest.raises(LLMContractError) as breach:
            contract.read(answer)
        assert f'"{breach.value}"' in page
    template = " ".join(re.search(r"Template `next-segment`: \"(.*?)\"\n", page, re.S)[1].split())
    assert contradictions(template, plan, known=["scene", "mood"]) == ()
