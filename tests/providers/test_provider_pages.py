"""The Providers pages over HTTP: what they show, what they refuse, and that no key ever comes back."""

import logging
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.template.loader import render_to_string
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.engine.errors import (
    LLMAuthError,
    LLMMissingKeyError,
    LLMNotFoundError,
    LLMProviderError,
    LLMQuotaError,
    LLMRateLimitedError,
    LLMServerError,
)
from promptops.engine.health import FAILURES_TO_OPEN, HealthRegistry
from promptops.engine.providers import build_provider, local
from promptops.engine.providers.adaptations import ADAPTATIONS
from promptops.engine.types import LLMMessage, LLMRequest
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.live import snapshots as live
from promptops.providers.actions import adaptations
from promptops.providers.actions import providers as actions
from promptops.providers.actions.providers import ProviderFields
from promptops.providers.key_variables import address_of
from promptops.providers.live_part import provider_spec
from promptops.providers.models import Provider
from promptops.runs.models import Attempt, Run
from promptops.runs.queries import providers as queries
from promptops.site.system_checks import keys_are_sent

pytestmark = pytest.mark.django_db

KEY = "gsk_very-secret-4711"
NEW = {
    "kind": "groq",
    "name": "groq",
    "model": "m",
    "base_url": "",
    "timeout_ms": "",
    "key_source": "stored",
    "key": KEY,
}


@pytest.fixture
def add(actor):
    def make(name: str = "groq", kind: str = "groq", model: str = "m", enabled: bool = True, **key: str) -> Provider:
        base_url = "http://127.0.0.1:9/v1" if kind == "openai" else ""
        fields = ProviderFields(name, kind, "" if kind == "local" else model, base_url)
        return actions.create_provider(fields, by=actor, enabled=enabled, **key)

    return make


def call(provider: str, outcome: str, message: str = "", error_kind: str = "") -> Run:
    run = Run.objects.create(
        source="preview", operation="enhance", temperature=1, max_tokens=1, revision=1, status=outcome, latency_ms=900
    )
    Attempt.objects.create(
        run=run, position=1, provider=provider, outcome=outcome, message=message, error_kind=error_kind,
        started_ms=0, latency_ms=812,
    )  # fmt: skip
    return run


