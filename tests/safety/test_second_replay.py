"""The effect of other settings of the second stage on past texts: the figures, and the page over HTTP."""

from dataclasses import replace
from itertools import product

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.engine.judging import SafetyChecked
from promptops.engine.safety import second_stage
from promptops.engine.safety.second_stage import SecondVerdict, shipped_head, together
from promptops.engine.safety.verdicts import SafetyCategory, SafetyLayer, SafetyVerdict, VerdictDecision
from promptops.live import snapshots as live
from promptops.runs.actions.records import _safety_check
from promptops.runs.models import Run, SafetyCheck
from promptops.safety.models import SafetyModelVersion, SafetySettings
from promptops.safety.queries.second_replay import SecondReplay, replay
from tests.safety.helpers import OWN, change, make_run

pytestmark = pytest.mark.django_db(transaction=True)

AT_THE_LIMIT = OWN["violence"]
HARMFUL, DOUBTED, CLEAR = 0.97, 0.5, 0.05
"""Scores of the first stage: it blocks, is near enough to ask a second stage, or clears."""
FOREIGN = {"decision": "unavailable", "cause": "language", "language": "French", "scores": {}}


def text(score: float = DOUBTED, second: float | None = None, **fields) -> SafetyCheck:
    given = {"decision": "allow", "layer": "model", "scores": {"violence": score}, "second_score": second}
    given |= {"second_category": None if second is None else "", "second_threshold": fields.get("second_threshold")}
    run = make_run(input=f"text {Run.objects.count()}")
    model = SafetyModelVersion.objects.get(number=1)
    return SafetyCheck.objects.create(run=run, side="input", mode="shadow", **{"model": model} | given | fields)


def replayed(now: dict, then: dict) -> SecondReplay:
    spec = live.current().safety
    return replay(*(replace(spec, **{f"second_{name}": value for name, value in each.items()}) for each in (now, then)))


def counts(result: SecondReplay) -> tuple[int, int, int]:
    return result.blocked, result.passed, result.unscored


DECISIONS = {True: VerdictDecision.BLOCK, False: VerdictDecision.ALLOW}
SHADOW, ENFORCE, ALL = {"mode": "shadow"}, {"mode": "enforce"}, {"mode": "enforce", "scope": "all"}


@pytest.mark.parametrize(
    ("fields", "now", "then", "expected"),
    [
        ({"second": 2.5}, SHADOW, ENFORCE, (1, 0, 0)),
        ({"second": 2.5}, ENFORCE, SHADOW, (0, 1, 0)),
        ({"second": 2.5}, {"mode": "off"}, SHADOW, (0, 0, 0)),
        ({"second": 0.1}, SHADOW, ENFORCE, (0, 0, 0)),
        ({"score": HARMFUL, "second": 0.1}, SHADOW, ENFORCE, (0, 1, 0)),
        ({"score": HARMFUL, "second": 2.5}, SHADOW, ENFORCE, (0, 0, 0)),
        ({"score": CLEAR, "second": 2.7}, SHADOW, ENFORCE, (0, 0, 0)),  # not asked
        ({"score": CLEAR, "second": 2.7}, ENFORCE, ALL, (1, 0, 0)),
        ({"score": CLEAR}, ENFORCE, ALL, (0, 0, 1)),
        ({"score": CLEAR}, SHADOW, ENFORCE, (0, 0, 0)),
        ({}, SHADOW, ENFORCE, (0, 0, 1)),
        ({}, {"mode": "off"}, SHADOW, (0, 0, 0)),
        ({"second": 2.5}, ENFORCE, {"mode": "enforce", "threshold": 0.99}, (0, 1, 0)),
        ({"second": 0.9}, ENFORCE, {"mode": "enforce", "threshold": 0.05}, (1, 0, 0)),
        # The share is one of the threshold at that time: 0.45 x 0.8 would be under the stage's own.
        ({"second": 0.9, "second_threshold": 0.8}, SHADOW, ENFORCE, (1, 0, 0)),
        ({"second": 0.45, "second_threshold": 0.8}, SHADOW, ENFORCE, (0, 0, 0)),
        # Recorded while the second stage was enforced: the scores are still those of the first stage.
        ({"second": 2.5, "decision": "block", "layer": "sentences"}, ENFORCE, SHADOW, (0, 1, 0)),
        ({"decision": "unavailable", "cause": "down", "layer": "", "second_category": ""}, SHADOW, ENFORCE, (0, 0, 1)),
        # Languages that only the second stage reads: the settings block what nothing can judge.
        ({"second": 0.2} | FOREIGN, SHADOW, ENFORCE, (0, 1, 0)),
        ({"second": 1.2} | FOREIGN, SHADOW, ENFORCE, (0, 0, 0)),
        (FOREIGN, SHADOW, ENFORCE, (0, 0, 1)),
        ({"second": 0.2, "layer": "sentences", "scores": {}}, ENFORCE, SHADOW, (1, 0, 0)),
        # Nothing asks the second stage about these.
        ({"layer": "deny_terms", "decision": "block", "scores": {}}, SHADOW, ALL, (0, 0, 0)),
        ({"layer": "", "decision": "unavailable", "cause": "down", "scores": {}}, SHADOW, ALL, (0, 0, 0)),
    ],
)  # fmt: skip
def test_settings_are_replayed_by_the_rule_that_judges_runs(fields, now, then, expected):
    text(**fields)
    assert counts(replayed(now, then)) == expected


