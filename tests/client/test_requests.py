"""A server sends the same request, byte for byte, as PromptOps itself would."""

from __future__ import annotations

import json

import pytest

from promptops.client.contents import Content as Live
from promptops.client.runs import Wishes, plan_run
from promptops.engine.live_document import document_bytes, live_document, parse_document, read_live_document
from promptops.live import snapshots
from promptops.prompts.actions import operations, variables
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.content import Content, values_of
from promptops.prompts.models import Template
from promptops.runs.enums import RunSource
from promptops.runs.plans import RunPlan

CONTENTS = [
    Content("Polish it."),
    Content("Polish {{ style }}.", temperature=0.0, max_tokens=77, model="m-1", top_p=0.5, seed=3),
    Content("Polish.", reasoning_effort="low", user_template="Viewer: {{ input }} {{ style }}", examples="a\n=>\nb"),
]
SCENE = OperationFields(
    "Plans.",
    input="fields",
    fields=[{"name": "scene", "description": "", "required": True, "max_characters": None}],
    answer={"kind": "json", "schema": {"type": "object"}},
    max_tokens=99,
)


def requests(operation: str, text: str, count: int | None) -> tuple[object, object]:
    snapshot = snapshots.current()
    template = Template.objects.get(operation=operation, is_default=True)
    plan = RunPlan(
        operation=operation,
        input=text,
        content=Content(**values_of(template.live_version)),
        providers=snapshot.providers,
        snapshot=snapshot,
        source=RunSource.PREVIEW,
        count=snapshot.operation(operation).count_or_default(count),
    )
    document = parse_document(document_bytes(live_document(snapshot)))
    content = Live(read_live_document(document), document["sha256"], "control room")
    return plan.request(), plan_run(content, operation, text, Wishes(count=count)).request()


def written(request) -> str:
    values = {name: getattr(request, name) for name in request.__dataclass_fields__}
    return json.dumps(values, default=repr)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("content", CONTENTS)
def test_a_version_with_all_its_settings(content, publish, actor):
    variables.declare("enhance", "style", "as a {{ noir }} film", by=actor)
    publish("enhance", content.body, **{name: each for name, each in values_of(content).items() if name != "body"})
    of_promptops, of_server = requests("enhance", "a {{ style }} fox", None)
    assert written(of_promptops) == written(of_server)


@pytest.mark.django_db(transaction=True)
def test_alternatives_and_fields(publish, actor):
    operations.add("plan", SCENE, by=actor)
    publish("plan", "Plan it.", operation="plan")
    for operation, text, count in (
        ("rewrite", "a fox", None),
        ("rewrite", "a fox", 5),
        ("plan", '{"scene": "x"}', None),
    ):
        if operation == "rewrite" and count is None:
            publish("rewrite", "Offer.")
        of_promptops, of_server = requests(operation, text, count)
        assert written(of_promptops) == written(of_server)
