"""The states of providers over HTTP: keys, breakers, cooldowns, credit, and learned adaptations."""

import pytest
from django.urls import reverse

from promptops.engine.errors import (
    LLMAuthError,
    LLMNotFoundError,
    LLMQuotaError,
    LLMServerError,
)
from promptops.engine.health import FAILURES_TO_OPEN, HealthRegistry
from promptops.engine.providers import local
from promptops.engine.providers.adaptations import ADAPTATIONS
from promptops.ledger.models import AuditEntry
from promptops.providers.actions import adaptations
from promptops.providers.key_variables import address_of
from promptops.providers.models import Provider
from promptops.runs.models import Attempt, Run
from promptops.runs.queries import providers as queries
from tests.providers.pages import KEY, call, fail, limited, state_of, text_of

pytestmark = pytest.mark.django_db

UNKNOWN = ("unknown", "", "No call yet. Press Test to find out.")


@pytest.mark.parametrize(
    ("kind", "key", "environment", "expected"),
    [
        ("groq", {"key": KEY}, {}, UNKNOWN),
        ("groq", {"key_env": "MY_API_KEY"}, {"MY_API_KEY": "x"}, UNKNOWN),
        (
            "groq",
            {"key_env": "MY_API_KEY"},
            {"MY_API_KEY": " "},
            ("no key", "bad", "MY_API_KEY is not set in the server's environment."),
        ),
        ("groq", {}, {"GROQ_API_KEY": "x"}, UNKNOWN),
        ("cerebras", {}, {}, ("no key", "bad", "CEREBRAS_API_KEY is not set in the server's environment.")),
        ("openai", {}, {}, UNKNOWN),
    ],
)
def test_the_state_of_a_key(kind, key, environment, expected, add, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    add(kind=kind, **key)
    assert state_of("groq") == expected


def test_other_states(add, monkeypatch, settings):
    add("off", key=KEY, enabled=False)
    add("local", kind="local")
    add("lost", key=KEY)
    Provider.objects.filter(name="lost").update(key_encrypted="made with another secret key")
    monkeypatch.setattr(local, "local_available", lambda: "The embedded model needs xllamacpp.")
    assert state_of("off") == ("off", "", "")
    assert state_of("local") == ("not installed", "bad", "The embedded model needs xllamacpp.")
    assert state_of("lost")[:2] == ("key unreadable", "bad")
    monkeypatch.setattr(local, "local_available", lambda: None)
    assert state_of("local") == UNKNOWN


def test_the_newest_call_that_was_not_canceled_counts(add):
    add(key=KEY)
    add("other", key=KEY)
    call("groq", "succeeded")
    call("groq", "failed", "groq answered 429: too many requests")
    call("groq", "canceled")
    call("other", "failed", error_kind="rate_limited")
    call("other", "succeeded")
    assert state_of("groq") == ("last call failed", "warn", "groq answered 429: too many requests")
    assert state_of("other") == ("live", "ok", "")
    Attempt.objects.update(message="", error_kind="rate_limited")  # like those of an erased run
    assert state_of("groq")[2] == "rate limited"


def test_an_error_that_may_quote_a_masked_input_is_masked(add, client_for, viewer, health):
    """The error comes from a masked run, or from the health of this process."""
    add(key=KEY)
    error = LLMServerError("answered 503: refused: SECRET WORDS")
    run = call("groq", "failed", str(error), error.kind)
    Run.objects.filter(pk=run.pk).update(input_masked=True)
    masked = f"{error.kind.replace('_', ' ')} (the message is masked, because it may quote the input)"
    assert state_of("groq") == ("last call failed", "warn", masked)
    fail(health, error, 5)
    assert state_of("groq") == ("open: last 5 calls failed", "bad", masked)
    call("groq", "canceled")
    page = client_for(viewer).get(reverse("providers")).content.decode()
    assert "SECRET" not in page
    assert "masked" in page


def test_only_enabled_providers_have_a_place_in_the_chain(add):
    for name, enabled in (("a", True), ("b", False), ("c", True)):
        add(name, key=KEY, enabled=enabled)
    assert [(row.name, row.priority) for row in queries.listed()] == [("a", 1), ("b", None), ("c", 2)]
    assert [row.name for row in queries.chain()] == ["a", "c"]


def test_an_open_breaker_and_its_probe(add, health):
    add(key=KEY)
    call("groq", "succeeded")
    fail(health, LLMServerError("answered 503: busy"), 4)
    assert state_of("groq")[0] == "live"
    fail(health, LLMServerError("answered 503: busy"))
    assert state_of("groq") == ("open: last 5 calls failed", "bad", "answered 503: busy")
    health.now += 60
    probe = health.admit("groq")
    assert state_of("groq") == ("probing", "warn", "answered 503: busy")
    health.succeeded(probe, latency_ms=5, streamed=False)
    assert state_of("groq") == ("live", "ok", "")


@pytest.mark.parametrize(
    ("seconds", "state"),
    [
        (12, "cooling down 12 s"),
        (98.2, "cooling down 99 s"),
        (100.5, "cooling down 2 min"),
        (7200, "cooling down 2 h"),
    ],
)
def test_a_cooldown_counts_down(seconds, state, add, health):
    add(key=KEY)
    call("groq", "failed", "groq answered 429: slow down", "rate_limited")
    fail(health, limited(seconds))
    assert state_of("groq") == (state, "warn", "groq answered 429: slow down")
    health.now += seconds
    assert state_of("groq")[0] == "last call failed"


def test_an_open_breaker_shows_its_cooldown_too(add, health, client_for, viewer):
    add(key=KEY)
    error = LLMServerError("answered 503: busy")
    for _ in range(FAILURES_TO_OPEN - 1):
        fail(health, error)
    error.retry_after_s = 45
    fail(health, error)
    page = text_of(client_for(viewer).get(reverse("providers")))
    assert "open: last 5 calls failed cooling down 45 s answered 503: busy" in page


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (LLMAuthError("answered 401: no"), "misconfigured: key refused"),
        (LLMNotFoundError("answered 404: no"), "misconfigured: model not found"),
    ],
)
def test_a_misconfigured_provider_says_what_is_wrong(error, state, add, health):
    add(key=KEY)
    call("groq", "failed", str(error), error.kind)
    fail(health, error)
    assert state_of("groq") == (state, "bad", str(error))
    call("groq", "failed", "no answer", "timeout")  # which does not end the misconfiguration
    assert state_of("groq") == (state, "bad", str(error))