def test_the_replay_of_what_shadow_recorded_is_what_enforcing_does():
    safety, head = live.current().safety, shipped_head()
    thresholds = safety.policy.thresholds
    changed = {}
    for first_score, second_score in product((0.3, 0.7, 0.93, 0.95, 0.99), (0.01, 0.2, 0.36, 0.37, 0.6, 0.95)):
        is_block = first_score >= thresholds[SafetyCategory.VIOLENCE]
        scores = {SafetyCategory.VIOLENCE: first_score}
        first = SafetyVerdict(DECISIONS[is_block], SafetyLayer.MODEL, scores=scores)
        decision = DECISIONS[second_score >= head.threshold]
        second = SecondVerdict(decision, head.threshold, second_score, combined=head.combined)
        both, run = together(first, second, thresholds), make_run()
        _safety_check(run, SafetyChecked("input", first, False, second=second, both=both), safety).save()
        if both.decision is not first.decision:
            changed[run.pk] = both.decision is VerdictDecision.BLOCK
    assert set(changed.values()) == {True, False}
    result = replayed(SHADOW, ALL)
    assert {row.run.pk: row.is_blocked for row in result.rows} == changed


def test_a_language_that_is_let_pass_changes_what_the_second_stage_changes():
    change(when_language="allow")
    text(second=1.2, **FOREIGN)
    text(second=0.2, **FOREIGN)
    assert counts(replayed(SHADOW, ENFORCE)) == (1, 0, 0)


def test_present_thresholds_of_the_first_stage_count():
    text(score=0.8, second=0.1)
    assert counts(replayed(SHADOW, ENFORCE)) == (0, 0, 0)
    change(thresholds={"violence": 0.7})
    assert counts(replayed(SHADOW, ENFORCE)) == (0, 1, 0)


def test_rows_are_the_newest_with_both_shares():
    first = text(score=HARMFUL, second=0.5)
    second = text(second=2.5)
    third = text(second=1.5, **FOREIGN | {"language": "Spanish", "decision": "allow"})
    change(when_language="allow")
    text(second=2.5)
    Run.objects.filter(pk=Run.objects.latest("pk").pk).update(erased_at=timezone.now())
    result = replayed(SHADOW, {"mode": "enforce", "threshold": 0.5})
    own = shipped_head().threshold
    shown = [(row.run.pk, row.is_blocked, row.first, row.second) for row in result.rows]
    assert shown == [
        (third.run_id, True, None, pytest.approx(1.5 * own / 0.5)),
        (second.run_id, True, pytest.approx(DOUBTED / AT_THE_LIMIT), pytest.approx(2.5 * own / 0.5)),
        (first.run_id, False, pytest.approx(HARMFUL / AT_THE_LIMIT), pytest.approx(0.5 * own / 0.5)),
    ]
    assert (result.texts, result.unshown) == (3, 0)


