"""The checks before publishing: always the same list, each passed or failed with sentences."""

import pytest

from promptops.engine.contracts import JsonContract
from promptops.engine.operations import InputField, OperationSpec
from promptops.prompts.checks import check_content, contract_checks, failures, findings, run_checks
from promptops.prompts.content import Content

VALUES = {"season": "winter", "long": "x" * 4000, "empty": ""}
NAMES = ["Not blank", "Readable", "Length", "Braces", "Variables"]


@pytest.mark.parametrize(
    ("body", "failed", "sentence"),
    [
        ("A prompt.", [], ""),
        ("In {{ season }}, {{ empty }}.", [], ""),
        ('{"a": {"b": 1}} \\{{ x }}', [], ""),
        ("", ["Not blank"], "blank"),
        (" \r\n ", ["Not blank"], "blank"),
        ("{{ empty }}", ["Not blank"], "With its variables filled in"),
        ("a\x00b", ["Readable"], "NUL"),
        ("a\ufffdb", ["Readable"], "broken UTF-8"),
        (f"a{chr(0xD800)}b", ["Readable"], "broken UTF-8"),
        ("x" * 65536, [], ""),
        ("x" * 65537, ["Length"], "65,537 bytes"),
        ("é" * 32769, ["Length"], "65,538 bytes"),
        ("{{ long }}" * 17, ["Length"], "With its variables filled in, the prompt is 68,000 bytes"),
        ("{{long}}" * 8192, ["Length"], "32,768,000 bytes"),
        ("{{ sesaon }}", ["Variables"], "Line 1, column 1: {{ sesaon }} is not declared. Did you mean {{ season }}?"),
        ("{{ season", ["Braces"], "never closed"),
        ("{{ x }} {{", ["Braces", "Variables"], "Line 1, column 9: {{ is never closed"),
        ("\x00 {{ x }} {{", ["Readable", "Braces", "Variables"], "NUL"),
    ],
)
def test_a_failed_check_explains_why(body, failed, sentence):
    checks = run_checks(body, VALUES)
    assert [check.name for check in checks] == NAMES
    assert [check.name for check in checks if not check.passed] == failed
    assert all(check.sentences and all(check.sentences) for check in checks)
    assert sentence in " ".join(failures(checks))


def test_a_passed_check_has_a_sentence_too():
    sentences = {check.name: check.sentences for check in run_checks("In {{ season }}.\r\n", VALUES)}
    assert sentences["Length"] == ("10 of 65,536 bytes, about 3 tokens, with variables filled in.",)
    assert sentences["Variables"] == ("Declared: season.",)
    assert run_checks("Text.", {})[2].sentences == ("5 of 65,536 bytes, about 2 tokens.",)


def test_findings_come_in_the_order_of_the_texts_and_count_lines_as_typed():
    content = Content("\n\n {{ x }} {{", user_template="{{ y }}", examples="a fox")
    found = [
        (finding.field, finding.sentence.partition(":")[0]) for finding in findings(check_content(content, {}, TEXT))
    ]
    assert found == [
        ("body", "Line 3, column 2"),
        ("body", "Line 3, column 10"),
        ("user_template", "User template"),
        ("user_template", "User template"),
        ("examples", "Example 1 has no line => between the user's text and the assistant's."),
    ]


def test_many_mistakes_give_few_sentences():
    sentences = failures(run_checks("{{ x }} " * 50, {}))
    assert len(sentences) == 6
    assert sentences[-1] == "There are more problems like these."


TEXT = OperationSpec("polish", "Polishes.")
LINES = OperationSpec("name", "Names.", input="list", answer="lines", count=3)
MORE = InputField("more", required=False)
PLAN = OperationSpec("plan", "Plans.", input="fields", fields=(InputField("scene"), InputField("mood"), MORE))
NOIR = {"style": "noir", "input": "old", "none": ""}


