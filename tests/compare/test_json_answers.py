"""Comparisons of an operation with named fields and JSON answers: inputs field by field, answers to read, breaches."""

import json
import re

import pytest
from django.urls import reverse

from promptops.compare.models import Trial
from promptops.compare.queries import matrix as queries
from promptops.prompts.actions import operations
from promptops.prompts.actions.operations import OperationFields
from promptops.runs.models import Run
from tests.comparing import answer
from tests.factories import arm_of, make_provider, start_comparison

pytestmark = pytest.mark.django_db

FIELDS = [
    {"name": name, "description": "", "required": name == "scene", "max_characters": None} for name in ("scene", "mood")
]
SCHEMA = {"type": "object", "required": ["scenes"], "properties": {"scenes": {"type": "array"}}}
INPUT = json.dumps({"scene": "a <b>fox</b>", "mood": "calm"})


def answer_of(trial: Trial) -> str | None:
    """Return a JSON answer; arm B has another last scene, and fails on the second input."""
    if trial.arm.letter == "B" and trial.input.position == 1:
        return None
    return json.dumps({"scenes": ["dawn & <i>dew</i>", "dusk" if trial.arm.letter == "A" else "night"]})


@pytest.fixture
def planned(publish, actor):
    fields = OperationFields("Plans.", input="fields", fields=FIELDS, answer={"kind": "json", "schema": SCHEMA})
    operations.add("plan", fields, by=actor)
    provider = make_provider()
    texts = ("Write scenes as JSON.", "Plan scenes as JSON.")
    arms = [arm_of(publish("plan", text, operation="plan"), provider) for text in texts]
    comparison = start_comparison(arms, [INPUT, json.dumps({"scene": "a hen"})], by=actor)
    answer(comparison, answer_of)
    Run.objects.update(contract="at_once")
    Run.objects.filter(trial__arm__position=0, trial__input__position=1).update(contract="repaired")
    Run.objects.filter(status="failed").update(contract="breached", error="p1 broke the contract: no scenes")
    return comparison


def page_of(client, name: str, *args, query: str = "") -> str:
    page = client.get(reverse(name, args=args) + query)
    assert page.status_code == 200
    return " ".join(page.content.decode().split())


def assert_shows_the_input(page: str) -> None:
    assert re.search(r'<dt>scene</dt>\s*<dd class="pre anywhere" dir="auto">a &lt;b&gt;fox&lt;/b&gt;</dd>', page)
    assert re.search(r'<dt>mood</dt>\s*<dd class="pre anywhere" dir="auto">calm</dd>', page)
    assert "&quot;mood&quot;" not in page


def test_the_matrix_shows_fields_and_json_on_lines_and_marks_what_differs(planned, client_for, viewer):
    page = page_of(client_for(viewer), "comparison", planned.pk)
    assert_shows_the_input(page)
    assert "<ins>night</ins>" in page
    assert "<i>dew</i>" not in page
    assert page.count("broke the contract</span>") == 1
    assert page.count("repaired</span>") == 1
    texts = queries.matrix(planned, queries.Filters(), is_json=True).rows[0].cells[0].pieces
    assert "".join(piece.text for piece in texts) == json.dumps(json.loads(answer_of(planned.trials.first())), indent=2)


def test_the_matrix_shows_only_inputs_on_which_an_arm_broke_the_contract(planned, client_for, viewer):
    page = page_of(client_for(viewer), "comparison", planned.pk, query="?show=breached")
    assert 'data-label="Input 2"' in page
    assert 'data-label="Input 1"' not in page


def test_two_answers_are_trees_and_their_difference_goes_by_lines(planned, client_for, viewer):
    client = client_for(viewer)
    page = page_of(client, "comparison", planned.pk, query="?pair=1")
    assert_shows_the_input(page)
    assert page.count('<dl class="tree">') == 4  # an object with a list, on both sides
    assert re.search(r"<ins>(<bdi[^>]*>[^<]*</bdi>)?\s*&quot;night&quot;", page)
    assert "broke the contract</span>" in page_of(client, "comparison", planned.pk, query="?pair=2")


def test_a_ballot_shows_fields_and_trees(planned, client_for, editor):
    page = page_of(client_for(editor), "comparison_vote", planned.pk)
    assert_shows_the_input(page)
    assert page.count('<dl class="tree">') == 4
    assert "<i>dew</i>" not in page


def test_the_verdict_and_the_report_say_how_many_answers_of_each_arm_broke_the_contract(planned, client_for, viewer):
    for name in ("comparison", "comparison_report"):
        page = page_of(client_for(viewer), name, planned.pk)
        row = page.split("Contract breached</th>", 1)[1].split("</tr>", 1)[0]
        assert [int(number) for number in re.findall(r"(\d+) <span", row)] == [0, 1]
        assert row.count("of 2</span>") == 2
    assert_shows_the_input(page)


def test_other_answers_stay_as_they_are(publish, actor, client_for, viewer):
    provider = make_provider()
    arms = [arm_of(publish("enhance", text), provider) for text in ("One.", "Two.")]
    comparison = start_comparison(arms, ['{"scene": "x"}'], by=actor)
    answer(comparison, lambda trial: f'[{{"a": "{trial.arm.letter}"}}]')
    for query in ("", "?pair=1"):
        page = page_of(client_for(viewer), "comparison", comparison.pk, query=query)
        assert "[{&quot;a&quot;: &quot;A&quot;}]" in page
        assert "{&quot;scene&quot;: &quot;x&quot;}" in page
        assert "tree" not in page