def test_a_full_provider(add, health):
    add(key=KEY)
    permits = [health.admit("groq", 2) for _ in range(2)]
    assert state_of("groq")[:2] == ("full 2/2", "warn")
    health.canceled(permits[0])
    assert state_of("groq") == UNKNOWN


def test_being_off_or_without_key_comes_before_other_states(add, health, monkeypatch):
    add(key=KEY, enabled=False)
    fail(health, limited(60))
    assert state_of("groq")[0] == "off"
    add("keyless", "cerebras")
    fail(health, limited(60), name="keyless")
    assert state_of("keyless")[0] == "no key"


def test_the_page_looks_again_by_itself_only_while_a_state_will_pass(add, health, client_for, viewer):
    provider, client = add(key=KEY), client_for(viewer, htmx=True)
    assert "every 5s" not in client.get(reverse("providers")).content.decode()
    fail(health, limited(60))
    page = client.get(reverse("providers")).content.decode()
    assert f'hx-get="{reverse("providers")}?states=1" hx-trigger="every 5s"' in page
    assert f'<div class="state" id="state-{provider.pk}" title="' in page
    health.now += 1
    states = client.get(f"{reverse('providers')}?states=1").content.decode()
    assert "every 5s" in states
    assert f'<div class="state" id="state-{provider.pk}" hx-swap-oob="true"' in states
    assert "cooling down 59 s" in states
    assert "test-result" not in states
    health.now += 60
    states = client.get(f"{reverse('providers')}?states=1").content.decode()
    assert '<span hidden id="chain-poll" hx-swap-oob="true"></span>' in states
    health.admit("groq", 1)
    assert "every 5s" in client.get(reverse("providers")).content.decode()


