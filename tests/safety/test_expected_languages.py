"""Languages that operators expect: their own choice for texts that cannot be judged, released like the others."""

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils import timezone

from promptops.engine.live_document import live_document, read_live_document
from promptops.engine.safety.language import listed_languages
from promptops.engine.safety.verdicts import SafetyVerdict, UnjudgedCause, VerdictDecision
from promptops.engine.snapshot import SafetySpec
from promptops.ledger.models import AuditEntry, Release
from promptops.live import snapshots as live
from promptops.runs.models import SafetyCheck
from promptops.safety.models import SafetySettings
from promptops.safety.queries.forecast import forecast
from tests.safety.helpers import change, make_run

pytestmark = pytest.mark.django_db

SPANISH = "el perro corre por la playa con los niños mientras cae la noche"
GIVEN = {"mode": "enforce", "when_language": "block", "when_down": "block", "expected": "0"}
SETS = GIVEN | {"languages": ["French", "Spanish"], "when_expected": "allow"}


def config() -> SafetySettings:
    return SafetySettings.objects.get(pk=1)


@pytest.mark.parametrize(
    ("language", "expected", "blocks_expected", "blocks_others", "stops"),
    [
        ("Spanish", ("Spanish",), False, True, False),
        ("Spanish", ("Spanish",), True, False, True),
        ("French", ("Spanish",), False, True, True),
        ("", ("Spanish",), False, True, True),
        ("Spanish", (), False, True, True),  # no language is expected, as before
        ("Spanish", (), True, False, False),
    ],
)
def test_an_expected_language_follows_its_own_choice(language, expected, blocks_expected, blocks_others, stops):
    verdict = SafetyVerdict(VerdictDecision.UNAVAILABLE, cause=UnjudgedCause.LANGUAGE, language=language)
    spec = SafetySpec(
        mode="enforce",
        blocks_languages=blocks_others,
        expected_languages=expected,
        blocks_expected=blocks_expected,
    )
    assert spec.stops(verdict) is stops


def test_a_failing_filter_is_no_expected_language():
    verdict = SafetyVerdict(VerdictDecision.UNAVAILABLE, cause=UnjudgedCause.DOWN, language="Spanish")
    assert SafetySpec(mode="enforce", expected_languages=("Spanish",), blocks_expected=False).stops(verdict)


def test_releasing_them_reaches_runs_servers_audit_and_rollback(
    client_for, releaser, django_capture_on_commit_callbacks
):
    client = client_for(releaser, htmx=True)
    panel = client.post(reverse("safety"), SETS).content.decode()
    for words in ("Expected languages", "Spanish, French", "Texts in Spanish and French pass unjudged", "let pass"):
        assert words in panel
    assert panel.count('name="languages"') == 2  # the panel's own form does not lose them
    assert Release.objects.count() == 0
    with django_capture_on_commit_callbacks(execute=True):
        client.post(reverse("safety"), SETS | {"confirm": "1", "note": "we stream in Madrid"})
    assert (config().expected_languages, config().when_expected) == (["Spanish", "French"], "allow")
    entry = AuditEntry.objects.get(action="safety.changed")
    assert entry.before == {"mode": "shadow", "expected_languages": None, "when_expected": None}
    assert entry.after == {"mode": "enforce", "expected_languages": "Spanish, French", "when_expected": "allow"}
    spec = live.current().safety
    verdict = spec.guard.check(SPANISH)
    assert (verdict.language, spec.stops(verdict)) == ("Spanish", False)
    server = read_live_document(live_document(live.current())).safety
    assert (server.expected_languages, server.blocks_expected, server.stops(verdict)) == (
        ("Spanish", "French"),
        False,
        False,
    )
    page = " ".join(client_for(releaser).get(reverse("safety")).content.decode().split())
    assert "Spanish, French: the text passes" in page

    with django_capture_on_commit_callbacks(execute=True):
        change(expected_languages=(), mode="shadow")
    assert "expected_languages" not in Release.objects.get(pk=2).configuration["safety"]
    again = client.post(reverse("safety_roll_back", args=[1]), {"expected": "2"}).content.decode()
    assert "Spanish, French" in again
    with django_capture_on_commit_callbacks(execute=True):
        client.post(reverse("safety_roll_back", args=[1]), {"expected": "2", "confirm": "1"})
    assert (config().expected_languages, config().when_expected) == (["Spanish", "French"], "allow")
    with django_capture_on_commit_callbacks(execute=True):
        client.post(reverse("safety_roll_back", args=[0]), {"expected": "3", "confirm": "1"})
    assert config().expected_languages == []


def test_without_a_language_nothing_changes_in_a_release(client_for, releaser):
    client_for(releaser, htmx=True).post(reverse("safety"), GIVEN | {"when_expected": "allow", "confirm": "1"})
    assert AuditEntry.objects.get(action="safety.changed").after == {"mode": "enforce"}
    assert config().when_expected == "block"


def test_only_languages_of_the_gate_can_be_expected(client_for, releaser, editor):
    with pytest.raises(ValidationError, match="Unknown language: Klingon"):
        change(expected_languages=("Klingon",))
    html = client_for(releaser, htmx=True).post(reverse("safety"), SETS | {"languages": ["Klingon"]}).content.decode()
    assert "Unknown language: Klingon" in html
    assert client_for(editor).post(reverse("safety"), SETS).status_code == 403
    page = client_for(releaser).get(reverse("safety")).content.decode()
    assert page.count('name="languages"') == len(listed_languages()) == 10


def test_the_forecast_counts_runs_in_an_expected_language_by_themselves():
    for languages in (["Spanish"], ["Spanish"], ["Spanish", "German"], ["German"], [""]):
        run = make_run()
        for side, language in zip(("input", "output"), languages, strict=False):
            SafetyCheck.objects.create(
                run=run, side=side, decision="unavailable", cause="language", language=language, mode="shadow"
            )
    result = forecast(config(), ["Spanish"], timezone.now())
    assert (result.counts["language"], result.expected, result.unexpected) == (5, 2, 3)
    assert result.main_language == "German"
    before = forecast(config())
    assert (before.expected, before.unexpected, before.main_language) == (0, 5, "")
