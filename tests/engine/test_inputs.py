"""Inputs of named fields."""

import pytest

from promptops.engine.inputs import check_input, field_values, input_of, judged_text
from promptops.engine.operations import InputField, OperationSpec

FIELDS = (InputField("scene"), InputField("mood", required=False, max_characters=5))
PLAN = OperationSpec("plan", "Plans a scene.", input="fields", fields=FIELDS)
TEXT = OperationSpec("polish", "Polishes.")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"scene": "snow ж"}, '{"scene": "snow ж"}'),
        ({"mood": "calm", "scene": "a\nb"}, '{"scene": "a\\nb", "mood": "calm"}'),
        ({"scene": "snow", "mood": " "}, '{"scene": "snow"}'),
    ],
)
def test_the_input_is_one_json_object_in_the_declared_order(values, expected):
    assert input_of(PLAN, values) == expected
    check_input(PLAN, expected)
    assert field_values(expected) == {name: value for name, value in values.items() if value.strip()}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a fox", "takes a JSON object with the fields scene, mood"),
        ('["a fox"]', "takes a JSON object"),
        ("[" * 100_000, "takes a JSON object"),
        ("{}", "The field scene is missing"),
        ('{"scene": " "}', "The field scene is missing"),
        ('{"scene": 3}', "The field scene must be text"),
        ('{"scene": "snow", "color": "red"}', "no field 'color'"),
        ('{"scene": "snow", "mood": "gloomy"}', "mood has 6 characters; at most 5 are allowed"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_input(PLAN, text)
    check_input(TEXT, text)


def test_an_input_without_any_value_is_refused():
    spec = OperationSpec("plan", "Plans.", input="fields", fields=(InputField("mood", required=False),))
    with pytest.raises(ValueError, match="All fields are empty"):
        input_of(spec, {})


@pytest.mark.parametrize(
    ("spec", "text", "expected"),
    [
        (PLAN, '{"scene": "a \\"fox\\"", "mood": "calm"}', 'a "fox"\n\ncalm'),
        (PLAN, "not JSON", "not JSON"),
        (TEXT, '{"scene": "snow"}', '{"scene": "snow"}'),
    ],
)
def test_the_safety_filter_reads_values_without_json(spec, text, expected):
    assert judged_text(spec, text) == expected
