"""The text format of answer rules, and what they may narrow."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptops.engine.contracts import JsonContract, LinesContract, TextContract
from promptops.engine.operations import InputField, OperationSpec
from promptops.prompts.answer_rules import fitting, hint, narrowed, read_rules

TEXT = OperationSpec("enhance", "Polishes.", contract=TextContract(max_words=80, excludes=("cut to",)))
PLAIN = OperationSpec("plain", "Polishes.")
LINES = OperationSpec("rewrite", "Offers.", answer="lines", count=3, contract=LinesContract(3, 2))
SCHEMA = {"type": "object", "required": ["scenes"], "properties": {"scenes": {"type": "array"}}}
CLOSED = SCHEMA | {"additionalProperties": False}
PLAN = OperationSpec("plan", "Plans.", answer="json", contract=JsonContract.of(SCHEMA))
UNCHECKED = OperationSpec("plan", "Plans.", input="fields", fields=(InputField("a"),), answer="json")
STYLE = {"required": ["style"]}


@pytest.mark.parametrize(
    ("spec", "text", "contract"),
    [
        (TEXT, None, TEXT.contract),
        (TEXT, " \n", TEXT.contract),
        (PLAIN, "", None),
        (PLAIN, "at most 60 words", TextContract(max_words=60)),
        (TEXT, "At most 60 words.", TextContract(max_words=60, excludes=("cut to",))),
        (TEXT, "80 words", TEXT.contract),
        (PLAIN, "at most 1,000 words", TextContract(max_words=1000)),
        (TEXT, "\r\none paragraph\r\n\n", TextContract(True, max_words=80, excludes=("cut to",))),
        (
            TEXT,
            "Must contain: a red: fox.\nmust not contain:fade\n must contain : x ",
            TextContract(max_words=80, contains=("a red: fox.", "x"), excludes=("cut to", "fade")),
        ),
        (LINES, "at least 3", LinesContract(3)),
        (LINES, "At least 2 alternatives.", LinesContract(3, 2)),
        (LINES, "3", LinesContract(3)),
        (PLAN, json.dumps(STYLE), JsonContract.of(SCHEMA, STYLE)),
        (PLAN, json.dumps(SCHEMA), PLAN.contract),
        (UNCHECKED, json.dumps(STYLE), JsonContract.of(STYLE)),
    ],
)
def test_rules_narrow_the_contract_of_their_operation(spec, text, contract):
    assert narrowed(spec, text) == fitting(spec, text) == contract


@pytest.mark.parametrize(
    ("spec", "text", "sentence"),
    [
        (TEXT, "at most 90 words", "The version allows 90 words, and the operation 80"),
        (TEXT, "must contain: Cut To", "No text can contain"),
        (TEXT, "be brief", "Line 1 is no rule: “be brief”. Write: must contain: …"),
        (TEXT, '\n{"type": "object"}', "Line 2 is no rule"),
        (TEXT, "x" * 100, "Line 1 is no rule: “" + "x" * 59 + "…”"),
        (TEXT, "at most 0 words", "Line 1 needs a number of words from 1 to 10,000"),
        (TEXT, f"at most {'9' * 5000} words", "Line 1 needs a number of words"),
        (TEXT, "at most , words", "Line 1 needs a number of words"),
        (TEXT, "60 words\n50 words", "Line 2 repeats a rule"),
        (TEXT, "must contain: ", "has no phrase"),
        (TEXT, "\n".join(f"must contain: {number}" for number in range(21)), "There are 21 phrases of one kind"),
        (TEXT, "must contain: " + "x" * 201, "1 to 200 characters"),
        (TEXT, "x" * 200_000, "more than 131,072 bytes"),
        (LINES, "at least 1", "The version accepts 1 alternative, and the operation needs 2"),
        (LINES, "at least 4", "rewrite answers with 3 alternatives"),
        (LINES, "one paragraph", "Line 1 is no rule: “one paragraph”. Write: at least 2"),
        (LINES, "at least 2\nat least 3", "There are 2 rules"),
        (LINES, "9" * 5000, "Line 1 is no rule"),
        (
            PLAN,
            "one paragraph",
            "This operation answers with JSON, and the rules are no valid JSON at line 1, column 1",
        ),
        (PLAN, "[1]", "A JSON Schema is an object"),
        (PLAN, '{"tpye": "object"}', "unknown keyword tpye"),
        (PLAN, '{"type": "array"}', "No answer is both an object and a list"),
        (PLAN, '{"maxItems": NaN}', "not JSON"),
        (PLAN, "[" * 100_000, "nested too deeply"),
        (PLAN, '{"$ref": "https://a.example/x"}', "only references to its own"),
        (
            OperationSpec("p", "P.", answer="json", contract=JsonContract.of(CLOSED)),
            json.dumps(STYLE),
            "requires style",
        ),
    ],
)
def test_rules_that_widen_or_do_not_fit_are_refused_with_a_sentence(spec, text, sentence):
    with pytest.raises(ValueError, match=r"\.\Z") as refused:
        narrowed(spec, text)
    assert sentence in str(refused.value)
    assert fitting(spec, text) == spec.contract


@given(st.sampled_from([TEXT, PLAIN, LINES, PLAN, UNCHECKED]), st.text() | st.from_regex(r"\{.{0,40}\}"))
def test_any_text_is_read_or_refused(spec, text):
    try:
        contract = read_rules(text, spec)
    except ValueError:
        return
    assert contract is None or contract.kind == spec.answer


@pytest.mark.parametrize("spec", [TEXT, LINES, PLAN])
def test_the_hint_shows_rules_that_fit(spec):
    words = hint(spec).rstrip(".")
    rule = words[words.index("{") :] if spec.answer == "json" else words.split(": ", 1)[1].split(" · ")[0]
    assert narrowed(spec, rule) != TextContract()
