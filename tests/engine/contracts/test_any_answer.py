"""Whatever a model writes, reading it by a contract gives a reading or an `LLMContractError`."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptops.engine import Contract, JsonContract, LinesContract, LLMContractError, TextContract, contradictions
from promptops.engine.answers import Reading
from promptops.engine.contracts import keywords
from promptops.engine.contracts.json_text import Unreadable, find_json
from tests.engine.contracts.shapes import EDIT_CONTRACT, GOOD_SEGMENTS, LIST_CONTRACT, SEGMENT_CONTRACT

CONTRACTS = [
    TextContract(one_paragraph=True, max_words=9, contains=("fox",), excludes=("cut",)),
    LinesContract(3),
    SEGMENT_CONTRACT,
    EDIT_CONTRACT,
    LIST_CONTRACT,
    JsonContract.of({}),
]
# All characters, also halves of them, and the pieces of which JSON and answers are made.
PIECES = st.one_of(
    st.text(st.characters(), max_size=8),
    st.sampled_from([*'{}[]",:\\', "```json\n", "\n", "null", "-1e5", "\\ud800", '"title":', "<think>", "</think>"]),
    st.sampled_from([GOOD_SEGMENTS, '{"edits": []}', '["a", "b"]', "I'm sorry, but I can't help with that."]),
)
ANSWERS = st.lists(PIECES, max_size=12).map("".join)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["title", "segment_prompts", "edits", "style", "seconds", "frames", "camera", "tags", "x"]),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=12,
)


def check(contract: Contract, written: str) -> None:
    result: Reading | LLMContractError
    try:
        result = contract.read(written)
    except LLMContractError as error:
        result = error
    if isinstance(result, LLMContractError):
        assert result.problems
        assert 0 < len(str(result)) < 400
        assert "\n" not in str(result)
    else:
        assert isinstance(result, Reading)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.kind)
@settings(max_examples=150, deadline=None)
@given(ANSWERS)
def test_any_text_is_read_or_is_a_breach(contract, written):
    check(contract, written)


@pytest.mark.parametrize("contract", CONTRACTS[2:], ids=["segments", "edit", "list", "any"])
@settings(max_examples=150, deadline=None)
@given(VALUES, st.booleans())
def test_any_json_is_read_or_is_a_breach(contract, value, is_ascii):
    check(contract, f"Here: {json.dumps(value, ensure_ascii=is_ascii)}")


KEYWORDS = sorted(
    {*keywords.KEYWORDS, "then", "else", "$defs", "definitions", "minContains", "$id", "$schema", "title"}
)
NUMBERS = st.one_of(st.integers(-2, 5), st.sampled_from([0.5, 3.0, 1e300]))
SCHEMAS = st.recursive(
    st.one_of(
        st.booleans(),
        NUMBERS,
        st.sampled_from(["object", "array", "string", "integer", "null", "#", "#/$defs/a", "^a", "(a+)+$", "a"]),
        st.sampled_from([["a"], ["object", "array"], {"a": ["b"]}, {"type": "object"}, {"minItems": 1}]),
    ),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
        st.dictionaries(st.sampled_from(["a", "b", "#"]), inner, max_size=2),
        st.lists(inner, max_size=3),
    ),
    max_leaves=10,
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.dictionaries(st.sampled_from(KEYWORDS), SCHEMAS, max_size=5), VALUES)
def test_any_schema_is_refused_with_a_sentence_or_checks_any_json(schema, value):
    try:
        contract = JsonContract.of(schema)
    except ValueError as error:
        assert str(error)[0].isupper()  # noqa: PT017 - a schema may also be accepted
        return
    check(contract, json.dumps(value))
    assert Contract.from_data(contract.to_data()) == contract
    contradictions('{"a": 1, "key": 2}', contract)


@settings(max_examples=300, deadline=None)
@given(VALUES.filter(lambda value: isinstance(value, dict | list)), st.text("abc .", max_size=20))
def test_json_in_prose_comes_back_as_it_was_written(value, prose):
    text = json.dumps(value)
    try:
        found = find_json(f"{prose}```json\n{text}\n```{prose}")
    except Unreadable:
        assert any(part in text for part in ("NaN", "Infinity", "\\ud", "\\u0000"))
    else:
        assert found.data == value