def text_of(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def revision() -> int:
    return LiveConfiguration.objects.get().revision


# ---------------------------------------------------------------- state


def state_of(name: str) -> tuple[str, str, str]:
    row = next(row for row in queries.listed() if row.name == name)
    return row.state, row.tone, row.detail


@pytest.mark.parametrize(
    ("kind", "key", "environment", "expected"),
    [
        ("groq", {"key": KEY}, {}, ("ready", "ok", "")),
        ("groq", {"key_env": "MY_API_KEY"}, {"MY_API_KEY": "x"}, ("ready", "ok", "")),
        (
            "groq",
            {"key_env": "MY_API_KEY"},
            {"MY_API_KEY": " "},
            ("no key", "bad", "MY_API_KEY is not set in the server's environment."),
        ),
        ("groq", {}, {"GROQ_API_KEY": "x"}, ("ready", "ok", "")),
        ("cerebras", {}, {}, ("no key", "bad", "CEREBRAS_API_KEY is not set in the server's environment.")),
        ("openai", {}, {}, ("ready", "ok", "")),
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
    assert state_of("local") == ("ready", "ok", "")


def test_the_newest_call_that_was_not_canceled_counts(add):
    add(key=KEY)
    add("other", key=KEY)
    call("groq", "succeeded")
    call("groq", "failed", "groq answered 429: too many requests")
    call("groq", "canceled")
    call("other", "failed", error_kind="rate_limited")
    call("other", "succeeded")
    assert state_of("groq") == ("last call failed", "warn", "groq answered 429: too many requests")
    assert state_of("other") == ("ready", "ok", "")
    Attempt.objects.update(message="", error_kind="rate_limited")  # as erasing a run leaves it
    assert state_of("groq")[2] == "rate limited"


def test_an_error_that_may_quote_a_masked_input_is_masked(add, client_for, viewer, health):
    """Of a run whose own page masks the error, and where the filter of this process knows of it."""
    add(key=KEY)
    error = LLMServerError("answered 503: refused: SECRET WORDS")
    run = call("groq", "failed", str(error), error.kind)
    Run.objects.filter(pk=run.pk).update(input_masked=True)
    masked = f"{error.kind.replace('_', ' ')}; the words of the error are masked, since they may quote the input"
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


# ---------------------------------------------------------------- the list


def test_the_list_has_the_same_number_of_queries_for_1_and_30(add, client_for, administrator):
    client, counts = client_for(administrator), []
    for count in (1, 30):
        for number in range(Provider.objects.count(), count):
            add(f"p{number}", key=KEY)
            for outcome in ("failed", "succeeded", "failed", "canceled"):
                call(f"p{number}", outcome, "no answer")
        client.get(reverse("providers"))
        with CaptureQueriesContext(connection) as captured:
            page = client.get(reverse("providers")).content.decode()
        assert page.count("data-handle") == count
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_the_list_shows_everything_but_keys(add, client_for, viewer, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "gsk_in-the-environment")
    add("stored", key=KEY)
    add("env", key_env="GROQ_API_KEY")
    run = call("env", "failed", "env answered 503: <b>busy</b>")
    response = client_for(viewer).get(reverse("providers"))
    page, text = response.content.decode(), text_of(response)
    assert "stored key" in text
    assert "from GROQ_API_KEY, set in the server's environment" in text.replace("&#x27;", "'")
    assert "&lt;b&gt;busy&lt;/b&gt;" in page
    assert reverse("run", args=[run.pk]) in page
    assert "gsk_" not in page
    assert "gAAAA" not in page


@pytest.mark.parametrize(
    ("role", "test", "turn", "order", "edit"),
    [
        ("viewer", False, False, False, False),
        ("editor", True, False, False, False),
        ("releaser", True, True, True, False),
        ("administrator", True, True, True, True),
    ],
)
def test_controls_follow_the_role(role, test, turn, order, edit, add, client_for, make_user):
    provider = add(key=KEY)
    page = client_for(make_user(role)).get(reverse("providers")).content.decode()
    assert ("Test groq" in page) == test
    assert ("Turn groq off" in page) == turn
    assert ("data-reorder" in page) == order
    assert (f'href="{reverse("provider", args=[provider.pk])}"' in page) == edit
    assert ("Only administrators can do this" in page) != edit


def test_an_htmx_request_gets_only_the_list(add, client_for, viewer):
    add(key=KEY)
    page = client_for(viewer, htmx=True).get(reverse("providers")).content.decode()
    assert page.lstrip().startswith("<section")
    assert "<html" not in page


def test_an_empty_and_a_silent_chain_say_what_to_do(add, client_for, administrator, viewer):
    assert "Add a provider" in text_of(client_for(administrator).get(reverse("providers")))
    assert "Ask an administrator to add one" in text_of(client_for(viewer).get(reverse("providers")))
    add(key=KEY, enabled=False)
    assert "No provider is on, so every run fails. Turn one on." in text_of(
        client_for(administrator).get(reverse("providers"))
    )


# ---------------------------------------------------------------- adding


def test_adding_passes_the_panel_and_never_shows_the_key(client_for, administrator, caplog):
    caplog.set_level(logging.DEBUG)
    client, url, before = client_for(administrator, htmx=True), reverse("provider_new"), revision()
    panel = client.post(url, NEW)
    assert panel.status_code == 200
    assert "Add groq" in text_of(panel)
    assert not Provider.objects.exists()
    done = client.post(url, NEW | {"confirm": "1", "note": "spare"})
    assert done["HX-Redirect"] == reverse("providers")
    assert (Provider.objects.get().key_state, revision()) == ("stored key", before + 1)
    assert AuditEntry.objects.first().note == "spare"
    page = client.get(reverse("providers"), headers={"HX-Request": "false"})
    edit = client.get(reverse("provider", args=[Provider.objects.get().pk]))
    entries = str(list(AuditEntry.objects.values()))
    for shown in (panel.content.decode(), page.content.decode(), edit.content.decode(), entries, caplog.text):
        assert KEY not in shown
    assert "groq is added at the end of the chain. Turn it off to undo." in text_of(page)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"name": "Not Good"}, "Use lower-case letters"),
        ({"name": "taken"}, "A provider of that name exists"),
        ({"kind": "openai", "base_url": ""}, "required"),
        ({"base_url": "https://me:pw@api.example/v1"}, "no password"),
        ({"timeout_ms": "5"}, "greater than or equal to 100"),
        ({"key": ""}, "required"),
        ({"key_source": "environment", "key_env": ""}, "required"),
        ({"key_source": "environment", "key_env": "SECRET_KEY"}, "a secret of PromptOps itself"),
        ({"kind": "telepathy"}, "Select a valid choice"),
    ],
)
def test_a_form_with_errors_keeps_what_was_typed_but_not_the_key(wrong, sentence, add, client_for, administrator):
    add("taken", key="other")
    sent = NEW | {"timeout_ms": "1500"} | wrong
    response = client_for(administrator, htmx=True).post(reverse("provider_new"), sent)
    page = response.content.decode()
    assert response.status_code == 422
    assert (response["HX-Retarget"], response["HX-Reswap"]) == ("#provider-form", "outerHTML")
    assert sentence in text_of(response)
    assert f'value="{sent["timeout_ms"]}"' in page
    assert KEY not in page
    assert Provider.objects.count() == 1
    plain = client_for(administrator).post(reverse("provider_new"), sent)
    assert plain.status_code == 422
    assert "<html" in plain.content.decode()
    assert KEY not in plain.content.decode()


@pytest.mark.parametrize(
    ("kind", "source", "there", "missing"),
    [
        ("groq", "environment", {"model", "base_url", "key_source", "key_env"}, {"key"}),
        ("groq", "stored", {"key"}, {"key_env"}),
        ("openai", "none", {"base_url", "key_source"}, {"key", "key_env"}),
        ("local", "environment", {"name", "timeout_ms"}, {"model", "base_url", "key_source", "key_env", "key"}),
    ],
)
@pytest.mark.parametrize("htmx", [True, False])
def test_the_form_shows_only_the_fields_that_matter(kind, source, there, missing, htmx, client_for, administrator):
    sent = NEW | {"kind": kind, "key_source": source, "reshape": "1", "confirm": "1"}
    response = client_for(administrator, htmx=htmx).post(reverse("provider_new"), sent)
    page = response.content.decode()
    names = set(re.findall(r' name="(\w+)"', page))
    assert response.status_code == 200
    assert there <= names
    assert not missing & names
    assert 'value="groq"' in page  # the name that was typed
    assert KEY not in page
    assert not Provider.objects.exists()


def test_another_kind_brings_its_own_variable_and_address(client_for, administrator):
    sent = NEW | {"key_source": "environment", "key_env": "CEREBRAS_API_KEY", "reshape": "1"}
    page = client_for(administrator, htmx=True).post(reverse("provider_new"), sent).content.decode()
    assert 'value="GROQ_API_KEY"' in page
    assert "GROQ_API_KEY is not set" in page
    assert 'placeholder="https://api.groq.com/openai/v1"' in page


