"""The second stage in the application: its settings as releases, its form, and its verdicts with runs."""

import pytest
from django.urls import reverse
from django.utils.html import escape

from promptops.engine.judging import SafetyChecked
from promptops.engine.safety import second_stage
from promptops.engine.safety.classifier import log_odds
from promptops.engine.safety.second_stage import Combined, SecondVerdict, combined_log_odds, together
from promptops.engine.safety.verdicts import SafetyCategory, SafetyLayer, SafetyVerdict, VerdictDecision
from promptops.ledger.models import AuditEntry
from promptops.live import snapshots as live
from promptops.runs.actions.records import _safety_check
from promptops.safety.actions.filter_settings import roll_back
from promptops.safety.earlier import change_of
from promptops.safety.live_part import release_values
from promptops.safety.models import SafetySettings
from promptops.safety.queries import filter_state
from promptops.safety.strictness import is_stricter
from tests.safety.helpers import change, make_run

pytestmark = pytest.mark.django_db(transaction=True)

ALLOW, BLOCK = VerdictDecision.ALLOW, VerdictDecision.BLOCK
RULE = Combined(first=0.2, second=1.3, constant=0.2, threshold=0.6, figures={})
ON = {"second_mode": "shadow", "second_scope": "all", "second_threshold": "0.4", "expected": "0"}


def settings_now():
    config = SafetySettings.objects.get(pk=1)
    return config.second_mode, config.second_scope, config.second_threshold


def test_every_installation_starts_without_the_second_stage():
    assert settings_now() == ("off", "doubtful", None)
    assert not live.current().safety.asks_second


def test_settings_are_released_audited_and_rolled_back(actor):
    first = change(second_mode="shadow", second_threshold=0.4)
    change(second_mode="enforce", second_scope="all", second_threshold="own")
    spec = live.current().safety
    assert (spec.second_mode, spec.second_scope, spec.second_threshold) == ("enforce", "all", None)
    entry = AuditEntry.objects.filter(action="safety.changed").order_by("-seq").first()
    assert entry.before == {"second_mode": "shadow", "second_scope": "doubtful", "second_from": 0.4}
    assert entry.after == {"second_mode": "enforce", "second_scope": "all", "second_from": None}

    roll_back(first.changed_revision, by=actor, expected=SafetySettings.objects.get(pk=1).changed_revision)
    assert settings_now() == ("shadow", "doubtful", 0.4)
    roll_back(0, by=actor, expected=SafetySettings.objects.get(pk=1).changed_revision)
    assert settings_now() == ("off", "doubtful", None)


def test_a_release_from_before_the_second_stage_turns_it_off():
    values = release_values(None)
    for name in ("second_mode", "second_scope"):
        del values[name]
    restored = change_of(values)
    assert (restored.second_mode, restored.second_scope, restored.second_threshold) == ("off", "doubtful", "own")


@pytest.mark.parametrize(
    ("before", "after", "stricter"),
    [
        ({"second_mode": "off"}, {"second_mode": "shadow"}, True),
        ({"second_mode": "shadow"}, {"second_mode": "off"}, True),
        ({"second_mode": "shadow"}, {"second_mode": "enforce"}, False),  # it also clears texts
        ({"second_mode": "enforce"}, {"second_mode": "off"}, False),
        ({"second_from": 0.4}, {"second_from": 0.2}, False),
    ],
)
def test_a_freeze_lets_only_recording_pass(before, after, stricter):
    assert is_stricter(before, after) is stricter


def test_the_form_reviews_and_releases(client, make_user):
    client.force_login(make_user("releaser"))
    page = client.get(reverse("safety")).content.decode()
    assert reverse("safety_second_stage") in page
    review = client.post(reverse("safety_second_stage"), ON, headers={"HX-Request": "true"})
    assert "Shadow: record its verdicts" in review.content.decode()
    assert settings_now() == ("off", "doubtful", None)
    client.post(reverse("safety_second_stage"), ON | {"confirm": "1", "note": "try it"})
    assert settings_now() == ("shadow", "all", 0.4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"second_threshold": "7"}, "from 0.01 to 1"),
        ({"second_mode": "maybe"}, "maybe"),
        ({"expected": "12"}, "in the meantime"),
        ({"second_mode": "off", "second_scope": "doubtful", "second_threshold": ""}, "No changes to release"),
    ],
)
def test_the_form_refuses(client, make_user, values, message):
    client.force_login(make_user("releaser"))
    answer = client.post(
        reverse("safety_second_stage"), ON | values | {"confirm": "1", "note": "n"}, headers={"HX-Request": "true"}
    )
    assert message in answer.content.decode()
    assert settings_now() == ("off", "doubtful", None)


