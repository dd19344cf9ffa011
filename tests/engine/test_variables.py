r"""Variables in texts: the whole grammar as tables, and what holds for any text."""

import time

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from promptops.engine.snapshot import Snapshot
from promptops.engine.types import PromptOperation
from promptops.engine.variables import MOST_PROBLEMS, NAME, check, fill, filled_bytes, find, pieces
from promptops.prompts.models import Variable

VALUES = {"season": "winter", "style": "film noir", "empty": "", "sly": "{{ season }} \\{{ {{"}

BACKSLASH = "\\"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("No variable.", "No variable."),
        ("{{ season }}", "winter"),
        ("{{season}}", "winter"),
        ("{{ \t season\t }}", "winter"),
        ("In {{ season }}, in {{ style }}; {{ season }}.", "In winter, in film noir; winter."),
        ("{{ season }}{{ style }}", "winterfilm noir"),
        ("a{{ empty }}b", "ab"),
        # a value is never read again
        ("{{ sly }}", "{{ season }} \\{{ {{"),
        # literal braces
        (BACKSLASH + "{{ season }}", "{{ season }}"),
        (BACKSLASH + "{{", "{{"),
        (BACKSLASH * 2 + "{{ season }}", BACKSLASH + "{{ season }}"),
        (BACKSLASH + "{{{", "{{{"),
        (BACKSLASH + "{{{{ season }}", "{{winter"),
        # all other text
        ('{"style": "{{ style }}", "a": {"b": {}}}', '{"style": "film noir", "a": {"b": {}}}'),
        ("{ season } }} { {season} }", "{ season } }} { {season} }"),
        ("<|im_start|> [INST] {% if %} ${x} %s \\{ \\n", "<|im_start|> [INST] {% if %} ${x} %s \\{ \\n"),
        # mistakes stay as they are
        ("{{ unknown }}", "{{ unknown }}"),
        ("{{ season", "{{ season"),
        ("{{}} {{ Season }} {{ a b }}", "{{}} {{ Season }} {{ a b }}"),
        ("{{ season\n}}", "{{ season\n}}"),
        ("{{{ season }}}", "{{{ season }}}"),
        ("{{ open {{ season }}", "{{ open winter"),
        ("{{{{ season }}}}", "{{winter}}"),
    ],
)
def test_filling(text, filled):
    assert fill(text, VALUES) == filled


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("", []),
        ("{{ season }} and {{style}}", []),
        ('{"a": {"b": 1}} }} { } \\{{ anything', []),
        ("{{ sesaon }}", [(1, 1, "{{ sesaon }} is not declared. Did you mean {{ season }}?")]),
        ("{{ x }}", [(1, 1, "{{ x }} is not declared.")]),
        ("one\ntwo {{ x }}\n\n{{ y }} {{ x }}", [(2, 5, "{{ x }}"), (4, 1, "{{ y }}"), (4, 9, "{{ x }}")]),
        ("{{ season", [(1, 1, r"{{ is never closed. Close it as in {{ name }}, or write \{{ for two braces.")]),
        ("é {{ season\n}}", [(1, 3, "never closed")]),
        ("{{ open {{ season }}", [(1, 1, "never closed")]),
        ("{{", [(1, 1, "never closed")]),
        ("{{}}", [(1, 1, "{{}} names no variable")]),
        ("{{   }}", [(1, 1, "names no variable")]),
        ("{{ Season }}", [(1, 1, "a name is a lower-case letter")]),
        ("{{ Season }}", [(1, 1, "Did you mean {{ season }}?")]),
        ("{{ a b }} {{ 1st }} {{ é }}", [(1, 1, "{{ a b }}"), (1, 11, "{{ 1st }}"), (1, 21, "{{ é }}")]),
        ("{{ season | upper }}", [(1, 1, "is no variable")]),
        (f"{{{{ {'a' * 41} }}}}", [(1, 1, "is no variable")]),
        ("{{{ season }}}", [(1, 1, "three braces in a row")]),
        ("{{{{ season }}}}", [(1, 1, "never closed")]),
    ],
)
def test_mistakes_have_line_and_column(text, places):
    problems = check(text, VALUES)
    assert [(problem.line, problem.column) for problem in problems] == [(line, column) for line, column, _ in places]
    for problem, (line, column, part) in zip(problems, places, strict=True):
        assert problem.message.startswith(f"Line {line}, column {column}: ")
        assert part in problem.message