def test_the_embedded_model_needs_nothing_but_a_name(client_for, administrator):
    sent = {"kind": "local", "name": "tiny", "timeout_ms": "", "confirm": "1"}
    client_for(administrator, htmx=True).post(reverse("provider_new"), sent)
    made = Provider.objects.get()
    assert (made.kind, made.name, made.model, made.key_state) == ("local", "tiny", "", "no key")


def test_a_name_taken_while_the_panel_is_open_is_told_in_the_panel(add, client_for, administrator):
    add("groq", key=KEY)
    response = client_for(administrator, htmx=True).post(reverse("provider_new"), NEW | {"confirm": "1"})
    assert response.status_code == 409
    assert "A provider of that name exists" in text_of(response)
    assert "HX-Retarget" not in response


# ---------------------------------------------------------------- editing


def fields_of(provider: Provider, **changes: str) -> dict:
    told = {"kind": provider.kind, "name": provider.name, "model": provider.model, "base_url": provider.base_url}
    boxes = ("fall_back_on_auth", "fall_back_on_not_found", "fall_back_on_refused")
    told |= {name: "on" for name in boxes if getattr(provider, name)} | {"adaptations": provider.adaptations}
    return told | {"timeout_ms": provider.timeout_ms or "", "expected": provider.changed_revision} | changes


def test_an_edit_shows_what_changes_then_saves_it(add, client_for, administrator):
    provider = add(key=KEY)
    client, url = client_for(administrator, htmx=True), reverse("provider", args=[provider.pk])
    panel = text_of(client.post(url, fields_of(provider, model="n", timeout_ms="900")))
    assert "Model id m n" in panel
    assert "Time limit – 900 ms" in panel
    assert "Name" not in panel
    done = client.post(url, fields_of(provider, model="n", confirm="1"))
    assert done["HX-Redirect"] == reverse("providers")
    provider.refresh_from_db()
    assert (provider.model, provider.key_state) == ("n", "stored key")


def test_an_edit_of_nothing_is_refused(add, client_for, administrator):
    provider = add(key=KEY)
    response = client_for(administrator, htmx=True).post(reverse("provider", args=[provider.pk]), fields_of(provider))
    assert response.status_code == 409
    assert "No changes to save" in text_of(response)


def test_another_server_loses_the_stored_key_and_the_panel_says_so(add, client_for, administrator):
    provider = add(key=KEY)
    client, url = client_for(administrator, htmx=True), reverse("provider", args=[provider.pk])
    sent = fields_of(provider, base_url="https://other.example/v1")
    panel = text_of(client.post(url, sent))
    assert "The key was entered for another server" in panel
    assert client.post(url, sent | {"confirm": "1"})["HX-Redirect"] == url
    provider.refresh_from_db()
    assert provider.key_encrypted == ""


def test_another_server_loses_the_name_of_the_variable_too(add, client_for, administrator):
    """Else whoever edits the address decides where the variable goes."""
    provider = add(kind="openai", key_env="GATEWAY_API_KEY")
    client, url = client_for(administrator, htmx=True), reverse("provider", args=[provider.pk])
    sent = fields_of(provider, base_url="https://other.example/v1")
    assert "The key was entered for another server" in text_of(client.post(url, sent))
    assert client.post(url, sent | {"confirm": "1"})["HX-Redirect"] == url
    provider.refresh_from_db()
    assert (provider.base_url, provider.key_state) == ("https://other.example/v1", "no key")


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "GROQ_API_KEY", "PGPASSWORD", "SECRET_KEY"])
def test_a_foreign_variable_is_refused_and_the_page_does_not_say_whether_it_is_set(
    variable, add, client_for, administrator, monkeypatch
):
    provider = add("gateway", kind="openai")
    actions.edit_provider(
        provider,
        ProviderFields("gateway", "openai", "m", "https://gateway.example/v1"),
        by=Actor.person(administrator),
        expected=provider.changed_revision,
    )
    provider.refresh_from_db()
    client, url = client_for(administrator, htmx=True), reverse("provider_key", args=[provider.pk])
    answers = []
    for value in ("a secret", ""):
        monkeypatch.setenv(variable, value)
        sent = {"key_source": "environment", "key_env": variable, "expected": provider.changed_revision}
        refused = client.post(url, sent)
        shaped = client.post(url, sent | {"reshape": "1"})
        answers.append((text_of(refused), text_of(shaped)))
        assert refused.status_code == 422
    assert answers[0] == answers[1]
    assert "in the server's environment" not in answers[0][1]
    provider.refresh_from_db()
    assert provider.key_state == "no key"


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "metadata.google.internal", "224.0.0.1"])
def test_an_address_that_is_never_called_is_refused(host, add, client_for, administrator):
    provider = add("gateway", kind="openai")
    url = reverse("provider", args=[provider.pk])
    page = client_for(administrator, htmx=True).post(url, fields_of(provider, base_url=f"http://{host}/v1"))
    assert page.status_code == 422
    assert "never calls" in text_of(page)


