"""The search for JSON reads an answer once. The characters that it visits are counted."""

from __future__ import annotations

import pytest

from promptops.engine.contracts.json_text import MAX_STARTS, Unreadable, _Search, find_json

HOSTILE = {
    "brackets that begin no JSON": "[x",
    "brackets in brackets": "{[",
    "objects that are never closed": '{"a": ',
    "texts that are never closed": '["',
    "escaped marks": '["\\"',
    "marks that pair up": '["[',
    "complete lists": "[1] ",
    "wrong commas": "[1,,",
    "digits": "[1",
    "spaces": "[    ",
    "words": "[trues",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("length", [1_000, 8_000])
@pytest.mark.parametrize("tail", ["", '"', "]}", '{"b": 2}'])
def test_the_search_is_linear(unit, length, tail):
    text = unit * (length // len(unit)) + tail
    search = _Search(text)
    try:
        search.find("{")
    except Unreadable:  # too deep, which ends the search even earlier
        search.visited = 0
    assert search.visited <= 2 * len(text)


def test_every_character_of_a_long_prose_is_visited_once():
    text = "A fox [runs] through {deep} snow. " * 400 + '{"a": 1}'
    assert find_json(text, "{").visited <= len(text)


def test_the_search_gives_up_after_many_brackets_that_begin_no_json():
    with pytest.raises(Unreadable, match="no complete JSON object"):
        find_json("[x] " * MAX_STARTS + '{"a": 1}', "{")


@pytest.mark.parametrize(
    ("written", "opening", "text"),
    [
        ('{"a": 1} [2]', None, '{"a": 1}'),
        ('[2] {"a": 1}', None, "[2]"),
        ('[2] {"a": 1}', "{", '{"a": 1}'),
        ("[2] (3)", "{", "[2]"),
        ('[{"a": 1}]', "{", '[{"a": 1}]'),
        ('[5" tall] {"a": 1}', "{", '{"a": 1}'),
        ('{ {"a": 1} }', "{", '{"a": 1}'),
        ('Mood: :{ and {"a": [1,],}', "{", '{"a": [1]}'),
        ('{"a": "}]{["}', "{", '{"a": "}]{["}'),
        ('{"a": "\\"}"}', "{", '{"a": "\\"}"}'),
        ('{\n"a": 1}', "{", '{"a": 1}'),
    ],
)
def test_the_first_complete_json_is_found(written, opening, text):
    assert find_json(written, opening).text == text