def test_unknown_names_differ_from_stray_braces():
    assert [problem.unknown for problem in check("{{ x }} {{ {{ season }}", VALUES)] == [True, False]


def test_names_are_listed_once_in_order():
    assert find("{{ style }} {{ unknown }} \\{{ season }} {{ style }} {{ Bad }}") == ["style", "unknown"]


BRACES = st.text(alphabet="{}\\ \nab\u00e9\U0001f98a_", max_size=60)
NAMES = st.from_regex(rf"\A{NAME}\Z")
VALUE_SETS = st.dictionaries(st.sampled_from(["a", "b", "ab", "a_b"]), BRACES, max_size=3)


@given(BRACES, VALUE_SETS)
def test_pieces_are_the_text_and_filling_never_fails(text, values):
    assert "".join(piece.text for piece in pieces(text)) == text
    assert all(text[piece.start :].startswith(piece.text) for piece in pieces(text))
    filled = fill(text, values)
    if "{{" not in text:
        assert filled == text
        assert check(text, values) == []


@given(BRACES, VALUE_SETS)
def test_each_problem_is_at_its_line_and_column(text, values):
    for problem in check(text, values):
        line = text.split("\n")[problem.line - 1]
        assert line[problem.column - 1 :].startswith("{{")


@given(BRACES, VALUE_SETS)
def test_without_problems_all_is_filled_and_with_one_something_is_left(text, values):
    left = [piece for piece in pieces(text) if piece.kind == "stray" or (piece.name and piece.name not in values)]
    assert len(check(text, values)) == len(left)
    assert all(piece.filled(values) == piece.text for piece in left)


@given(BRACES, VALUE_SETS)
def test_the_size_is_known_before_the_text_is_built(text, values):
    assert filled_bytes(text, values) == len(fill(text, values).encode(errors="replace"))


@given(st.one_of(BRACES, st.text(max_size=60)))
def test_any_text_can_be_written_as_a_literal(text):
    escaped = text.replace("{{", "\\{{")
    assert check(escaped, {}) == []
    assert fill(escaped, {"a": "x"}) == text


@given(NAMES, BRACES)
def test_a_value_is_inserted_unchanged(name, value):
    assert fill(f"<{{{{ {name} }}}}>", {name: value}) == f"<{value}>"
    assert check(f"{{{{{name}}}}}", [name]) == []


def test_names_are_those_that_the_database_takes():
    field = Variable._meta.get_field("name")
    for name, good in (
        ("a", True),
        ("a_1", True),
        ("a" * 40, True),
        ("a" * 41, False),
        ("A", False),
        ("1a", False),
        ("_a", False),
    ):
        assert (find(f"{{{{{name}}}}}") == [name]) is good
        if good:
            field.clean(name, None)
        else:
            with pytest.raises(ValidationError):
                field.clean(name, None)


@pytest.mark.parametrize("part", ["{{", "{{ ", "{{ a", "\\{{", "{{a}}", "}}", "{", "{" + " " * 999, "\n{{ a b }}"])
def test_a_hostile_text_of_the_greatest_size_is_checked_at_once(part):
    text = part * (65536 // len(part))
    began = time.process_time()
    assert len(check(text, ["a", "b"])) <= MOST_PROBLEMS
    fill(text, {"a": "x"})
    assert time.process_time() - began < 1


def test_a_snapshot_fills_for_its_operation():
    snapshot = Snapshot(1, (), {}, (), variables={PromptOperation.ENHANCE: {"season": "winter"}})
    assert snapshot.filled(PromptOperation.ENHANCE, "In {{ season }}.") == "In winter."
    assert snapshot.filled(PromptOperation.REWRITE, "In {{ season }}.") == "In {{ season }}."