@pytest.mark.parametrize(
    ("spec", "template", "sentences"),
    [
        (TEXT, "{{ input }}", ["input is the name of an input and of a variable. Declare"]),
        (LINES, "{{ prompts }} {{ count }} {{ style }}", []),
        (LINES, "{{ prompts }}{{ scene }}", ["Line 1, column 14: {{ scene }} is not declared."]),
        (PLAN, "{{ mood }}", []),
        (PLAN, "{{ scene }} {{ count }}", ["Line 1, column 13: {{ count }} is not declared."]),
        (PLAN, "{{ style }}", ["it does not use the input. Add {{ scene }} or {{ mood }} or {{ more }}."]),
        (PLAN, "{{ more }} {{ none }}", ["it is empty when no optional field is filled in. Add text, or a required"]),
        (PLAN, "More: {{ more }}", []),
        (PLAN, "{{ scene }}" * 21, ["it uses the input 21 times; at most 20 are allowed."]),
        (PLAN, "{{ scene }} {{ a", ["Line 1, column 13: {{ is never closed."]),
        (PLAN, "{{ scene }}" + "x" * 65_536, ["the text is 65,547 bytes; at most 65,536 (64 KiB) are allowed."]),
        (PLAN, "{{ scene }}" + "{{ style }}" * 5_900, []),
        (PLAN, "{{ scene }} \ufffd", ["the text holds broken UTF-8"]),
    ],
)
def test_a_user_template_is_checked_for_its_operation(spec, template, sentences):
    checks = check_content(Content("Text.", user_template=template), NOIR, spec)
    (check,) = [check for check in checks if check.name == "User template"]
    assert (check.passed, failures(checks)) == (not sentences, list(check.sentences) if sentences else [])
    if sentences:
        assert len(check.sentences) == len(sentences)
        for shown, wanted in zip(check.sentences, sentences, strict=True):
            assert shown.startswith(f"User template: {wanted}")


def test_long_values_count_in_a_user_template():
    content = Content("Text.", user_template="{{ scene }}" + "{{ style }}" * 20)
    (sentence,) = failures(check_content(content, {"style": "x" * 4_000}, PLAN))
    assert sentence == ("User template: with its variables filled in it is 80,000 bytes; at most 65,536 are allowed.")


def test_examples_are_checked():
    assert failures(check_content(Content("Text.", examples="a fox"), {}, TEXT)) == [
        "Example 1 has no line => between the user's text and the assistant's."
    ]
    checks = check_content(Content("Text.", examples="a\n=>\nb {{ x }}"), {}, TEXT)
    assert (failures(checks), checks[-1].sentences) == ([], ("1 pair, sent as they are.",))


def test_what_is_not_set_has_no_check():
    assert check_content(Content("Text."), {}, TEXT) == run_checks("Text.", {})


SCENES = OperationSpec(
    "plan",
    "Plans.",
    input="fields",
    fields=(InputField("old_scene"),),
    answer="json",
    contract=JsonContract.of({"type": "object", "required": ["scenes"], "properties": {"scenes": {"type": "array"}}}),
)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('Write JSON: {"scenes": ["..."]}', ""),
        ('The field "old_scene" is the last one. Write JSON: {"scenes": ["..."]}', ""),
        ('Write JSON. {{ keys }} The key "season" is no key.', ""),
        ('Write JSON: {"scene_list": []}', "names the key scene_list, which the contract does not have"),
        ("Write a list of scene.", "never names the key scenes, which the contract requires"),
    ],
)
def test_a_text_that_contradicts_its_contract_passes_with_a_warning(body, sentence):
    [check] = contract_checks(Content(body), {"keys": 'Use the key "scenes".', "season": "winter"}, SCENES)
    assert (check.name, check.passed, check.warns) == ("Contract", True, bool(sentence))
    assert sentence in " ".join(check.sentences)
    assert failures([check]) == []


def test_other_contracts_have_no_such_check():
    assert contract_checks(Content("Polish."), {}, OperationSpec("enhance", "Polishes.")) == []


def test_the_answer_rules_of_a_version_count_as_a_part_of_its_contract():
    text = 'Write JSON: {"scenes": ["..."], "style": "noir"}'
    [check] = contract_checks(Content(text), {}, SCENES)
    assert "names the key style, which the contract does not have" in check.sentences[0]
    [check] = contract_checks(Content(text, answer_rules='{"properties": {"style": {}}}'), {}, SCENES)
    assert not check.warns
    [check] = contract_checks(Content("Write JSON: scenes", answer_rules='{"required": ["style"]}'), {}, SCENES)
    assert check.sentences == ("The text never names the key style, which the contract requires.",)
