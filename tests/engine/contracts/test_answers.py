"""Answers under each kind of contract: what is read, and the sentence about what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptops.engine import Contract, LinesContract, LLMContractError, TextContract
from promptops.engine.contracts import json_text
from tests.engine.contracts.shapes import EDIT_CONTRACT, GOOD_SEGMENTS, LIST_CONTRACT, SEGMENT_CONTRACT

SEGMENTS = json.loads(GOOD_SEGMENTS)


def segments(**fields: Any) -> str:
    return json.dumps(SEGMENTS | fields)


def edit(**fields: Any) -> str:
    return json.dumps({"edits": []} | fields)


READ_JSON = [
    GOOD_SEGMENTS,
    f"\ufeff{GOOD_SEGMENTS}\n",
    f"```json\n{GOOD_SEGMENTS}\n```",
    f"```\n{GOOD_SEGMENTS}",
    f"Here is the rollout:\n\n{GOOD_SEGMENTS}\n\nLet me know if you want changes!",
    f"<think>Three segments [1, 2, 3].</think>{GOOD_SEGMENTS}",
    f"{GOOD_SEGMENTS}<|im_end|>",
    f"I wrote [3] prompts for {{you}}: {GOOD_SEGMENTS}",
    f"{GOOD_SEGMENTS} {segments(title='Another')}",
    GOOD_SEGMENTS.replace("]}", ",],\n}"),
    GOOD_SEGMENTS.replace("runs.", "runs\nfar."),
    GOOD_SEGMENTS.replace("Fox", "Fuchs 🦊 \\u00e4 \\ud83e\\udd8a"),
    segments(title="x"),
]


@pytest.mark.parametrize("written", READ_JSON)
def test_json_is_read_tolerantly(written):
    reading = SEGMENT_CONTRACT.read(written)
    assert list(reading.data) == ["title", "segment_prompts"]
    assert len(reading.data["segment_prompts"]) == 3
    assert json.loads(reading.text) == reading.data
    assert not reading.refusal


def test_a_list_is_read():
    assert LIST_CONTRACT.read('Two: ["dawn", "dusk"]').data == ["dawn", "dusk"]


def test_the_text_of_json_is_left_as_it_was_written_where_it_is_valid():
    assert SEGMENT_CONTRACT.read(f"```json\n{GOOD_SEGMENTS}\n```").text == GOOD_SEGMENTS


WRONG_JSON: list[tuple[Contract, str, str]] = [
    # The answer has no JSON that can be read.
    (SEGMENT_CONTRACT, "A fox runs through snow.", "the answer has no complete JSON object"),
    (LIST_CONTRACT, "dawn, dusk", "the answer has no complete JSON list"),
    (SEGMENT_CONTRACT, "{'title': 'Fox'}", "the answer has no complete JSON object"),
    (SEGMENT_CONTRACT, '{"title": "Fox"', "the JSON breaks off inside 1 open bracket"),
    (SEGMENT_CONTRACT, '{"title": "Fox", "segment_prompts": ["A fo', "the JSON breaks off inside 2 open brackets"),
    (SEGMENT_CONTRACT, '{"title": "Fox", "segment_prompts": [tru', "the JSON breaks off inside 2 open brackets"),
    (SEGMENT_CONTRACT, 'In [3] prompts: {"title": "Fox"', "the JSON breaks off inside 1 open bracket"),
    (SEGMENT_CONTRACT, f'{{"title": {GOOD_SEGMENTS}', "the JSON breaks off inside 1 open bracket"),
    (SEGMENT_CONTRACT, '{"title": "A", "title": "B"}', "the key title appears twice in one object"),
    (SEGMENT_CONTRACT, '{"title": NaN}', "the JSON has NaN, which is no number in JSON"),
    (SEGMENT_CONTRACT, '{"title": -Infinity}', "the JSON has -Infinity, which is no number in JSON"),
    (SEGMENT_CONTRACT, '{"title": 1e999}', "the JSON has a number that is too large: 1e999"),
    (SEGMENT_CONTRACT, '{"title": %s}' % ("9" * 301), "the JSON has a number with 301 digits"),
    (
        SEGMENT_CONTRACT,
        segments(title="\ud800"),
        "the JSON has a character that cannot be stored: NUL, or half of a character",
    ),
    (
        SEGMENT_CONTRACT,
        segments(title="\0"),
        "the JSON has a character that cannot be stored: NUL, or half of a character",
    ),
    (SEGMENT_CONTRACT, '{"title\\_x": 1}', "the JSON is invalid: Invalid \\escape at line 1, column 8"),
    # The JSON does not fit.
    (SEGMENT_CONTRACT, f"[{GOOD_SEGMENTS}]", "the answer is a list, an object expected"),
    (LIST_CONTRACT, '{"prompts": []}', "the answer is an object, a list expected"),
    (SEGMENT_CONTRACT, "{}", "the answer has no title"),
    (SEGMENT_CONTRACT, segments(segment_prompts=["A fox."] * 2), "segment_prompts has 2 items, 3 expected"),
    (SEGMENT_CONTRACT, segments(segment_prompts=["A fox."] * 1200), "segment_prompts has 1,200 items, 3 expected"),
    (SEGMENT_CONTRACT, segments(segment_prompts="A fox."), "segment_prompts is text, a list expected"),
    (SEGMENT_CONTRACT, segments(segment_prompts=None), "segment_prompts is null, a list expected"),
    (SEGMENT_CONTRACT, segments(title=5), "title is a number, text expected"),
    (SEGMENT_CONTRACT, segments(title=True), "title is true, text expected"),
    (SEGMENT_CONTRACT, segments(title=""), "title has 0 characters, at least 1 expected"),
    (SEGMENT_CONTRACT, segments(title="x" * 61), "title has 61 characters, at most 60 expected"),
    (
        SEGMENT_CONTRACT,
        segments(segment_prompts=["A fox.", "no", "A fox."]),
        "item 2 of segment_prompts has 2 characters, at least 5 expected",
    ),
    (SEGMENT_CONTRACT, segments(mood="calm"), "the answer has an unknown key: mood"),
    (SEGMENT_CONTRACT, segments(a=1, b=2), "the answer has 2 unknown keys: a and b"),
    (SEGMENT_CONTRACT, segments(**{"k" * 500: 1}), f"the answer has an unknown key: {'k' * 39}…"),
    (
        EDIT_CONTRACT,
        edit(edits=[{"segment": 1, "prompt": "x"}, {"segment": 2}]),
        "item 2 of edits has no prompt",
    ),
    (
        EDIT_CONTRACT,
        edit(edits=[{"segment": 0, "prompt": "x"}]),
        "segment of item 1 of edits is 0, at least 1 expected",
    ),
    (EDIT_CONTRACT, edit(edits=[{"segment": 1.5, "prompt": "x"}]), None),  # type: ignore[list-item]
    (EDIT_CONTRACT, edit(style="baroque"), 'style is "baroque", "noir", "anime" or null expected'),
    (EDIT_CONTRACT, edit(style="b" * 300), 'style is another text, "noir", "anime" or null expected'),
    (EDIT_CONTRACT, edit(style={"x": 1}), 'style is an object, "noir", "anime" or null expected'),
    (EDIT_CONTRACT, edit(seconds=0.5, frames=1), "seconds is 0.5, at least 1 expected"),
    (EDIT_CONTRACT, edit(seconds=10, frames=1), "seconds is 10, less than 10 expected"),
    (EDIT_CONTRACT, edit(seconds=1.2, frames=1), "seconds is 1.2, a multiple of 0.5 expected"),
    (EDIT_CONTRACT, edit(seconds=2), "the answer has seconds but no frames"),
    (EDIT_CONTRACT, edit(frames=1.5), "frames is a number, a whole number expected"),
    (EDIT_CONTRACT, edit(camera=5), "camera is a number, text or an object expected"),
    (EDIT_CONTRACT, edit(camera={}), "camera has no move"),
    (EDIT_CONTRACT, edit(version="2"), 'version is "2", 2 expected'),
    (EDIT_CONTRACT, edit(version=True), "version is true, 2 expected"),
    (EDIT_CONTRACT, edit(id="A b"), "id does not match the pattern ^[a-z]+(-[a-z]+)*$"),
    (EDIT_CONTRACT, edit(tags=["fox", "hare", "fox"]), "tags has the same item twice (1 and 3)"),
    (EDIT_CONTRACT, edit(tags=["hare"]), "tags has 0 items of the wanted kind, at least 1 expected"),
    (EDIT_CONTRACT, edit(extra={}), "extra has 0 keys, at least 1 expected"),
    (
        EDIT_CONTRACT,
        edit(extra={"too_long_a_key": 1}),
        "extra has a wrong key, too_long_a_key, which has 14 characters, at most 8 expected",
    ),
]
WRONG_JSON = [
    (*row[:2], row[2] or "segment of item 1 of edits is a number, a whole number expected") for row in WRONG_JSON
]

ONE_LINE = TextContract(one_paragraph=True)
SHORT = TextContract(max_words=4)
PHRASES = TextContract(contains=("the camera",), excludes=("cut to", "fade"))
THREE = LinesContract(3)

WRONG_TEXT: list[tuple[Contract, str, str]] = [
    (ONE_LINE, "A fox.\n\nA hare.", "the text has 2 paragraphs, 1 expected"),
    (ONE_LINE, "A fox.\r\nA hare.\rAn owl.", "the text has 3 paragraphs, 1 expected"),
    (SHORT, "A red fox runs far.", "the text has 5 words, at most 4 expected"),
    (SHORT, "雪地里的狐狸", "the text has 6 words, at most 4 expected"),
    (PHRASES, "A fox runs.", 'the text does not contain "the camera"'),
    (PHRASES, "The Camera pans. CUT TO dawn.", 'the text contains "cut to"'),
    (THREE, "1. dawn\n2. dusk", "the answer has 2 alternatives, 3 expected"),
    (THREE, "dawn", "the answer has 1 alternative, 3 expected"),
    (LinesContract(2), '["dawn"]', "the answer has 1 alternative, 2 expected"),
]


@pytest.mark.parametrize(("contract", "written", "sentence"), [*WRONG_JSON, *WRONG_TEXT])
def test_a_breach_says_what_is_wrong(contract, written, sentence):
    with pytest.raises(LLMContractError) as caught:
        contract.read(written)
    assert (str(caught.value), caught.value.problems[0]) == (sentence, sentence)
    assert all(len(problem) < 300 for problem in caught.value.problems)


READ_TEXT: list[tuple[Contract, str, str]] = [
    (TextContract(), 'Here it is:\n\n"A fox runs."', "A fox runs."),
    (ONE_LINE, "Here it is:\n\nA fox runs.\n\nLet me know if you want another one!", "A fox runs."),
    (SHORT, '"A fox — runs fast."', "A fox — runs fast."),
    (PHRASES, "A fox. The camera pans.", "A fox. The camera pans."),
    (THREE, "Here are three:\n1. dawn\n2. dusk\n3. noon", "Here are three:\n1. dawn\n2. dusk\n3. noon"),
    (THREE, "dawn\ndusk\nnoon\nnight", "dawn\ndusk\nnoon\nnight"),
    (LinesContract(1), "dawn", "dawn"),
]


@pytest.mark.parametrize(("contract", "written", "text"), READ_TEXT)
def test_a_text_that_keeps_the_contract_is_read_as_always(contract, written, text):
    reading = contract.read(written)
    assert (reading.text, reading.data, reading.refusal) == (text, None, False)


@pytest.mark.parametrize(
    "contract", [SEGMENT_CONTRACT, TextContract(max_words=2), THREE], ids=["json", "text", "lines"]
)
def test_a_refusal_and_an_empty_answer_are_no_breach(contract):
    assert contract.read("I'm sorry, but I can't help with that.").refusal
    assert not contract.read("<think>hm</think>").text


def test_several_problems_are_named_at_most_five():
    with pytest.raises(LLMContractError) as caught:
        SEGMENT_CONTRACT.read('{"title": 1, "segment_prompts": [1, 2, 3], "mood": 1, "style": 2}')
    assert len(caught.value.problems) == 5


def values(number: int) -> str:
    return json.dumps([0] * (number - 1))


OVER_LIMITS = [
    ('["%s"]' % ("x" * json_text.MAX_BYTES), "the answer has more than 256 KiB"),
    ('["%s"]' % ("雪" * (json_text.MAX_BYTES // 3)), "the answer has more than 256 KiB"),
    ("[" * 65 + "]" * 65, "the answer has more than 64 levels"),
    ("[" * 500_000, "the answer has more than 256 KiB"),
    ("[" * 200_000, "the answer has more than 64 levels"),
    ('{"a":' * 65, "the answer has more than 64 levels"),
    (values(10_001), "the answer has more than 10,000 values"),
]


@pytest.mark.parametrize(("written", "sentence"), OVER_LIMITS)
def test_an_answer_over_a_limit_is_refused_before_it_is_checked(written, sentence, monkeypatch):
    monkeypatch.setattr(json_text, "_DECODER", None)  # a schema sees only what was decoded
    with pytest.raises(LLMContractError, match=sentence):
        LIST_CONTRACT.read(written)


@pytest.mark.parametrize("written", [values(10_000), "[" * 64 + "]" * 64, '["%s"]' % ("x" * (json_text.MAX_BYTES - 4))])
def test_an_answer_at_a_limit_is_checked(written):
    with pytest.raises(LLMContractError, match="item"):
        LIST_CONTRACT.read(written)