def test_a_name_that_no_longer_qualifies_is_not_sent_and_shown_with_the_line_to_add(
    add, client_for, viewer, administrator, monkeypatch
):
    """As after an upgrade from a release that took any name."""
    monkeypatch.setenv("LLM_TOKEN", "sk-of-the-gateway")
    provider = add("gateway", kind="openai")
    Provider.objects.filter(pk=provider.pk).update(key_env="LLM_TOKEN", base_url="https://gateway.example/v1")
    spec = provider_spec(Provider.objects.get(pk=provider.pk))
    built = build_provider(spec)
    assert built.api_key is None
    with pytest.raises(LLMMissingKeyError, match=r"LLM_TOKEN=gateway\.example"):
        async_to_sync(built.complete)(LLMRequest([LLMMessage("user", "a fox")], "m"))
    for url in (reverse("providers"), reverse("provider", args=[provider.pk])):
        assert "LLM_TOKEN=gateway.example" in text_of(client_for(administrator).get(url)), url
    assert [warning.id for warning in keys_are_sent(["default"])] == ["promptops.W003"]
    with override_settings(PROVIDER_KEY_VARIABLES=["LLM_TOKEN=gateway.example"]):
        assert provider_spec(Provider.objects.get(pk=provider.pk)).key_problem is None
        assert keys_are_sent(["default"]) == []


@pytest.mark.parametrize(
    ("address", "warns"),
    [("http://gpu.example:8000/v1", True), ("https://gpu.example/v1", False), ("http://127.0.0.1:8000/v1", False)],
)
def test_a_key_that_travels_unencrypted_is_warned_of(address, warns, add, client_for, administrator):
    provider = add("gateway", kind="openai", key=KEY)
    Provider.objects.filter(pk=provider.pk).update(base_url=address)
    url = reverse("provider", args=[provider.pk])
    client = client_for(administrator, htmx=True)
    assert ("unencrypted" in text_of(client_for(administrator).get(url))) is warns
    sent = {"key_source": "stored", "key": "sk-another", "expected": provider.changed_revision}
    assert ("unencrypted" in text_of(client.post(reverse("provider_key", args=[provider.pk]), sent))) is warns


@pytest.mark.parametrize("confirm", [{}, {"confirm": "1"}])
def test_a_stale_edit_compares_with_what_is_there_now(confirm, add, client_for, administrator, actor):
    provider = add(key=KEY)
    sent = fields_of(provider, model="mine") | confirm
    theirs = actions.edit_provider(
        provider, ProviderFields("groq", "groq", "theirs"), by=actor, expected=provider.changed_revision
    )
    client, url = client_for(administrator, htmx=True), reverse("provider", args=[provider.pk])
    response = client.post(url, sent)
    assert response.status_code == 409
    assert "Someone changed groq meanwhile. What you typed is kept" in text_of(response)
    assert "Model id theirs mine" in text_of(response)
    handed = re.search(r'name="expected" id="id_expected" value="(\d+)" hx-swap-oob', response.content.decode())
    assert int(handed[1]) == theirs.changed_revision
    provider.refresh_from_db()
    assert provider.model == "theirs"
    assert client.post(url, sent | {"expected": handed[1], "confirm": "1"})["HX-Redirect"]
    provider.refresh_from_db()
    assert provider.model == "mine"


def test_an_open_form_hears_of_a_change(add, client_for, administrator):
    provider = add(key=KEY)
    client, url = client_for(administrator, htmx=True), reverse("provider", args=[provider.pk])
    assert "Someone changed" not in text_of(client.get(f"{url}?seen={provider.changed_revision}"))
    assert "Someone changed groq." in text_of(client.get(f"{url}?seen={provider.changed_revision - 1}"))
    Provider.objects.all().delete()
    assert "Someone removed this provider." in text_of(client.get(f"{url}?seen={provider.changed_revision}"))


def test_changing_the_key(add, client_for, administrator, caplog):
    caplog.set_level(logging.DEBUG)
    provider = add(key=KEY)
    client, url = client_for(administrator, htmx=True), reverse("provider_key", args=[provider.pk])
    sent = {"key_source": "stored", "key": "gsk_the-new-one", "expected": provider.changed_revision}
    panel = client.post(url, sent)
    assert "stored key stored key, the one that you typed" in text_of(panel)
    done = client.post(url, sent | {"confirm": "1"})
    assert done["HX-Redirect"] == reverse("providers")
    before = provider.key_encrypted
    provider.refresh_from_db()
    assert provider.key_encrypted != before
    stale = client.post(url, sent)
    assert stale.status_code == 409
    wrong = client.post(url, sent | {"key": "two words"})
    assert (wrong.status_code, wrong["HX-Retarget"]) == (422, "#key-form")
    shown = b"".join(response.content for response in (panel, stale, wrong)).decode() + caplog.text
    assert "gsk_the-new-one" not in shown
    assert "two words" not in shown


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({"key_source": "environment", "key_env": "OTHER_API_KEY"}, "from OTHER_API_KEY"),
        ({"key_source": "none"}, "no key"),
        ({"key_source": "environment", "key_env": "OTHER_API_KEY", "key": "left over"}, "from OTHER_API_KEY"),
    ],
)
def test_a_key_from_elsewhere_drops_the_stored_one(given, state, add, client_for, administrator):
    provider = add(kind="openai", key=KEY)
    sent = given | {"expected": provider.changed_revision, "confirm": "1"}
    client_for(administrator, htmx=True).post(reverse("provider_key", args=[provider.pk]), sent)
    provider.refresh_from_db()
    assert (provider.key_state, provider.key_encrypted) == (state, "")


# ---------------------------------------------------------------- turning on and off, removing, reordering


def test_turning_off_and_on_passes_the_panel(add, client_for, releaser):
    provider, _ = add(key=KEY), add("other", key=KEY)
    client, url = client_for(releaser, htmx=True), reverse("provider_enabled", args=[provider.pk])
    panel = client.post(url, {"enabled": "0"})
    assert "Turn groq off" in text_of(panel)
    assert "every run fails" not in text_of(panel)
    assert 'name="enabled" value="0"' in panel.content.decode()  # the panel carries it: the list may change behind it
    provider.refresh_from_db()
    assert provider.enabled
    client.post(url, {"enabled": "0", "confirm": "1", "note": "broken"})
    provider.refresh_from_db()
    assert not provider.enabled
    again = client.post(url, {"enabled": "0", "confirm": "1"})
    assert again.status_code == 409
    assert "groq is off already" in text_of(again)
    assert 'name="confirm"' not in again.content.decode()
    client.post(url, {"enabled": "1", "confirm": "1"})
    provider.refresh_from_db()
    assert provider.enabled


