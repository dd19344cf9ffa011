"""The registry of operations."""

from collections.abc import Iterator

import pytest

from promptops.engine import BUILT_IN_PROMPTS, PromptOperation, RewriteOptions, build_request, operations
from promptops.engine.contracts import LinesContract
from promptops.engine.operations import OPERATIONS, InputField, OperationSpec, operation_spec, register_operation

CAPTION = {"name": "caption", "purpose": "Names a clip.", "default_text": "Name it.", "samples": ("a fox",)}


@pytest.fixture
def unregistered() -> Iterator[None]:
    """Remove the operations that the test registers."""
    names = set(OPERATIONS)
    yield
    for name in OPERATIONS.keys() - names:
        del operations._specs[name]


def test_the_operations_of_the_contract_are_registered_in_its_order() -> None:
    assert list(OPERATIONS) == [operation.value for operation in PromptOperation]
    assert {name: operation_spec(name).default_text for name in PromptOperation} == dict(BUILT_IN_PROMPTS)


@pytest.mark.parametrize(
    ("name", "wanted", "count"),
    [
        ("enhance", None, None),
        ("enhance", 4, None),
        ("auto_extend", None, None),
        ("rewrite", None, 3),
        ("rewrite", 5, 5),
        ("rewrite", 0, 3),
    ],
)
def test_alternatives_are_counted_where_an_answer_is_several(name, wanted, count) -> None:
    assert operation_spec(name).count_or_default(wanted) == count


def test_the_number_of_alternatives_has_one_default() -> None:
    assert operation_spec("rewrite").count == RewriteOptions().count == 3


@pytest.mark.parametrize(
    "facts",
    [
        {"name": ""},
        {"name": "x" * 41},
        {"answer": "lines"},
        {"count": 3},
        {"input": "fields"},
        {"fields": (InputField("scene"),)},
        {"input": "list", "on_failure": "input"},
        {"contract": LinesContract(2)},
    ],
    ids=[
        "no name",
        "a name too long for its column",
        "lines without a count",
        "a count of one text",
        "no fields",
        "fields of one text",
        "a list that goes on",
        "a contract of another kind",
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(facts) -> None:
    with pytest.raises(
        ValueError, match=r"name of an operation|needs a count|needs fields|pass its input on|its contract is"
    ):
        OperationSpec(**CAPTION | facts)


def test_an_unknown_operation_and_a_name_that_is_taken_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown operation 'paint'; known are enhance, auto_extend, rewrite"):
        operation_spec("paint")
    with pytest.raises(ValueError, match="already registered"):
        register_operation(OperationSpec(**CAPTION | {"name": "enhance"}))


@pytest.mark.usefixtures("unregistered")
def test_a_registered_operation_builds_requests() -> None:
    register_operation(OperationSpec(**CAPTION, answer="lines", count=2))
    wanted = {"system_prompt": "Name it.", "model": "m", "temperature": 0, "max_tokens": 9, "count": 2}
    request = build_request("caption", "a fox", **wanted)
    assert request.messages[0].content == "Name it.\n\nWrite exactly 2 alternatives, one a line."
    assert request.answer == "lines"


def test_a_json_answer_is_handed_on_as_it_came() -> None:
    spec = OperationSpec("plan", "Plans a scene.", answer="json")
    request = build_request(spec, "a fox", system_prompt="Plan.", model="m", temperature=0, max_tokens=9)
    assert request.answer is None


@pytest.mark.parametrize(("hedge", "delay"), [("p95", None), ("70", 70)])
def test_hedging_is_the_operations_own(hedge, delay) -> None:
    policy = OperationSpec("plan", "Plans.", hedge=hedge).hedge_policy
    assert policy is not None
    assert policy.delay_ms == delay
    assert OperationSpec("plan", "Plans.").hedge_policy is None
