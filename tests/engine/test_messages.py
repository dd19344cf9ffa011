"""Messages that are sent: the user message that a user template makes, and example pairs."""

import pytest

from promptops.engine.enhancer import build_request
from promptops.engine.messages import input_names, reserved_names, template_names
from promptops.engine.operations import InputField, OperationSpec
from promptops.engine.types import LLMMessage

TEXT = OperationSpec("polish", "Polishes.")
LIST = OperationSpec("go_on", "Continues.", input="list")
LINES = OperationSpec("name", "Names.", answer="lines", count=4)
FIELDS = OperationSpec(
    "plan", "Plans.", input="fields", fields=(InputField("scene"), InputField("mood", required=False)), answer="json"
)
VARIABLES = {"style": "noir", "trap": "{{ input }} {{ style }}"}


def sent(spec: OperationSpec, text: str, **more) -> list[LLMMessage]:
    request = build_request(
        spec, text, system_prompt="S", model="m", temperature=None, max_tokens=None, variables=VARIABLES, **more
    )
    return request.messages


@pytest.mark.parametrize(
    ("spec", "text", "template", "message"),
    [
        (TEXT, " a fox ", "", " a fox "),
        (TEXT, "{{ style }}", "", "{{ style }}"),
        (TEXT, "a fox", " \n", "a fox"),
        (TEXT, "a fox", "Polish: {{ input }}!", "Polish: a fox!"),
        (TEXT, "a fox", "{{input}} and {{ input }}", "a fox and a fox"),
        (TEXT, "a fox", "{{ input }} in {{ style }}", "a fox in noir"),
        # One pass: nothing that is put in is read again.
        (TEXT, "{{ style }} {{ input }}", "{{ input }}", "{{ style }} {{ input }}"),
        (TEXT, "a fox", "{{ trap }}", "{{ input }} {{ style }}"),
        (TEXT, "a fox", r"\{{ input }} {{ input }} { } }}", "{{ input }} a fox { } }}"),
        # Other kinds' names are no inputs.
        (TEXT, "a fox", "{{ input }} {{ prompts }} {{ count }}", "a fox {{ prompts }} {{ count }}"),
        (LIST, "one\ntwo", "So far:\n{{ prompts }}", "So far:\none\ntwo"),
        (LINES, "a fox", "{{ count }} x {{ input }}", "4 x a fox"),
        (FIELDS, '{"scene": "a fox", "mood": "calm"}', "{{ scene }} ({{ mood }})", "a fox (calm)"),
        (FIELDS, '{"scene": "{{ mood }}"}', "{{ scene }} ({{ mood }})", "{{ mood }} ()"),
        (FIELDS, '{"scene": "a fox"}', "", '{"scene": "a fox"}'),
    ],
)
def test_the_user_message(spec, text, template, message):
    assert sent(spec, text, user_template=template)[1:] == [LLMMessage("user", message)]


def test_the_count_of_a_run_is_filled_in():
    system, user = sent(LINES, "a fox", user_template="{{ count }} x {{ input }}", count=2)
    assert (system.content, user.content) == ("S\n\nWrite exactly 2 alternatives, one a line.", "2 x a fox")


def test_an_input_wins_over_a_variable_of_the_same_name():
    request = build_request(
        TEXT,
        "a fox",
        system_prompt="S",
        model="m",
        temperature=None,
        max_tokens=None,
        user_template="{{ input }}",
        variables={"input": "wrong"},
    )
    assert request.messages[1].content == "a fox"


def test_examples_come_between_system_and_user_as_they_are():
    messages = sent(TEXT, "a fox", user_template="> {{ input }}", examples=[("{{ input }}", "{{ style }}"), ("a", "b")])
    assert [(message.role, message.content) for message in messages] == [
        ("system", "S"),
        ("user", "{{ input }}"),
        ("assistant", "{{ style }}"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "> a fox"),
    ]


@pytest.mark.parametrize(
    ("spec", "text", "template", "sentence"),
    [
        (FIELDS, '{"scene": "x"}', "{{ mood }}", "user message of plan is empty"),
        (FIELDS, "a fox", "{{ scene }}", "input of plan is not a JSON object"),
        (TEXT, " ", "Polish {{ input }}", "input of polish is empty"),
    ],
)
def test_a_message_without_text_is_refused(spec, text, template, sentence):
    with pytest.raises(ValueError, match=sentence):
        sent(spec, text, user_template=template)


@pytest.mark.parametrize(
    ("spec", "inputs", "names"),
    [
        (TEXT, ("input",), ("input",)),
        (LIST, ("prompts",), ("prompts",)),
        (LINES, ("input",), ("input", "count")),
        (FIELDS, ("scene", "mood"), ("scene", "mood")),
    ],
)
def test_the_names_of_a_user_template(spec, inputs, names):
    assert (input_names(spec), template_names(spec)) == (inputs, names)


def test_reserved_names_include_the_fields():
    assert reserved_names(TEXT) == {"input", "prompts", "count"}
    assert reserved_names(FIELDS) == {"input", "prompts", "count", "scene", "mood"}