def test_turning_off_the_last_one_warns(add, client_for, releaser):
    provider = add(key=KEY)
    panel = client_for(releaser, htmx=True).post(reverse("provider_enabled", args=[provider.pk]), {"enabled": "0"})
    assert "With this no provider is on: every run fails" in text_of(panel)


def test_removing(add, client_for, administrator):
    provider = add(key=KEY)
    client, url = client_for(administrator, htmx=True), reverse("provider_remove", args=[provider.pk])
    page = client_for(administrator).get(reverse("provider", args=[provider.pk])).content.decode()
    assert "Turn it off on the Providers page first." in page
    assert 'aria-disabled="true" aria-describedby="remove-hint">Remove groq<' in page
    sent = {"expected": provider.changed_revision, "confirm": "1"}
    refused = client.post(url, sent)
    assert (refused.status_code, Provider.objects.count()) == (409, 1)
    client.post(reverse("provider_enabled", args=[provider.pk]), {"enabled": "0", "confirm": "1"})
    provider.refresh_from_db()
    assert client.post(url, sent).status_code == 409  # stale by now
    sent["expected"] = provider.changed_revision
    assert "Remove groq" in text_of(client.post(url, {"expected": sent["expected"]}))
    assert client.post(url, sent)["HX-Redirect"] == reverse("providers")
    assert not Provider.objects.exists()


def test_an_error_page_for_developers_shows_no_key(client_for, administrator, monkeypatch, settings):
    def breaks(*args, **kwargs):
        raise RuntimeError("The disk is full")

    settings.DEBUG = True
    monkeypatch.setattr("promptops.providers.actions.providers.record_release", breaks)
    client = client_for(administrator)
    client.raise_request_exception = False
    page = client.post(reverse("provider_new"), NEW | {"confirm": "1"})
    assert page.status_code == 500
    assert "The disk is full" in page.content.decode()
    assert KEY not in page.content.decode()


@pytest.mark.parametrize(
    "address",
    [
        "redis://:{}@127.0.0.1:6379/0",
        "redis://somebody:{}@127.0.0.1/0",
        "redis://:a/{}@127.0.0.1/0",
        "redis://127.0.0.1/0?db=1&password={}",
    ],
)
def test_an_error_page_for_developers_shows_no_password_in_urls(address, client_for, viewer, settings, monkeypatch):
    password = "-".join(["hush", "hush"])  # in one piece it would stand in the source that the page shows
    address = address.format(password)
    settings.DEBUG, settings.REDIS_URL, settings.NESTED = True, address, {"a": [{"b": (f"postgresql{address[5:]}",)}]}
    monkeypatch.setattr("promptops.prompts.views.prompts.render", lambda *_, **__: 1 / 0)
    client = client_for(viewer)
    client.raise_request_exception = False
    page = client.get(reverse("prompts"), headers={"X-Backend": address}).content.decode()
    assert "ZeroDivisionError" in page
    assert "REDIS_URL" in page
    assert "127.0.0.1" in page
    assert password not in page


def test_reordering_passes_the_panel_and_refuses_a_list_that_changed(add, client_for, releaser):
    a, b, c = (add(name, key=KEY).pk for name in "abc")
    client, url = client_for(releaser, htmx=True), reverse("provider_order")
    sent = {"order": [c, a, b], "expected": f"{a},{b},{c}"}
    panel = client.post(url, sent)
    assert "a → b → c c → a → b" in text_of(panel)
    assert re.findall(r'name="order" value="(\d+)"', panel.content.decode()) == [str(c), str(a), str(b)]
    done = client.post(url, sent | {"confirm": "1"})
    assert done["HX-Redirect"] == reverse("providers")
    assert [row.name for row in queries.listed()] == ["c", "a", "b"]
    stale = client.post(url, sent | {"confirm": "1"})
    assert stale.status_code == 409
    assert "The list of providers changed meanwhile" in text_of(stale)
    nonsense = client.post(url, {"order": ["x"], "expected": "", "confirm": "1"})
    assert nonsense.status_code == 409


# ---------------------------------------------------------------- the result of a test call


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        ({"state": "running"}, "Asking groq…"),
        (
            {
                "state": "done",
                "latency_ms": 812,
                "run_id": 7,
                "response": SimpleNamespace(model="m", content="<i>A fox</i>"),
            },
            "test answered in 812 ms by m, run 7 &lt;i&gt;A fox&lt;/i&gt;",
        ),
        ({"state": "failed", "error": "groq answered 401: no", "run_id": 7}, "test failed groq answered 401: no run 7"),
        ({"state": "failed", "error": "Something broke."}, "test failed Something broke."),
        ({"state": "canceled"}, "test canceled"),
    ],
)
def test_a_result_goes_to_its_place_in_the_list(context, sentence, add, client_for, viewer):
    provider = add(key=KEY)
    result = render_to_string("providers/_test_result.html", context | {"provider": provider})
    place = f'<div id="test-result-{provider.pk}"'
    assert result.startswith(f'{place} hx-swap-oob="innerHTML">')
    assert place in client_for(viewer).get(reverse("providers")).content.decode()
    assert sentence in re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", result)).replace(" ,", ",")
    assert ('name="action" value="cancel"' in result) == (context["state"] == "running")


# ---------------------------------------------------------------- health


