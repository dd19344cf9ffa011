"""A live document with anything wrong in it is refused with a sentence that names the place."""

from __future__ import annotations

import copy
import json

import pytest

from promptops.engine.live_document import (
    InvalidDocument,
    _sha256,
    check_sha256,
    document_bytes,
    live_document,
    parse_document,
    read_live_document,
)
from promptops.engine.live_document import values as document_values
from tests.engine.live_documents import full_snapshot

FULL = live_document(full_snapshot())


def changed(path: str, value) -> dict:
    """Return the document with another value at a path, and a `sha256` that fits. `...` deletes the key."""
    document = copy.deepcopy(FULL)
    *parents, last = path.split("/")
    place = document
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    if value is ...:
        del place[last]
    elif isinstance(place, list):
        place.append(value) if last == "+" else place.__setitem__(int(last), value)
    else:
        place[last] = value
    del document["sha256"]
    return {**document, "sha256": _sha256(document)}


TEMPLATE, OPERATION, LEVER = FULL["templates"][0], FULL["operations"][0], FULL["levers"][0]


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("format", ..., "format"),
        ("format", 2, "format 1"),
        ("format", True, "format"),
        ("format", "1", "format"),
        ("revision", ..., "revision"),
        ("revision", -1, "revision"),
        ("revision", 1.0, "revision"),
        ("revision", True, "revision"),
        ("revision", 2**60, "revision"),
        ("epoch", None, "epoch"),
        ("epoch", "x" * 101, "epoch"),
        ("more", 1, "more"),
        ("operations", {}, "operations"),
        ("operations/0", [], "operations[0]"),
        ("operations/0/name", "Enhance", "operations[0].name"),
        ("operations/0/name", "", "operations[0].name"),
        ("operations/0/answer", "prose", "operations[0].answer"),
        ("operations/0/answer", "lines", "operations[0]"),
        ("operations/0/input", "fields", "operations[0]"),
        ("operations/0/count", 0, "operations[0].count"),
        ("operations/0/hedge", "never", "operations[0].hedge"),
        ("operations/0/on_failure", "retry", "operations[0].on_failure"),
        ("operations/0/keeps_system", 0, "operations[0].keeps_system"),
        ("operations/0/timeout_ms", 10**9, "operations[0].timeout_ms"),
        ("operations/0/default", ..., "operations[0].default"),
        ("operations/0/default", "nobody", "nobody"),
        ("operations/0/default", "scenes", "scenes"),
        ("operations/0/samples", [], "samples"),
        ("operations/0/contract", {"kind": "poem"}, "operations[0].contract"),
        ("operations/0/contract", {"kind": "lines", "count": 2}, "operations[0]"),
        ("operations/0/contract", [], "operations[0].contract"),
        ("operations/0/contract", {"kind": "text", "one_paragraph": False}, "form"),
        ("operations/3/contract/schema", {"$ref": "http://elsewhere/x"}, "operations[3].contract"),
        ("operations/3/contract/schema", {"type": 5}, "operations[3].contract"),
        ("operations/3/fields/0/name", "Story", "operations[3].fields[0].name"),
        ("operations/3/fields/0/max_characters", 0, "operations[3].fields[0].max_characters"),
        ("operations/3/fields/1/name", "story", "twice"),
        ("operations/+", OPERATION, "twice"),
        ("templates/+", TEMPLATE, "twice"),
        ("templates/0/name", "../etc", "templates[0].name"),
        ("templates/0/operation", "unheard_of", "default template of enhance"),
        ("templates/0/version", 0, "templates[0].version"),
        ("templates/0/sha256", "A" * 64, "templates[0].sha256"),
        ("templates/0/text", None, "templates[0].text"),
        ("templates/0/text", "x" * (document_values.MAX_TEXT_CHARACTERS + 1), "templates[0].text"),
        ("templates/0/examples/0", {"user": "a"}, "templates[0].examples[0]"),
        ("templates/0/examples/0", ["a", "b"], "templates[0].examples[0]"),
        ("templates/0/examples/0/user", 1, "templates[0].examples[0].user"),
        ("templates/0/temperature", "0.5", "templates[0].temperature"),
        ("templates/0/temperature", True, "templates[0].temperature"),
        ("templates/0/parameters", {"top_p": [1]}, "templates[0].parameters.top_p"),
        ("templates/0/parameters", {"top p": 1}, "templates[0].parameters"),
        ("templates/0/parameters", {"top_p": None}, "templates[0].parameters.top_p"),
        ("templates/0/id", 4, "id"),
        ("variables/unheard_of", {"a": "b"}, "unheard_of"),
        ("variables/enhance", ["a"], "variables.enhance"),
        ("variables/enhance/Season", "x", "variables.enhance"),
        ("variables/enhance/season", 1, "variables.enhance.season"),
        ("chain/0/api_key", "x", "api_key"),
        ("chain/0/base_url", "file:///etc/passwd", "chain[0].base_url"),
        ("chain/0/base_url", "http://a b", "chain[0].base_url"),
        ("chain/0/key_env", "A B", "chain[0].key_env"),
        ("chain/0/fall_back_on", ["auth", "always"], "chain[0].fall_back_on[1]"),
        ("chain/0/fall_back_on", ["refused", "auth"], "form"),
        ("chain/0/json_mode", "xml", "chain[0].json_mode"),
        ("chain/0/prices", {"input": 1}, "chain[0].prices.cached"),
        ("chain/0/prices/output", -1, "chain[0].prices.output"),
        ("chain/1/name", "first", "twice"),
        ("settings/timeout_ms", None, "settings.timeout_ms"),
        ("settings/temperature", -0.1, "settings.temperature"),
        ("settings/hedge", "p95", "hedge"),
        ("levers/0/kind", "panic", "levers[0].kind"),
        ("levers/0/operation", "unheard_of", "unheard_of"),
        ("levers/0/operation", "", "lever"),
        ("levers/1/operation", "enhance", "freeze"),
        ("levers/0/expires_at", "2026-01-31T12:00:00", "levers[0].expires_at"),
        ("levers/0/expires_at", "2026-01-31T13:00:00+01:00", "levers[0].expires_at"),
        ("levers/0/expires_at", "9" * 30, "levers[0].expires_at"),
        ("levers/0/expires_at", 1_900_000_000, "levers[0].expires_at"),
        ("levers/0/by", None, "levers[0].by"),
        ("safety/mode", "strict", "safety.mode"),
        ("safety/blocks_when_down", None, "safety.blocks_when_down"),
        ("safety/policy/thresholds/violence", 1.1, "safety.policy.thresholds.violence"),
        ("safety/policy/thresholds/boredom", 0.5, "safety.policy.thresholds"),
        ("safety/policy/deny_terms/0/category", "", "safety.policy.deny_terms[0].category"),
        ("safety/policy/allow_terms", "whale", "safety.policy.allow_terms"),
        ("safety/model_labels/safe", "harmless", "safety.model_labels.safe"),
        ("safety/model_sha256", "0", "safety.model_sha256"),
        ("safety/guard", None, "guard"),
    ],
)
def test_a_wrong_document_is_refused(path, value, named):
    with pytest.raises(InvalidDocument, match=r"\.$") as refusal:
        read_live_document(changed(path, value))
    assert named in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_the_document_of_these_tests_is_read():
    assert read_live_document(changed("revision", 129)).revision == 129