def test_editors_cannot_change_it(client, make_user):
    client.force_login(make_user("editor"))
    assert client.post(reverse("safety_second_stage"), ON).status_code == 403
    assert reverse("safety_second_stage") not in client.get(reverse("safety")).content.decode()


def test_the_page_says_how_to_install_it(client, make_user, monkeypatch):
    client.force_login(make_user("viewer"))
    monkeypatch.setattr(second_stage, "installed", lambda: False)
    page = client.get(reverse("safety")).content.decode()
    assert "not installed" in page
    assert escape(second_stage.INSTALL) in page


def test_the_state_alerts_if_an_enforced_second_stage_fails():
    def fail():
        raise ValueError("a broken file")

    change(mode="enforce", second_mode="enforce")
    state = filter_state.state()
    object.__setattr__(state.spec, "second", second_stage.SecondStage(fail))
    state.spec.second.self_test()
    assert any(alert.level == "bad" and "a broken file" in alert.text for alert in state.alerts)


@pytest.mark.parametrize(
    ("second", "score", "category", "queue", "words"),
    [
        (None, None, None, "", ""),
        (SecondVerdict(ALLOW, 0.5, 0.1, SafetyCategory.HATE, "", RULE), 0.2, "", "", "the text is harmless"),
        (SecondVerdict(BLOCK, 0.5, 0.75, SafetyCategory.HATE, "", RULE), 1.5, "hate", "borderline", "is harmful, hate"),
        (SecondVerdict(BLOCK, 0.5, 0.55, SafetyCategory.HATE, "", RULE), 1.1, "", "", "the text is harmless"),
        (SecondVerdict(VerdictDecision.UNAVAILABLE, reason="broken"), None, "", "", "no verdict"),
    ],
)
def test_a_run_records_the_second_verdict(client, make_user, second, score, category, queue, words):
    verdict = SafetyVerdict(ALLOW, SafetyLayer.MODEL, scores={SafetyCategory.HATE: 0.5})
    run, safety = make_run(), live.current().safety
    both = together(verdict, second, safety.policy.thresholds) if second else None
    check = _safety_check(run, SafetyChecked("input", verdict, False, second=second, both=both), safety)
    check.save()
    assert (check.second_score, check.second_category, check.queue) == (score, category, queue)
    assert check.disagreement == (score and (pytest.approx(score - check.score) if score > 1 else 0.0))
    client.force_login(make_user("viewer"))
    page = client.get(reverse("run", args=[run.pk])).content.decode()
    assert ("Second stage:" in page) == (second is not None)
    assert words in " ".join(page.split())


def test_a_lifted_block_is_recorded_and_explained(client, make_user):
    change(mode="enforce", second_mode="enforce")
    safety = live.current().safety
    blocked = SafetyVerdict(BLOCK, SafetyLayer.MODEL, SafetyCategory.HATE, {SafetyCategory.HATE: 0.97}, reason="It is")
    second = SecondVerdict(ALLOW, 0.5, 0.01, SafetyCategory.HATE, "", RULE)
    both = together(blocked, second, safety.policy.thresholds)
    run = make_run()
    check = _safety_check(run, SafetyChecked("input", both, False, second=second, both=both), safety)
    check.save()
    assert (check.decision, check.layer, check.category, check.queue) == ("allow", "sentences", "", "borderline")
    assert check.second_category == ""
    odds = combined_log_odds(both, second, safety.policy.thresholds)
    assert check.distance == pytest.approx(abs(odds - log_odds(RULE.threshold)))
    client.force_login(make_user("viewer"))
    page = " ".join(client.get(reverse("run", args=[run.pk])).content.decode().split())
    assert "The first stage alone blocks this text. Both stages together score the text at" in page
    assert "and the second stage" in page


def test_the_models_page_has_the_version_and_the_figures_of_the_second_stage(client, make_user, monkeypatch):
    client.force_login(make_user("viewer"))
    head = second_stage.shipped_head()
    page = client.get(reverse("safety_models")).content.decode()
    for stage in (head, head.combined):
        assert f'class="num">{stage.figures["texts"]:,}</td>' in page
        assert f'class="num">{stage.figures["auroc"]:.3f}</td>' in page
    assert f"Second stage, version {head.version}" in page

    def fail():
        raise ValueError("gone")

    monkeypatch.setattr("promptops.safety.queries.model_versions.shipped_head", fail)
    assert "Second stage, version" not in client.get(reverse("safety_models")).content.decode()