class Chosen:
    """A provider without the operator's choices."""

    fall_back_on: frozenset[str] = frozenset()


@pytest.fixture(autouse=True)
def health(monkeypatch) -> HealthRegistry:
    """The health of this test only, with a clock that a test can set by `health.now`."""
    registry = HealthRegistry(clock=lambda: registry.now)
    registry.now = 1000.0
    monkeypatch.setattr(live, "health", registry)
    return registry


def fail(health: HealthRegistry, error: LLMProviderError, times: int = 1, name: str = "groq") -> None:
    for _ in range(times):
        health.failed(health.admit(name), error, Chosen())


def limited(seconds: float) -> LLMRateLimitedError:
    error = LLMRateLimitedError("answered 429: slow down")
    error.retry_after_s = seconds
    return error


def test_an_open_breaker_and_its_probe(add, health):
    add(key=KEY)
    fail(health, LLMServerError("answered 503: busy"), 4)
    assert state_of("groq")[0] == "ready"
    fail(health, LLMServerError("answered 503: busy"))
    assert state_of("groq") == ("open: last 5 calls failed", "bad", "answered 503: busy")
    health.now += 60
    probe = health.admit("groq")
    assert state_of("groq") == ("probing", "warn", "answered 503: busy")
    health.succeeded(probe, latency_ms=5, streamed=False)
    assert state_of("groq") == ("ready", "ok", "")


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


def test_an_open_breaker_tells_its_cooldown_too(add, health, client_for, viewer):
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
    call("groq", "failed", "no answer", "timeout")  # which does not change what is wrong
    assert state_of("groq") == (state, "bad", str(error))


def test_a_full_provider(add, health):
    add(key=KEY)
    permits = [health.admit("groq", 2) for _ in range(2)]
    assert state_of("groq")[:2] == ("full 2/2", "warn")
    health.canceled(permits[0])
    assert state_of("groq")[0] == "ready"


def test_what_is_off_or_has_no_key_says_so_first(add, health, monkeypatch):
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
    assert f'<div id="state-{provider.pk}">' in page
    health.now += 1
    states = client.get(f"{reverse('providers')}?states=1").content.decode()
    assert "every 5s" in states
    assert f'<div id="state-{provider.pk}" hx-swap-oob="true">' in states
    assert "cooling down 59 s" in states
    assert "test-result" not in states
    health.now += 60
    states = client.get(f"{reverse('providers')}?states=1").content.decode()
    assert '<span hidden id="chain-poll" hx-swap-oob="true"></span>' in states
    health.admit("groq", 1)
    assert "every 5s" in client.get(reverse("providers")).content.decode()


# ---------------------------------------------------------------- figures

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def noon(monkeypatch) -> datetime:
    """Now, for the queries."""
    monkeypatch.setattr(queries.timezone, "now", lambda: NOON)
    return NOON


def at(moment: datetime, outcome: str = "succeeded", latency_ms: float = 500, drill: str = "", **fields) -> Run:
    run = call("groq", outcome, "no answer" if outcome == "failed" else "")
    Run.objects.filter(pk=run.pk).update(at=moment, drill=drill)
    Attempt.objects.filter(run=run).update(latency_ms=latency_ms, **fields)
    return run


def figures() -> queries.Figures:
    return queries.with_figures()[0].figures


def test_the_last_hour_counts_answers_and_failures(add, noon):
    add(key=KEY)
    assert figures() == queries.Figures()
    at(noon - timedelta(minutes=61), "failed")
    for number in range(1, 101):
        at(noon - timedelta(minutes=5), latency_ms=number * 10)
    failed = at(noon - timedelta(minutes=4), "failed", latency_ms=5)
    at(noon - timedelta(minutes=4), "canceled", latency_ms=70_000)
    at(noon - timedelta(minutes=1), "failed", drill="503 in groq")
    now = figures()
    assert (now.answered, now.failed, now.success_percent) == (100, 1, "99.0")
    assert (now.p50_ms, now.p95_ms) == (500, 950)
    assert now.last_error.run_id == failed.pk
    assert queries.listed()[0].last.run_id == failed.pk  # neither the drill nor the canceled one


@pytest.mark.parametrize(("answered", "failed", "percent"), [(999, 1, "99.9"), (9999, 1, "99.9"), (1, 2, "33")])
def test_a_rate_never_hides_a_failure(answered, failed, percent):
    assert queries.Figures(answered=answered, failed=failed).success_percent == percent


def test_the_plot_has_one_scale_with_failures_on_top(add, noon):
    add(key=KEY)
    for latency_ms in (1, 12, 1000, 1000, 1000, 1500):
        at(noon, latency_ms=latency_ms)
    at(noon, "failed", latency_ms=1000)
    at(noon, "failed", latency_ms=1e9)
    bars = {bar.x: (bar.answered, bar.failed, bar.failed_y) for bar in figures().bars}
    assert bars == {0: (40, 0, 60), 50: (80, 20, 0), 93.75: (0, 20, 80)}
    assert figures().p50_x == 50


def test_each_provider_keeps_its_newest_latencies(add, noon, monkeypatch):
    add(key=KEY)
    add("other", key=KEY)
    for latency_ms in (10, 20, 30):
        at(noon, latency_ms=latency_ms)
    Attempt.objects.filter(run=at(noon, latency_ms=7)).update(provider="other")
    monkeypatch.setattr(queries, "LATENCIES_READ", 4)
    groq, other = queries.with_figures()
    assert (groq.figures.p50_ms, groq.figures.p95_ms, groq.figures.answered) == (20, 30, 3)
    assert other.figures.p95_ms == 7


