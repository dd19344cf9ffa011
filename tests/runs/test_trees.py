"""The tree of a JSON answer: escaped, bounded, and beside the text."""

import json
import re

import pytest
from django.utils.html import escape

from promptops.prompts.actions import operations
from promptops.prompts.actions.operations import OperationFields
from promptops.runs.trees import MAX_LEAF_CHARACTERS, MAX_VALUES, read_tree, tree_of
from tests.factories import make_run


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"title": "A fox"}, '<dt dir="auto">title</dt><dd><span class="pre" dir="auto">A fox</span></dd>'),
        ({"a": None}, "<code>null</code>"),
        ({"a": True}, "<code>true</code>"),
        ({"a": 1.5}, "<code>1.5</code>"),
        ({"a": ""}, "<code>&quot;&quot;</code>"),
        ({"a": []}, "<code>[]</code>"),
        ({"a": [1]}, "<summary>1 item</summary>"),
        ({"a": {"b": 1, "c": 2}}, "<summary>2 keys</summary>"),
        ([{"b": 1}], '<dt dir="auto">1</dt>'),
        ({}, "<code>{}</code>"),
    ],
)
def test_each_kind_of_value(value, shown):
    assert shown in tree_of(value)
    assert shown in read_tree(json.dumps(value))


@pytest.mark.parametrize("text", ["", "a fox", "{", '"a"', "1", "[" * 100_000, "1" * 5_000])
def test_a_text_that_is_no_object_or_list_has_no_tree(text):
    assert read_tree(text) == ""


def test_keys_and_texts_are_escaped():
    evil = "<script>alert(1)</script>"
    shown = tree_of({evil: evil, "list": [evil]})
    assert "<script" not in shown
    assert shown.count(escape(evil)) == 3


def test_a_tree_is_bounded():
    wide = tree_of({"numbers": list(range(10_000)), "more": 1})
    assert wide.count("<dt") <= MAX_VALUES + 3
    assert "<dd>9,501 more</dd>" in wide
    assert "<dd>1 more</dd>" in wide
    assert len(tree_of(["x" * 100_000])) < MAX_LEAF_CHARACTERS + 300
    deep: list = []
    for _ in range(60):
        deep = [deep]
    shown = tree_of(deep)
    assert shown.count("<details") == 59
    assert shown.count("<details open") == 2
    for tag in ("dl", "dt", "dd", "details", "summary"):
        assert len(re.findall(f"<{tag}[ >]", shown)) == shown.count(f"</{tag}>")


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_is_masked_or_erased_has_no_tree(client_for, viewer, actor):
    answer = {"kind": "json", "schema": {"type": "object"}}
    operations.add("plan", OperationFields("Plans.", answer=answer), by=actor)
    client = client_for(viewer)
    run = make_run(operation="plan", output='{"title": "A fox"}')
    assert 'class="tree"' in client.get(f"/runs/{run.pk}/").content.decode()
    masked = make_run(operation="plan", output='{"title": "A fox"}', input_masked=True, output_masked=True)
    page = client.get(f"/runs/{masked.pk}/").content.decode()
    assert "A fox" not in page
    assert 'class="tree"' not in page
    broken = make_run(operation="plan", output="no JSON")
    assert ">no JSON</div>" in client.get(f"/runs/{broken.pk}/").content.decode()