@pytest.mark.parametrize("value", [None, [], "text", 7])
def test_only_an_object_is_a_document(value):
    with pytest.raises(InvalidDocument):
        read_live_document(value)
    with pytest.raises(InvalidDocument):
        parse_document(json.dumps(value).encode())


def test_a_document_that_was_changed_on_its_way_is_refused():
    for document in (
        {**FULL, "revision": 129},
        {**FULL, "sha256": "0" * 64},
        {**FULL, "sha256": None},
        {key: FULL[key] for key in FULL if key != "sha256"},
    ):
        with pytest.raises(InvalidDocument):
            check_sha256(document)
        with pytest.raises(InvalidDocument):
            read_live_document(document)
    assert check_sha256(FULL) == FULL["sha256"]


def test_the_order_of_the_keys_counts():
    rest = {key: FULL[key] for key in reversed(FULL) if key != "sha256"}
    with pytest.raises(InvalidDocument, match="form"):
        read_live_document({**rest, "sha256": _sha256(rest)})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b"[" * 200_000,
        b'{"format": NaN}',
        b'{"format": 1, "format": 1}',
        b'{"format": ' + b"9" * 10_000 + b"}",
        b'{"epoch": "\\ud800"}',
    ],
    ids=range(8),
)
def test_bytes_that_are_no_document_are_refused(body):
    with pytest.raises(InvalidDocument):
        read_live_document(parse_document(body))


def test_a_document_of_more_bytes_is_not_parsed(monkeypatch):
    body = document_bytes(FULL)
    monkeypatch.setattr("promptops.engine.live_document.MAX_BYTES", len(body) - 1)
    with pytest.raises(InvalidDocument, match="bytes"):
        parse_document(body)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", "\ud800"])
def test_values_that_are_not_json_are_not_written(value):
    with pytest.raises(InvalidDocument):
        document_bytes({"epoch": value})


def test_too_many_items_are_refused(monkeypatch):
    templates = [{**TEMPLATE, "name": f"t{number}"} for number in range(document_values.MAX_ITEMS + 1)]
    with pytest.raises(InvalidDocument, match="items"):
        read_live_document(changed("templates", templates))