def test_today_is_the_readers_day_and_estimates_are_marked(add, noon, client_for, viewer):
    add(key=KEY)
    at(noon, input_tokens=1000, output_tokens=20, cost=0.5)
    at(noon - timedelta(hours=11.5), "canceled", input_tokens=200, output_tokens=3, cost=0.25)
    at(noon - timedelta(hours=12.5), input_tokens=50_000, output_tokens=4, cost=9, cost_estimated=True)
    at(noon, drill="401 in groq", input_tokens=7, output_tokens=7, cost=7)
    client = client_for(viewer)
    page = text_of(client.get(reverse("providers")))
    assert "$0.75 1,200 tokens in , 23 out" in page
    client.cookies["tz"] = "Europe/Berlin"  # where it is an hour later, and the day began an hour earlier
    page = text_of(client.get(reverse("providers")))
    assert "~$9.75 51,200 tokens in , 27 out" in page
    Attempt.objects.update(cost=None, usage_estimated=True)
    page = text_of(client.get(reverse("providers")))
    assert "$" not in page
    assert "~51,200 tokens in , ~27 out" in page


@pytest.mark.parametrize(
    ("cost", "estimated", "shown"),
    [
        (None, False, ""),
        (0, False, "$0.00"),
        (0.00423, True, "~$0.0042"),
        (0.0999, False, "$0.1"),
        (1234.5, False, "$1,234.50"),
    ],
)
def test_costs_are_told_with_the_digits_that_matter(cost, estimated, shown):
    assert queries.Figures(cost=cost, cost_estimated=estimated).cost_shown == shown


def test_the_line_tells_its_figures_in_words_too(add, client_for, viewer):
    add(key=KEY)
    call("groq", "failed", "groq answered 503: <b>busy</b>")
    call("groq", "succeeded")
    response = client_for(viewer).get(reverse("providers"))
    page, text = response.content.decode(), text_of(response)
    told = "half of the answers within 812 ms, 95% within 812 ms; 1 answered, 1 failed."
    assert f'role="img" aria-label="Latencies of the last hour: {told}"' in page
    assert "50% answered, 1 of 2" in text
    assert "p50 812 ms , p95 812 ms , 1 failed" in text
    assert "last error just now : groq answered 503: &lt;b&gt;busy&lt;/b&gt;" in text


# ---------------------------------------------------------------- limits, prices and fallback

EXTRAS = {
    "max_concurrent": "4",
    "context_tokens": "131072",
    "price_input": "0.35",
    "price_cached": "0.1",
    "price_output": "0.75",
    "fall_back_on_auth": "on",
}


def test_the_rarer_fields_are_saved_and_shown(client_for, administrator):
    client = client_for(administrator, htmx=True)
    panel = text_of(client.post(reverse("provider_new"), NEW | EXTRAS))
    assert "Calls at once – 4" in panel
    assert "Context – 131,072 tokens" in panel
    assert "Price of cached input – $0.1 per million tokens" in panel
    assert "When its key is refused – fall back" in panel
    assert "When its model is not found" not in panel
    client.post(reverse("provider_new"), NEW | EXTRAS | {"confirm": "1"})
    made = Provider.objects.get()
    assert (made.max_concurrent, made.context_tokens) == (4, 131072)
    assert (made.price_input, made.price_cached, made.price_output) == (0.35, 0.1, 0.75)
    assert (made.fall_back_on_auth, made.fall_back_on_not_found) == (True, False)
    url = reverse("provider", args=[made.pk])
    assert '<details class="extras" open>' in client.get(url).content.decode()
    cleared = fields_of(made) | EXTRAS | {"price_cached": "", "fall_back_on_not_found": "on"}
    del cleared["fall_back_on_auth"]
    panel = text_of(client.post(url, cleared))
    assert "Price of cached input $0.1 per million tokens –" in panel
    assert "When its key is refused fall back –" in panel
    client.post(url, cleared | {"confirm": "1"})
    made.refresh_from_db()
    assert (made.price_cached, made.fall_back_on_auth, made.fall_back_on_not_found) == (None, False, True)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"price_input": "1"}, "Give the prices of input and of output, or no price."),
        ({"price_cached": "1"}, "Give the prices of input and of output, or no price."),
        ({"price_input": "-1", "price_output": "1"}, "greater than or equal to 0"),
        ({"price_input": "nan", "price_output": "1"}, "Enter a number"),
        ({"max_concurrent": "0"}, "greater than or equal to 1"),
        ({"context_tokens": "many"}, "Enter a whole number"),
    ],
)
def test_an_error_among_the_rarer_fields_opens_them(wrong, sentence, client_for, administrator):
    response = client_for(administrator, htmx=True).post(reverse("provider_new"), NEW | wrong)
    assert response.status_code == 422
    assert sentence in text_of(response)
    assert '<details class="extras" open>' in response.content.decode()


def test_another_kind_keeps_what_was_typed_and_which_boxes_were_cleared(add, client_for, administrator):
    provider = add(key=KEY)
    client, url = client_for(administrator, htmx=True), reverse("provider", args=[provider.pk])
    cleared = fields_of(provider, kind="cerebras", max_concurrent="9", reshape="1")
    del cleared["fall_back_on_auth"], cleared["fall_back_on_refused"]
    page = client.post(url, cleared).content.decode()
    assert 'value="9"' in page
    assert '<details class="extras" open>' in page
    assert "checked" not in page
    new = client.get(reverse("provider_new")).content.decode()
    assert '<details class="extras">' in new


