"""Contracts as data, and narrowing them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptops.engine import Contract, JsonContract, LinesContract, LLMContractError, TextContract
from tests.engine.contracts.shapes import EDIT, PROMPTS, SEGMENTS

DATA: list[dict[str, Any]] = [
    {"kind": "text"},
    {"kind": "text", "one_paragraph": True, "max_words": 80, "contains": ["fox"], "excludes": ["cut to"]},
    {"kind": "lines", "count": 3},
    {"kind": "json", "schema": SEGMENTS},
    {"kind": "json", "schema": SEGMENTS, "also": [{"properties": {"title": {"maxLength": 20}}}]},
]


@pytest.mark.parametrize("data", DATA)
def test_a_contract_comes_back_from_its_data(data):
    contract = Contract.from_data(json.loads(json.dumps(data)))
    assert contract.to_data() == data
    assert Contract.from_data(contract.to_data()) == contract
    assert hash(contract) == hash(Contract.from_data(data))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "A contract is an object"),
        ({}, "Unknown kind of contract null; known are text, lines, json"),
        ({"kind": "xml"}, 'Unknown kind of contract "xml"'),
        ({"kind": []}, "Unknown kind of contract a list"),
        ({"kind": "text", "max_word": 5}, "A text contract has no max_word; known are one_paragraph, max_words"),
        ({"kind": "json", "schema": {}, "strict": True}, "A json contract has no strict; known are schema, also"),
        ({"kind": "text", "one_paragraph": 1}, "one_paragraph is true or false, not 1"),
        ({"kind": "text", "max_words": 0}, "max_words is a whole number from 1 to 10,000, not 0"),
        ({"kind": "text", "max_words": True}, "max_words is a whole number"),
        ({"kind": "text", "contains": "fox"}, "contains is a list of texts"),
        ({"kind": "text", "contains": [5]}, "contains is a list of texts"),
        ({"kind": "text", "excludes": [" "]}, "Each text of excludes has 1 to 200 characters"),
        ({"kind": "text", "excludes": ["x"] * 21}, "excludes has 21 texts, and at most 20 are allowed"),
        ({"kind": "text", "contains": ["Cut to"], "excludes": ["cut"]}, 'No text can contain "Cut to"'),
        ({"kind": "lines"}, "A lines contract needs a count"),
        ({"kind": "lines", "count": 51}, "count is a whole number from 1 to 50, not 51"),
        ({"kind": "json"}, "A json contract needs a schema"),
        ({"kind": "json", "schema": {}, "also": {}}, "also is a list of schemas"),
        ({"kind": "json", "schema": {}, "also": [{}] * 4}, "A contract has at most 4 schemas"),
        ({"kind": "json", "schema": PROMPTS, "also": [SEGMENTS]}, "No answer is both an object and a list"),
    ],
)
def test_wrong_data_is_refused_with_a_sentence(data, sentence):
    with pytest.raises(ValueError, match=sentence):
        Contract.from_data(data)


def test_a_contract_cannot_be_changed():
    contract = TextContract(max_words=5)
    with pytest.raises(AttributeError):
        contract.max_words = 6  # type: ignore[misc]


def test_only_a_plain_text_is_not_checked():
    assert not TextContract().is_checked
    assert TextContract(max_words=5).is_checked
    assert LinesContract(3).is_checked
    assert JsonContract.of({}).is_checked


OPERATION = TextContract(max_words=80, excludes=("cut to",))
CLOSED = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("operation", "version", "both"),
    [
        (OPERATION, None, OPERATION),
        (OPERATION, TextContract(), OPERATION),
        (OPERATION, TextContract(max_words=60), TextContract(max_words=60, excludes=("cut to",))),
        (TextContract(), OPERATION, OPERATION),
        (
            OPERATION,
            TextContract(one_paragraph=True, contains=("fox",), excludes=("fade", "cut to")),
            TextContract(one_paragraph=True, max_words=80, contains=("fox",), excludes=("cut to", "fade")),
        ),
        (LinesContract(3), LinesContract(3), LinesContract(3)),
        (JsonContract.of(SEGMENTS), JsonContract.of(SEGMENTS), JsonContract.of(SEGMENTS)),
        (
            JsonContract.of(SEGMENTS),
            JsonContract.of({"maxProperties": 2}),
            JsonContract.of(SEGMENTS, {"maxProperties": 2}),
        ),
    ],
)
def test_a_version_narrows_the_contract_of_its_operation(operation, version, both):
    assert operation.narrowed_by(version) == both


@pytest.mark.parametrize(
    ("operation", "version", "sentence"),
    [
        (OPERATION, TextContract(max_words=90), "The version allows 90 words, and the operation 80"),
        (OPERATION, TextContract(contains=("cut to",)), 'No text can contain "cut to"'),
        (OPERATION, LinesContract(3), "A lines contract does not narrow a text contract"),
        (LinesContract(3), LinesContract(2), "The version answers with 2 alternatives, and the operation with 3"),
        (LinesContract(3, 2), LinesContract(3, 1), "The version accepts 1 alternative, and the operation needs 2"),
        (JsonContract.of(SEGMENTS), JsonContract.of(PROMPTS), "No answer is both an object and a list"),
        (JsonContract.of(CLOSED), JsonContract.of({"required": ["b"]}), "one schema requires b, and the other forbids"),
        (JsonContract.of({"type": "object", "required": ["b"]}), JsonContract.of(CLOSED), "one schema requires b"),
    ],
)
def test_a_version_does_not_widen_the_contract_of_its_operation(operation, version, sentence):
    with pytest.raises(ValueError, match=sentence):
        operation.narrowed_by(version)


def test_an_answer_keeps_both_schemas_of_a_narrowed_contract():
    contract = JsonContract.of(EDIT).narrowed_by(JsonContract.of({"required": ["style"]}))
    assert contract.read('{"edits": [], "style": "noir"}').data == {"edits": [], "style": "noir"}
    for written, problem in (
        ('{"edits": []}', "the answer has no style"),
        ('{"style": null}', "the answer has no edits"),
    ):
        with pytest.raises(LLMContractError, match=problem):
            contract.read(written)


def test_a_provider_is_sent_the_narrowest_schema_that_stands_alone():
    whole = SEGMENTS | {"required": ["title", "segment_prompts"], "maxProperties": 2}
    assert JsonContract.of(SEGMENTS).narrowed_by(JsonContract.of(whole)).schema["maxProperties"] == 2
    assert JsonContract.of(SEGMENTS).narrowed_by(JsonContract.of({"maxProperties": 2})).schema == SEGMENTS
    part = {"type": "object", "properties": {"title": {"maxLength": 40}}}
    assert JsonContract.of(SEGMENTS).narrowed_by(JsonContract.of(part)).schema == SEGMENTS


@pytest.mark.parametrize(("answer", "kept"), [("1. A\n2. B\n3. C", True), ("1. A\n2. B", True), ("1. A fox", False)])
def test_fewer_lines_are_kept_down_to_the_least_number(answer, kept):
    contract = Contract.from_data({"kind": "lines", "count": 3, "at_least": 2})
    assert Contract.from_data(contract.to_data()) == contract == LinesContract(3, 2)
    if kept:
        assert contract.read(answer).text == answer
    else:
        with pytest.raises(LLMContractError, match="the answer has 1 alternative, at least 2 expected"):
            contract.read(answer)
    assert (contract.of(5), contract.of(1)) == (LinesContract(5, 2), LinesContract(1, 1))
    assert contract.narrowed_by(LinesContract(3)) == LinesContract(3)
    with pytest.raises(ValueError, match="at_least is a whole number from 1 to 3"):
        LinesContract(3, 4)