def test_texts_that_another_model_judged_are_counted_apart():
    text(second=2.5, model=None)
    result = replayed(SHADOW, ENFORCE)
    assert (counts(result), result.of_others) == ((0, 0, 0), 1)


def test_a_long_past_costs_the_same_two_queries(monkeypatch):
    for _ in range(60):
        text(second=2.5)
    monkeypatch.setattr(second_stage.SecondStage, "judge", None)  # nothing is encoded
    live.current()
    with CaptureQueriesContext(connection) as made:
        result = replayed(SHADOW, ENFORCE)
    assert (len(made), len(result.rows), result.unshown) == (2, 50, 10)


# ------------------------------------------------------------------------------------------------------- the page


def of(client, **given) -> str:
    answer = client.get(reverse("safety"), given, headers={"HX-Request": "true", "HX-Target": "second-replay"})
    return " ".join(answer.content.decode().split())


def test_the_page_shows_the_effect_before_a_release_and_the_address_has_it(client, make_user):
    client.force_login(make_user("releaser"))
    blocked, _, _ = text(second=2.5), text(), text(score=HARMFUL, second=0.1)
    page = client.get(reverse("safety")).content.decode()
    assert "Choose other settings to see their effect" in page
    assert "more blocked" not in page
    given = {"second_mode": "enforce", "second_scope": "doubtful", "second_threshold": ""}
    part = of(client, **given)
    for words in ("1 more blocked", "1 no longer blocked", "of the newest 3 texts", f"/runs/{blocked.run_id}/"):
        assert words in part
    assert "1 text has no recorded score of the second stage" in part
    assert "<form" not in part
    answer = client.get(reverse("safety"), given, headers={"HX-Request": "true", "HX-Target": "second-replay"})
    assert answer["HX-Replace-Url"] == f"{reverse('safety')}?second_mode=enforce"
    shared = client.get(answer["HX-Replace-Url"]).content.decode()
    assert "1 more blocked" in shared
    assert '<option value="enforce" selected>' in shared
    assert SafetySettings.objects.get().second_mode == "off"

    review = client.post(
        reverse("safety_second_stage"), given | {"expected": "0"}, headers={"HX-Request": "true"}
    ).content.decode()
    assert "Of the newest 3 texts, these settings would have blocked 1 that passed, and let 1 pass" in review
    assert "The effect on 1 text is unknown." in review
    assert "Every server switches" in review


def test_what_cannot_be_replayed_says_why(client, make_user, monkeypatch):
    client.force_login(make_user("releaser"))
    assert "Choose other settings" in of(client, second_mode="off")
    assert "No past texts yet" in of(client, second_mode="enforce")
    text(score=0.94)
    assert "No known verdict changes" in of(client, second_mode="shadow")
    assert "from 0.01 to 1" in of(client, second_threshold="7")
    assert "maybe" in of(client, second_mode="maybe")

    def fail():
        raise ValueError("current.json cannot be read: gone")

    monkeypatch.setattr(second_stage, "shipped_head", fail)
    assert "The effect on past texts is unknown: current.json cannot be read: gone." in of(
        client, second_mode="enforce"
    )
    review = client.post(
        reverse("safety_second_stage"),
        {"second_mode": "enforce", "second_scope": "all", "expected": "0"},
        headers={"HX-Request": "true"},
    )
    assert "The effect on past texts is unknown" in review.content.decode()


def test_the_replay_is_for_those_who_may_release(client, make_user):
    text(second=2.5)
    client.force_login(make_user("editor"))
    answer = client.get(
        reverse("safety"), {"second_mode": "enforce"}, headers={"HX-Request": "true", "HX-Target": "second-replay"}
    )
    assert answer.status_code == 403
    page = client.get(reverse("safety"), {"second_mode": "enforce"})
    assert page.status_code == 200
    assert "more blocked" not in page.content.decode()


def test_masked_texts_stay_masked_in_the_replay(client, make_user):
    client.force_login(make_user("releaser"))
    check = text(score=HARMFUL, second=0.1)
    Run.objects.filter(pk=check.run_id).update(input="a secret text", input_masked=True)
    part = of(client, second_mode="enforce")
    assert "Masked" in part
    assert "a secret text" not in part
