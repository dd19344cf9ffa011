"""Contradictions between a system text and its contract: faults that were shipped, and texts that are right."""

from __future__ import annotations

import pytest

from promptops.engine import JsonContract, TextContract, contradictions
from tests.engine.contracts.shapes import EDIT_CONTRACT, LIST_CONTRACT, SEGMENT_CONTRACT

EXAMPLE = """You write rollouts. Answer in JSON:
{
  "title": "a short title",
  "segment_prompts": ["...", "...", "..."]
}
Write exactly three prompts."""

FAULTS = [
    (
        EXAMPLE.replace("segment_prompts", "window_prompts"),
        (
            "The text names the key window_prompts, which the contract does not have; it has segment_prompts.",
            "The text never names the key segment_prompts, which the contract requires.",
        ),
    ),
    (
        'Return a JSON object with the key "title" and the key `prompts`.',
        (
            "The text names the key prompts, which the contract does not have; it has segment_prompts.",
            "The text never names the key segment_prompts, which the contract requires.",
        ),
    ),
    (
        "Return JSON with title and segment_prompts, and nothing else, in an object with `next_prompt`.",
        ("The text names the key next_prompt, which the contract does not have; it has segment_prompts.",),
    ),
    (
        "Write three prompts.",
        ("The text never names the keys segment_prompts and title, which the contract requires.",),
    ),
    (
        'Example: {"title": "x", "segment_prompts": [], "mood": "calm"}',
        ("The text names the key mood, which the contract does not have.",),
    ),
    (
        r"Example: {\"title\": \"x\", \"segment_prompts\": [], \"mood\": \"calm\"}",
        ("The text names the key mood, which the contract does not have.",),
    ),
    (
        "返回JSON：{“title”: “…”, “segments”: […]}",
        (
            "The text names the key segments, which the contract does not have; it has segment_prompts.",
            "The text never names the key segment_prompts, which the contract requires.",
        ),
    ),
]


@pytest.mark.parametrize(("text", "warnings"), FAULTS)
def test_a_contradiction_is_named(text, warnings):
    assert contradictions(text, SEGMENT_CONTRACT) == warnings


RIGHT = [
    EXAMPLE,
    f'{EXAMPLE}\nNever write "cut to" or "fade in". The sign says "Open": keep it. She whispers: "no".',
    f"{EXAMPLE}\nUse words like `slow_zoom`, 'pan-left' and \"macro_lens\" for the camera.",
    f'{EXAMPLE}\nThe key "title" is "Untitled" if nothing fits.',
    f"{EXAMPLE}\nThe key concept is 'wonder'. Key: light. The field of view is wide.",
    "Keys: title (text), segment_prompts (a list of three texts). JSON only.",
    "- **title**: short\n- **segment_prompts**: three prompts",
    "title/segment_prompts",
    f"{EXAMPLE}\nThe viewer typed {{{{ viewer_text }}}}; the object has no `viewer_text`.",
]


@pytest.mark.parametrize("text", RIGHT)
def test_a_text_that_is_right_has_no_warning(text):
    assert contradictions(text, SEGMENT_CONTRACT) == ()


def test_names_of_the_input_are_no_keys():
    text = f'{EXAMPLE}\nThe user sends {{"prior_prompts": ["..."]}}.'
    assert contradictions(text, SEGMENT_CONTRACT) != ()
    assert contradictions(text, SEGMENT_CONTRACT, known=["prior_prompts"]) == ()


def test_keys_of_inner_objects_and_values_count():
    text = 'JSON: {"edits": [{"segment": 1, "prompt": "x"}], "style": "noir"}. The field "style" is `anime` or `noir`.'
    assert contradictions(text, EDIT_CONTRACT) == ()
    assert contradictions('{"edits": [], "segment": 0}', EDIT_CONTRACT) == (
        "The text never names the key prompt, which the contract requires.",
    )


def test_a_list_has_no_keys():
    assert contradictions('["dawn", "dusk"]', LIST_CONTRACT) == ()
    assert contradictions('{"prompts": ["dawn"]}', LIST_CONTRACT) == (
        "The text names the key prompts, which the contract does not have.",
    )


@pytest.mark.parametrize("free", [{"patternProperties": {"^shot_": {}}}, {"additionalProperties": {"type": "string"}}])
def test_an_object_with_free_keys_has_no_unknown_ones(free):
    assert contradictions('{"shot_1": "dawn"}', JsonContract.of(free)) == ()


def test_other_contracts_have_no_keys():
    assert contradictions(EXAMPLE, TextContract()) == contradictions(EXAMPLE, None) == ()


def test_a_long_text_of_quotes_is_read_quickly():
    contract = JsonContract.of({"required": ["a"]})
    for unit in ('"', "{", "key ", '{"a', "`a_b", "{ ", ' "x"', "{{ a"):
        contradictions(unit * 20_000, contract)
