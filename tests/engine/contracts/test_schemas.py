"""Schemas that are accepted, and the sentences about those that are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptops.engine import JsonContract, LLMContractError
from promptops.engine.contracts import schemas, work
from tests.engine.contracts.shapes import EDIT, SEGMENTS


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


REFUSED: list[tuple[Any, str]] = [
    ([], "A JSON Schema is an object"),
    ({"const": float("nan")}, "The schema is not JSON"),
    ({"const": {1, 2}}, "The schema is not JSON"),
    ({"const": "\ud800"}, "The schema is not JSON"),
    ({"description": "x" * 70_000}, "The schema has 70,019 bytes, and at most 65,536 are allowed"),
    (nested(2_000), "The schema is not JSON, or it is nested too deeply|more than 32 levels"),
    (nested(40), "The schema has more than 32 levels"),
    ({"$schema": "http://json-schema.org/draft-07/schema#"}, "The schema is of another draft"),
    ({"$schema": 7}, "The schema is of another draft"),
    ({"type": "text"}, "The schema is invalid at type"),
    ({"properties": {"a": {"minLength": "5"}}}, "The schema is invalid at properties/a/minLength"),
    ({"$ref": 5}, "The schema is invalid at [$]ref"),
    ({"type": "string"}, "The schema must accept an object or a list"),
    ({"minItem": 3}, "The schema has the unknown keyword minItem at its top"),
    ({"properties": {"a": {"requred": []}}}, "The schema has the unknown keyword requred at properties/a"),
    ({"unevaluatedProperties": False}, "The schema has the unknown keyword unevaluatedProperties"),
    ({"$dynamicRef": "#x"}, "The schema has the unknown keyword [$]dynamicRef"),
    ({"items": {"$id": "https://example.com/x"}}, "The schema has the unknown keyword [$]id at items"),
    ({"$ref": "https://example.com/schema"}, "The schema refers to https://example.com/schema; only references to"),
    ({"items": {"$ref": "other.json"}}, "The schema refers to other.json"),
    ({"$ref": "#/$defs/missing"}, "The reference #/[$]defs/missing at its top leads to no definition"),
    ({"$ref": "#"}, "The reference # leads back to itself"),
    (
        {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}},
        "The reference #/[$]defs/a leads back to itself",
    ),
    ({"items": {"pattern": "("}}, r"The pattern \( at items is invalid: missing \)"),
    ({"items": {"pattern": "^(?!cut)"}}, "has a look ahead or behind"),
    ({"patternProperties": {r"(a)\1": {}}}, "has a back reference"),
    ({"items": {"pattern": "x" * 501}}, "has 501 characters, and a pattern has at most 500"),
]


@pytest.mark.parametrize(("schema", "sentence"), REFUSED)
def test_a_schema_is_refused_with_a_sentence(schema, sentence):
    with pytest.raises(ValueError, match=sentence):
        JsonContract.of(schema)


def test_nothing_is_fetched_for_a_reference(monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **kwargs: pytest.fail("a schema was fetched"))
    with pytest.raises(ValueError, match="only references"):
        JsonContract.of({"items": {"$ref": "http://127.0.0.1:9/schema.json"}})


@pytest.mark.parametrize(
    ("schema", "written", "fits"),
    [
        ({"$schema": schemas.DRAFT, "$id": "https://example.com/own", "type": "object"}, "{}", True),
        ({"format": "date", "title": "T", "default": {}, "examples": [1]}, "{}", True),
        ({"properties": {"a": False}}, '{"a": 1}', False),
        ({"properties": {"a": True}, "additionalProperties": {"type": "string"}}, '{"a": 1, "b": "x"}', True),
        ({"additionalProperties": {"type": "string"}}, '{"b": 1}', False),
        ({"patternProperties": {"^x_": {"type": "string"}}, "additionalProperties": False}, '{"x_1": "a"}', True),
        ({"patternProperties": {"^x_": {"type": "string"}}, "additionalProperties": False}, '{"x_1": 1}', False),
        ({"patternProperties": {"^x_": {}}, "additionalProperties": False}, '{"y": 1}', False),
        ({"prefixItems": [{"type": "string"}], "items": False}, '["a"]', True),
        ({"prefixItems": [{"type": "string"}], "items": False}, '["a", 1]', False),
        ({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}, '{"a": 1}', False),
        ({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}, '{"c": 1}', True),
        ({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}, '{"a": 1}', False),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, '{"a": 1, "b": 1}', False),
        ({"not": {"required": ["a"]}}, '{"a": 1}', False),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, '{"a": 1}', False),
        ({"uniqueItems": True}, '[{"a": 1}, {"a": 1.0}]', False),
        ({"uniqueItems": True}, "[1, true, 0, false]", True),
        ({"uniqueItems": True}, '[["object"], {}]', True),
        ({"contains": {"const": 1}, "maxContains": 1}, "[1, 1]", False),
        ({"contains": {"const": 1}, "minContains": 0}, "[]", True),
        ({"properties": {"a": {"enum": [1]}}}, '{"a": 1.0}', True),
        ({"properties": {"a": {"enum": [1]}}}, '{"a": true}', False),
        ({"properties": {"a": {"multipleOf": 0.1}}}, '{"a": 0.3}', True),
        ({"properties": {"a": {"type": "integer"}}}, '{"a": 3.0}', True),
        (
            {"properties": {"c": {"$ref": "#"}}, "required": ["n"], "definitions": {"unused": {}}},
            '{"n": 1, "c": {"n": 2}}',
            True,
        ),
        ({"properties": {"c": {"$ref": "#"}}, "required": ["n"]}, '{"n": 1, "c": {}}', False),
    ],
)
def test_the_keywords_of_the_draft(schema, written, fits):
    contract = JsonContract.of(schema)
    if fits:
        contract.read(written)
    else:
        with pytest.raises(LLMContractError):
            contract.read(written)


TWICE: dict[str, Any] = {
    "$defs": {
        "node": {
            "anyOf": [
                {"properties": {"c": {"$ref": "#/$defs/node"}}, "required": [name]} for name in ("missing", "absent")
            ]
        }
    },
    "$ref": "#/$defs/node",
}


def test_a_check_whose_work_doubles_with_each_level_is_given_up():
    with pytest.raises(LLMContractError, match="takes too much work to check"):
        JsonContract.of(TWICE).read('{"c":' * 60 + "{}" + "}" * 60)


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"uniqueItems": True}, [{"a": [number]} for number in range(3_000)]),
        ({"items": {"type": "string", "minLength": 1, "pattern": "^[a-z]+$"}}, ["abc"] * 9_999),
        ({"items": {"enum": [f"v{number}" for number in range(500)]}}, ["v499"] * 5_000),
        ({"items": {"pattern": "(a+)+$"}}, ["a" * 100_000 + "b" + "a"]),
    ],
)
def test_the_work_of_large_answers_is_linear(schema, data):
    assert JsonContract.of(schema).read(json.dumps(data)).data == data
    assert work.left() > 0


def test_a_schema_is_compiled_once():
    first, second = JsonContract.of(SEGMENTS), JsonContract.of(SEGMENTS)
    assert first._schemas[0] is second._schemas[0]


def test_strict_is_a_closed_object_that_requires_its_keys():
    closed = {"type": "object", "additionalProperties": False}
    strict = closed | {"properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert JsonContract.of(strict).is_strict
    assert not JsonContract.of(strict | {"required": []}).is_strict
    assert not JsonContract.of(strict | {"additionalProperties": True}).is_strict
    assert not JsonContract.of(closed | {"properties": {"a": {"type": "string", "minLength": 1}}}).is_strict
    assert not JsonContract.of({"type": "array", "items": {"type": "string"}}).is_strict
    assert not JsonContract.of(EDIT).is_strict
