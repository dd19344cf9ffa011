"""The migrations of the safety filter's choices and causes, with data, forward and back."""

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE, AFTER = "0024_safety_terms_revision", "0037_unmask_unjudged_inputs"


def unjudged(apps, number: int, **values):
    run = apps.get_model("promptops", "Run").objects.create(
        pk=number, source="preview", operation="enhance", temperature=1, max_tokens=1, latency_ms=1, revision=0,
        status="blocked", input="una casa", input_masked=True,
    )  # fmt: skip
    check = {"run": run, "side": "input", "decision": "unavailable", "mode": "enforce", "blocked": True}
    apps.get_model("promptops", "SafetyCheck").objects.create(**(check | values))


@pytest.mark.parametrize("choice", ["block", "allow"])
def test_both_choices_begin_as_the_one_and_checks_get_their_cause(migrate, choice):
    older = migrate(BEFORE)
    older.get_model("promptops", "SafetySettings").objects.update(when_unavailable=choice)
    causes = {
        1: ({"layer": "model", "reason": "The safety filter's model knows too few of the words"}, "language"),
        2: ({"layer": "model", "reason": "No category of the safety filter's model has a threshold"}, "down"),
        3: ({"reason": "The safety filter's model could not be loaded: x"}, "down"),
        4: ({"reason": "The safety filter could not judge this text: ValueError: x"}, "other"),
        5: ({"reason": "The safety filter could not be asked: RuntimeError"}, "other"),
        6: ({"layer": "model", "reason": ""}, "language"),  # erased
        7: ({"layer": "model", "decision": "block", "reason": "violence"}, ""),
    }
    for number, (values, _) in causes.items():
        unjudged(older, number, **values)
    newer = migrate(AFTER)
    config = newer.get_model("promptops", "SafetySettings").objects.get()
    assert (config.when_down, config.when_language) == (choice, choice)
    checks = newer.get_model("promptops", "SafetyCheck").objects
    assert dict(checks.values_list("run", "cause")) == {number: cause for number, (_, cause) in causes.items()}
    masked = newer.get_model("promptops", "Run").objects.filter(input_masked=True)
    assert list(masked.values_list("pk", flat=True)) == [7]
    newer.get_model("promptops", "SafetySettings").objects.update(when_language="block")
    older = migrate(BEFORE)
    assert older.get_model("promptops", "SafetySettings").objects.get().when_unavailable == "block"
    assert older.get_model("promptops", "Run").objects.filter(input_masked=True).count() == 7


def test_verdicts_on_erased_texts_leave_the_queue_and_the_indexes_come_and_go(migrate):
    older = migrate("0049_waiting_verdicts")
    for number, (queue, review) in enumerate([("blocked", ""), ("blocked", ""), ("reported", "wrong")], start=1):
        unjudged(older, number, queue=queue, review=review)
    runs = older.get_model("promptops", "Run").objects
    runs.filter(pk__gte=2).update(erased_at="2026-01-01T00:00Z")
    newer = migrate("0052_run_filters")
    checks = newer.get_model("promptops", "SafetyCheck").objects
    assert dict(checks.values_list("run", "queue")) == {1: "blocked", 2: "", 3: "reported"}
    assert alone() == set()
    migrate("0049_waiting_verdicts")
    assert alone() == {"template_id", "user_id", "revision"}
    migrate("0052_run_filters")
    assert alone() == set()


def test_waiting_verdicts_get_the_distance_of_their_leading_category(migrate):
    older = migrate("0112_second_stage")
    verdicts = {
        1: {"decision": "block", "queue": "blocked", "scores": {"hate": 0.9, "sexual": 0.8}, "category": "sexual"},
        2: {"decision": "allow", "queue": "borderline", "scores": {"hate": 0.5, "sexual": 0.1}},
        3: {"decision": "allow", "queue": "", "scores": {"hate": 0.5}},
        4: {"decision": "block", "queue": "blocked", "scores": {}},  # a denied term
    }
    shares = {1: 0.8 / 0.5, 2: 0.5 / 0.8, 3: 0.5, 4: None}
    for number, values in verdicts.items():
        unjudged(older, number, score=shares[number], **values)
    newer = migrate("0114_review_distance")
    distances = dict(newer.get_model("promptops", "SafetyCheck").objects.values_list("run", "distance"))
    assert distances == {1: pytest.approx(1.386, abs=0.001), 2: pytest.approx(1.386, abs=0.001), 3: None, 4: None}
    migrate("0112_second_stage")


def test_queued_verdicts_get_the_disagreement_of_the_stages(migrate):
    older = migrate("0112_second_stage")
    verdicts = {
        1: ({"queue": "blocked", "score": 1.05, "second_score": 0.2}, 0.85),
        2: ({"queue": "borderline", "score": 0.5, "second_score": 1.5}, 1.0),
        3: ({"queue": "blocked", "score": 1.0, "second_score": 2.0}, 0.0),
        4: ({"queue": "borderline", "score": 0.9, "second_score": 0.1}, 0.0),
        5: ({"queue": "blocked", "score": 1.05, "review": "right", "second_score": 0.2}, 0.85),
        6: ({"queue": "blocked", "score": 1.05}, None),
        7: ({"queue": "reported", "second_score": 1.5}, None),  # in a language that only the second stage reads
        8: ({"queue": "", "score": 0.5, "second_score": 1.5}, None),
    }
    for number, (values, _) in verdicts.items():
        unjudged(older, number, **values)
    newer = migrate("0118_stage_disagreement")
    found = dict(newer.get_model("promptops", "SafetyCheck").objects.values_list("run", "disagreement"))
    assert found == {number: value and pytest.approx(value) for number, (_, value) in verdicts.items()}
    again = migrate("0117_revoked_shares").get_model("promptops", "SafetyCheck").objects
    assert again.filter(second_score__gt=0).count() == 7
    migrate("0118_stage_disagreement")


def alone() -> set[str]:
    """Return the columns of runs among three that have an index of their own."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "promptops_run").values()
    single = {each["columns"][0] for each in found if each["index"] and len(each["columns"]) == 1}
    return single & {"template_id", "user_id", "revision"}
