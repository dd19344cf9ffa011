"""What the last training changed: two models on the same past runs, in bounded steps."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.runs.models import Run, SafetyCheck
from promptops.safety.models import SafetyModelVersion, SafetySettings
from promptops.safety.queries import replay
from promptops.safety.queries.retraining import Retraining, retraining
from tests.safety.helpers import BAD, OWN, make_run, second_model

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_scores(monkeypatch):
    monkeypatch.setattr(replay, "_scores", replay.Cache(8 * replay.RUNS))


@pytest.fixture
def newer() -> SafetyModelVersion:
    """Return a second model with the same file, and the lowest threshold for violence."""
    version = second_model()
    version.manifest["thresholds"] = version.manifest["thresholds"] | {"violence": 0.01}
    version.save()
    return version


def verdict(text: str, score: float, **fields) -> SafetyCheck:
    given = {"side": "input", "decision": "allow", "layer": "model", "mode": "shadow"}
    given["model"] = SafetyModelVersion.objects.get(number=1)
    scores = dict.fromkeys(map(str, OWN), 0.0) | {"violence": score}
    return SafetyCheck.objects.create(run=make_run(input=text), scores=scores, **given | fields)


def changed(newer: SafetyModelVersion, budget: float = 30) -> Retraining:
    config = SafetySettings.objects.select_related("model").get(pk=1)
    return retraining(config, config.model, newer, budget)


def test_runs_that_only_one_model_blocks_are_counted_and_listed(newer):
    gory = "gore and entrails scattered on the floor"  # under the first model's threshold
    passing, both = verdict(gory, 0.55), verdict(BAD, 0.99, decision="block")
    verdict("a lantern drifts over the quiet plaza", 0.0)
    result = changed(newer)
    assert (result.runs, result.new, result.gone, result.waiting) == (3, 1, 0, 0)
    assert [(row.run, row.what, row.category, row.threshold) for row in result.rows] == [
        (passing.run, "new", "violence", 0.01)
    ]
    assert both.run not in [row.run for row in result.rows]

    operators = SafetySettings.objects.get(pk=1)
    operators.thresholds = {"violence": 0.9}
    operators.save()
    assert changed(newer).new == 0  # thresholds of operators hold for both models


def test_runs_that_only_the_older_model_blocks(newer):
    newer.manifest["thresholds"] = dict.fromkeys(newer.manifest["thresholds"], 1.0)
    newer.save()
    check = verdict(BAD, 0.99, decision="block")
    result = changed(newer)
    assert (result.new, result.gone) == (0, 1)
    assert [(row.run, row.what) for row in result.rows] == [(check.run, "gone")]


def test_reviewed_texts_count_beyond_the_recent_runs_and_come_first(newer, monkeypatch):
    monkeypatch.setattr(replay, "RUNS", 1)
    gory = "gore and entrails scattered on the floor"
    old = verdict(gory, 0.55, review="wrong")
    verdict(gory, 0.55, review="disputed")  # nobody knows yet
    newest = verdict(gory, 0.55)
    result = changed(newer)
    assert (result.reviewed.texts, result.reviewed.before, result.reviewed.after) == (1, 0, 1)
    assert [row.run for row in result.rows] == [old.run, newest.run]


def test_the_scoring_goes_on_until_nothing_waits(newer):
    for number in range(5):
        verdict(f"a lantern drifts over plaza {number}", 0.0)
    first = changed(newer, 0)
    assert (first.rescored, first.waiting, first.runs) == (5, 5, 0)
    assert changed(newer).waiting == 0
    assert changed(newer, 0).runs == 5  # the scores are kept


def test_erased_texts_are_in_no_comparison(newer):
    verdict(BAD, 0.99, review="right")
    Run.objects.update(erased_at=timezone.now())
    result = changed(newer)
    assert (result.runs, result.reviewed.texts, result.rows) == (0, 0, [])


def test_the_page_shows_both_models_side_by_side(client_for, viewer, newer):
    for _ in range(3):
        verdict("gore and entrails scattered on the floor", 0.55)
    client, address = client_for(viewer), reverse("safety_models")
    client_for(viewer, htmx=True).get(address, {"score": "1"})
    html = client.get(address).content.decode()
    card = html.partition('id="model-retraining"')[2].partition("</section>")[0]
    assert "3 more blocked" in card
    assert re.search(r"Recall</th>\s*<td>[\d.]+%</td>\s*<td>[\d.]+%</td>", card)
    assert card.count('class="cover') == 3
    with CaptureQueriesContext(connection) as few:
        client.get(address)
    for _ in range(40):
        verdict("gore and entrails scattered on the floor", 0.55)
    client_for(viewer, htmx=True).get(address, {"score": "1"})
    with CaptureQueriesContext(connection) as many:
        client.get(address)
    assert len(many) == len(few)


def test_without_a_second_model_there_is_nothing_to_compare(client_for, viewer):
    assert "model-retraining" not in client_for(viewer).get(reverse("safety_models")).content.decode()