def test_the_embedded_model_has_only_a_limit(client_for, administrator):
    sent = NEW | EXTRAS | {"kind": "local", "name": "tiny"}
    client = client_for(administrator, htmx=True)
    names = set(
        re.findall(r' name="(\w+)"', client.post(reverse("provider_new"), sent | {"reshape": "1"}).content.decode())
    )
    assert names & (set(EXTRAS) | {"adaptations", "stall_ms"}) == {"max_concurrent", "stall_ms"}
    client.post(reverse("provider_new"), sent | {"confirm": "1"})
    made = Provider.objects.get()
    assert (made.max_concurrent, made.price_input, made.context_tokens, made.fall_back_on_auth) == (
        4,
        None,
        None,
        False,
    )


def test_a_new_provider_falls_back_unless_its_boxes_are_cleared(client_for, administrator):
    client = client_for(administrator, htmx=True)
    page = client.get(reverse("provider_new")).content.decode()
    ticked = re.findall(r'<input type="checkbox" name="(\w+)"[^>]* checked', page)
    assert ticked == ["fall_back_on_auth", "fall_back_on_refused"]
    client.post(reverse("provider_new"), NEW | {"confirm": "1"})
    made = Provider.objects.get()
    assert (made.fall_back_on_auth, made.fall_back_on_not_found, made.fall_back_on_refused) == (False, False, False)


def test_a_box_that_a_kind_did_not_have_is_ticked_when_the_kind_changes(client_for, administrator):
    """The embedded model has no key, so its form says nothing of refused keys."""
    client = client_for(administrator, htmx=True)
    sent = NEW | {"reshape": "1", "shown": ["fall_back_on_refused"]}
    page = client.post(reverse("provider_new"), sent).content.decode()
    assert re.findall(r'<input type="checkbox" name="(\w+)"[^>]* checked', page) == ["fall_back_on_auth"]


STREAM = {"first_text_ms": "2000", "stall_ms": "1500", "adaptations": ["no_temperature", "system_in_user"]}


def test_limits_of_a_stream_and_adaptations_are_saved_and_shown(client_for, administrator):
    client = client_for(administrator, htmx=True)
    panel = text_of(client.post(reverse("provider_new"), NEW | STREAM))
    assert "First text within – 2,000 ms" in panel
    assert "Longest pause – 1,500 ms" in panel
    labels = [ADAPTATIONS[name].label for name in STREAM["adaptations"]]
    assert f"Asked differently – {'; '.join(labels)}" in panel
    client.post(reverse("provider_new"), NEW | STREAM | {"confirm": "1"})
    made = Provider.objects.get()
    assert (made.first_text_ms, made.stall_ms, made.adaptations) == (2000, 1500, STREAM["adaptations"])
    page = client.get(reverse("provider", args=[made.pk])).content.decode()
    assert '<details class="extras" open>' in page
    assert re.findall(r'name="adaptations" value="(\w+)"[^>]* checked', page) == STREAM["adaptations"]
    reshaped = client.post(reverse("provider", args=[made.pk]), fields_of(made, kind="cerebras", reshape="1"))
    assert re.findall(r'name="adaptations" value="(\w+)"[^>]* checked', reshaped.content.decode()) == made.adaptations


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"stall_ms": "99"}, "greater than or equal to 100"),
        ({"first_text_ms": "600001"}, "less than or equal to 600000"),
        ({"timeout_ms": "1000", "first_text_ms": "1001"}, "at most the time limit of one call, 1,000 ms"),
        ({"adaptations": "no_such_thing"}, "not one of the available choices"),
    ],
)
def test_limits_and_adaptations_that_cannot_be_used_are_refused(wrong, sentence, client_for, administrator):
    response = client_for(administrator, htmx=True).post(reverse("provider_new"), NEW | wrong)
    assert response.status_code == 422
    assert sentence in text_of(response)


@pytest.mark.parametrize("pasted", ["http://vllm:8000/v1/chat/completions", "http://vllm:8000/v1/chat/completions/"])
def test_a_whole_endpoint_is_saved_as_its_base_url_and_the_page_says_so(pasted, client_for, administrator):
    client = client_for(administrator, htmx=True)
    sent = NEW | {"kind": "openai", "name": "vllm", "base_url": pasted}
    saved = "The base URL is saved as http://vllm:8000/v1: PromptOps adds /chat/completions itself."
    panel = text_of(client.post(reverse("provider_new"), sent))
    assert saved in panel
    assert "Base URL – http://vllm:8000/v1 " in panel
    client.post(reverse("provider_new"), sent | {"confirm": "1"})
    assert saved in text_of(client.get(reverse("providers"), headers={"HX-Request": "false"}))
    made = Provider.objects.get()
    assert made.base_url == "http://vllm:8000/v1"
    again = client.post(reverse("provider", args=[made.pk]), fields_of(made, base_url=pasted))
    assert "No changes to save" in text_of(again)
    assert saved not in text_of(client.post(reverse("provider", args=[made.pk]), fields_of(made, model="other")))


# ---------------------------------------------------------------- credit, cooldowns, what was learned


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
    ("falls_back", "spare", "told"),
    [
        (True, True, "The key of groq was refused : runs use spare."),
        (False, True, "The key of groq was refused : it does not fall back: runs fail."),
        (True, False, "The key of groq was refused : no other provider can answer: runs fail."),
    ],
)
def test_a_refused_key_is_shouted_on_the_overview(
    falls_back, spare, told, add, health, client_for, viewer, administrator
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
    assert told in text_of(page)
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


def test_what_was_learned_is_on_the_page_and_can_be_forgotten(
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
    assert "Nothing so far" in client.get(url).content.decode()
    assert AuditEntry.objects.first().action == "provider.adaptation_forgotten"
    client.post(forget, {"name": "max_completion_tokens"})
    assert "has not learned this" in client.get(url).content.decode()