def out_of_credit(health: HealthRegistry, name: str = "groq") -> None:
    error = LLMQuotaError(f"{name} answered with status 402: Insufficient credits", status=402)
    error.retry_after_s = 300.0
    fail(health, error, name=name)


def test_a_provider_without_credit_is_red_on_both_pages(add, health, client_for, viewer, releaser):
    add(key=KEY)
    add("spare", key=KEY)
    out_of_credit(health)
    assert state_of("groq")[:2] == ("out of credit", "bad")
    page = client_for(viewer).get(reverse("providers")).content.decode()
    for words in ("out of credit", "cooling down 5 min", "noticed", "Insufficient credits"):
        assert words in page
    assert "Ask again now" not in page
    assert "Ask again now" in client_for(releaser).get(reverse("providers")).content.decode()
    overview = text_of(client_for(viewer).get(reverse("overview")))
    assert "groq is out of credit : runs use spare. Since" in overview
    assert "Not called until" in overview


@pytest.mark.parametrize(
    ("falls_back", "spare", "alert"),
    [
        (True, True, "The key of groq was refused : runs use spare."),
        (False, True, "The key of groq was refused : it does not fall back: runs fail."),
        (True, False, "The key of groq was refused : no other provider can answer: runs fail."),
    ],
)
def test_a_refused_key_is_an_alert_on_the_overview(
    falls_back, spare, alert, add, health, client_for, viewer, administrator
):
    provider = add(key=KEY)
    Provider.objects.update(fall_back_on_auth=falls_back)
    if spare:
        add("spare", key=KEY)
    assert 'role="alert"' not in client_for(viewer).get(reverse("overview")).content.decode()
    error = LLMAuthError("groq answered with status 401: no such key", status=401)
    call("groq", "failed", str(error), error.kind)
    fail(health, error)
    page = client_for(administrator).get(reverse("overview"))
    assert alert in text_of(page)
    assert f'href="{reverse("provider", args=[provider.pk])}"' in page.content.decode()


def test_a_releaser_ends_a_cooldown_by_hand(
    add, health, client_for, editor, releaser, django_capture_on_commit_callbacks
):
    provider = add(key=KEY)
    out_of_credit(health)
    url = reverse("provider_ask_again", args=[provider.pk])
    assert client_for(editor).post(url).status_code == 403
    assert health.view("groq").cooldown_left_ms > 0
    with django_capture_on_commit_callbacks(execute=True):
        done = client_for(releaser, htmx=True).post(url)
    assert done["HX-Redirect"] == reverse("providers")
    assert health.view("groq").cooldown_left_ms == 0
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.object_name, entry.revision) == ("provider.cooldown_ended", "groq", None)


def test_a_learned_adaptation_is_on_the_page_and_can_be_forgotten(
    add, client_for, administrator, releaser, django_capture_on_commit_callbacks
):
    provider = add(key=KEY)
    words = "Unsupported parameter: <b>max_tokens</b>"
    adaptations.store(address_of(provider), "m", "max_completion_tokens", words)
    client, url = client_for(administrator), reverse("provider", args=[provider.pk])
    page = client.get(url).content.decode()
    assert ADAPTATIONS["max_completion_tokens"].label in page
    assert "Unsupported parameter: &lt;b&gt;max_tokens&lt;/b&gt;" in page
    forget = reverse("provider_forget", args=[provider.pk])
    assert client_for(releaser).post(forget, {"name": "max_completion_tokens"}).status_code == 403
    with django_capture_on_commit_callbacks(execute=True):
        client.post(forget, {"name": "max_completion_tokens"})
    assert "None yet" in client.get(url).content.decode()
    assert AuditEntry.objects.first().action == "provider.adaptation_forgotten"
    client.post(forget, {"name": "max_completion_tokens"})
    assert "has no such adaptation" in client.get(url).content.decode()
