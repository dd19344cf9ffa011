"""The live document: what a server that follows reads is what PromptOps runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from promptops.engine import Prices, ProviderSpec, SettingsSpec, Snapshot, TemplateSpec, build_provider, build_request
from promptops.engine.live_document import (
    STORED_KEY,
    document_bytes,
    live_document,
    parse_document,
    read_live_document,
    safety_model,
    with_safety_model,
)
from promptops.engine.live_document import parts as document_parts
from promptops.engine.live_document.values import Entry, Part, Text
from promptops.engine.operations import InputField, OperationSpec
from promptops.engine.safety.guard import (
    SHIPPED,
    SafetyGuard,
    SafetyModel,
    SafetyPolicy,
    VerdictDecision,
    read_manifest,
)
from promptops.engine.snapshot import Lever, SafetySpec
from tests.engine.live_documents import SECRET, full_snapshot, snapshots


def planned(snapshot: Snapshot, template: TemplateSpec, text: str = '{"story": "a fox"}'):
    """Return the request of a run with this template."""
    spec, live = snapshot.operation(template.operation), snapshot.settings_for(template.operation)
    return build_request(
        spec,
        text,
        system_prompt=snapshot.filled(template.operation, template.body),
        user_template=template.user_template,
        examples=template.examples,
        variables=snapshot.variables.get(template.operation, {}),
        model=template.model or "",
        temperature=live.temperature if template.temperature is None else template.temperature,
        max_tokens=template.max_tokens or live.max_tokens,
        timeout_ms=live.timeout_ms,
        count=spec.count_or_default(),
        parameters=template.parameters,
        contract=spec.contract,
    )


def request_or_refusal(snapshot: Snapshot, template: TemplateSpec):
    try:
        return planned(snapshot, template)
    except ValueError as refusal:  # such as a user template that adds no text
        return str(refusal)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(snapshots())
def test_a_snapshot_that_was_read_runs_as_the_original_and_writes_the_same_document(snapshot):
    document = live_document(snapshot)
    body = document_bytes(document)
    read = read_live_document(parse_document(body))
    assert document_bytes(live_document(read)) == body
    assert SECRET.encode() not in body
    originals = {each.name: each for each in snapshot.templates if each.operation in snapshot.operations}
    assert list(originals) == [each.name for each in read.templates]
    for template in read.templates:
        assert request_or_refusal(read, template) == request_or_refusal(snapshot, originals[template.name])
    for name in snapshot.operations:
        mine, theirs = read.template_for(name), snapshot.template_for(name)
        assert (mine and mine.name) == (theirs and theirs.name)
        assert read.operation(name).hedge_policy == snapshot.operation(name).hedge_policy
    assert read.safety.policy == snapshot.safety.policy
    assert (read.revision, read.epoch, read.settings) == (snapshot.revision, snapshot.epoch, snapshot.settings)


def test_texts_are_filled_in_once():
    snapshot = full_snapshot()
    document = live_document(snapshot)
    text = "Write for winter {{ input }}, and {{ name }} stays. 日本"
    assert document["templates"][0]["text"] == text
    read = read_live_document(document)
    request = planned(read, read.templates[0], "a fox")
    assert request.messages[0].content == text
    assert request.messages[-1].content == "winter {{ input }}: a fox"
    assert request == planned(snapshot, snapshot.templates[0], "a fox")


def test_the_sha256_is_that_of_the_bytes_before_it():
    body = document_bytes(live_document(full_snapshot()))
    rest, _, end = body.rpartition(b',"sha256":"')
    assert hashlib.sha256(rest + b"}").hexdigest().encode() + b'"}' == end


def test_the_keys_of_a_schema_keep_their_order():
    document = live_document(full_snapshot())
    schema = document["operations"][-1]["contract"]["schema"]
    assert list(schema["properties"]) == ["title", "scenes"]
    schema["properties"] = dict(reversed(schema["properties"].items()))
    assert document["sha256"] != hashlib.sha256(document_bytes(document)).hexdigest()


def test_a_lever_ends_by_itself():
    read = read_live_document(live_document(full_snapshot()))
    lever = read.levers[0]
    before = lever.expires_at.replace(hour=11)
    assert read.passes_through("enhance", before) == lever
    assert read.passes_through("rewrite", before) is None
    assert read.frozen(before) == read.levers[1]
    assert read.passes_through("enhance", lever.expires_at) is read.frozen(lever.expires_at) is None
    longer = dataclasses.replace(lever, expires_at=lever.expires_at.replace(hour=13))
    assert dataclasses.replace(read, levers=(lever, longer)).passes_through("enhance", before) == longer


# Keys


def provider_after_reading(**fields) -> ProviderSpec:
    values = {"id": 1, "name": "p", "kind": "openai", "base_url": "http://here/v1", "model": "m", "timeout_ms": None}
    snapshot = Snapshot(1, (), {}, (ProviderSpec(**values | fields),))
    return read_live_document(live_document(snapshot)).providers[0]


@pytest.mark.parametrize(
    ("fields", "variable", "problem"),
    [
        ({"key_env": "MINE_API_KEY"}, "MINE_API_KEY", None),
        ({}, None, None),
        ({"key_problem": "MINE is not sent."}, None, "MINE is not sent."),
        ({"api_key": SECRET}, None, STORED_KEY),
        ({"api_key": SECRET, "key_env": "MINE_API_KEY"}, "MINE_API_KEY", None),
        ({"kind": "groq", "base_url": ""}, "GROQ_API_KEY", None),
        ({"kind": "groq", "base_url": "", "api_key": SECRET}, "GROQ_API_KEY", None),
        # The vendor's variable is not sent to another host in place of a stored key.
        ({"kind": "groq", "api_key": SECRET}, None, STORED_KEY),
        ({"kind": "local", "base_url": ""}, None, None),
        ({"kind": "unheard_of"}, None, None),
    ],
)
def test_a_follower_gets_the_variable_of_a_key_and_never_the_key(fields, variable, problem):
    read = provider_after_reading(**fields)
    assert (read.api_key, read.key_env, read.key_problem) == (None, variable, problem)


def test_a_follower_builds_the_same_provider(monkeypatch):
    monkeypatch.setenv("MINE_API_KEY", SECRET)
    snapshot = full_snapshot()
    read = read_live_document(live_document(snapshot))
    assert build_provider(read.providers[1]) == build_provider(snapshot.providers[1])


# Safety


def test_a_follower_judges_as_promptops_does():
    manifest = read_manifest(SHIPPED / "current.json")
    policy = SafetyPolicy(manifest.thresholds, ("killer whale",), full_snapshot().safety.policy.deny_terms)
    safety = SafetySpec(
        mode="enforce",
        policy=policy,
        model_number=1,
        model_sha256=manifest.sha256 or "",
        model_labels=manifest.labels,
        guard=SafetyGuard(SafetyModel(manifest), policy),
    )
    read = read_live_document(live_document(dataclasses.replace(full_snapshot(), safety=safety)))
    model = safety_model(read.safety, manifest.path)
    guard = with_safety_model(read, model).safety.guard
    for text in (
        "a fox runs through fresh snow",
        "a man is beheaded and his bloody corpse lies on the floor",
        "a killer whale swims",
        "gorefest",
        "un zorro corre por la nieve fresca de la montaña",
        "",
    ):
        assert guard.check(text) == safety.guard.check(text)
    assert model.get()[0] is not None


def test_another_file_is_no_model(tmp_path):
    (tmp_path / "model.ftz").write_bytes(b"something else")
    model, reason = safety_model(full_snapshot().safety, tmp_path / "model.ftz").get()
    assert model is None
    assert reason


def test_without_a_model_only_terms_are_judged():
    read = read_live_document(live_document(full_snapshot()))
    assert read.safety.guard.check("gorefest").decision is VerdictDecision.BLOCK
    assert read.safety.guard.check("a fox").decision is VerdictDecision.UNAVAILABLE


# Completeness

PARTS = [each for each in vars(document_parts).values() if isinstance(each, Part)]


def test_every_dataclass_has_a_part():
    assert {each.make for each in PARTS} >= {
        *(Snapshot, TemplateSpec, ProviderSpec, OperationSpec, SettingsSpec),
        *(SafetySpec, SafetyPolicy, Lever, InputField, Prices),
    }


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.make.__name__)
def test_every_field_is_in_the_document_or_left_out_for_a_reason(part):
    attributes = [entry.attribute for entry in part.entries]
    named = [*attributes, *part.left_out]
    assert sorted(named) == sorted(each.name for each in dataclasses.fields(part.make)), (
        "Add an Entry with a default to engine/live_document/parts.py, or a line to left_out with the reason."
    )
    assert all(part.left_out.values())


@dataclasses.dataclass(frozen=True)
class Grown:
    name: str
    later: str = "usual"


def test_a_later_field_changes_no_document_in_which_it_has_its_default():
    part = Part(Grown, (Entry("name", Text()), Entry("later", Text(), default="usual")))
    assert part.write(Grown("a")) == {"name": "a"}
    assert part.read({"name": "a"}, "it") == Grown("a")
    assert part.read(part.write(Grown("a", "new")), "it") == Grown("a", "new")


def test_the_document_is_json_data():
    document = live_document(full_snapshot())
    assert json.loads(document_bytes(document)) == document
    assert parse_document(document_bytes(document)) == document


def test_every_key_is_in_the_docs():
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    section = text.split("\n## The live document\n")[1].split("\n## ")[0]
    keys = {entry.name for part in PARTS for entry in part.entries} | set(live_document(full_snapshot()))
    keys |= {"default", *document_parts.Example.KEYS}
    assert {key for key in keys if f"`{key}`" not in section} == set()
