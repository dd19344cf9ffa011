"""Adding and editing a provider over HTTP: fields, refusals, and keys that never come back."""

import logging
import re

import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings
from django.urls import reverse

from promptops.engine.errors import (
    LLMMissingKeyError,
)
from promptops.engine.providers import build_provider
from promptops.engine.types import LLMMessage, LLMRequest
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry
from promptops.providers.actions import chain as actions
from promptops.providers.actions.chain import ProviderFields
from promptops.providers.live_part import provider_spec
from promptops.providers.models import Provider
from promptops.site.system_checks import keys_are_sent
from tests.providers.pages import KEY, NEW, fields_of, revision, text_of

pytestmark = pytest.mark.django_db


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
    assert "groq was added at the end of the chain. To undo, turn it off." in text_of(page)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"name": "Not Good"}, "Use lower-case letters"),
        ({"name": "taken"}, "A provider of that name exists"),
        ({"kind": "openai", "base_url": ""}, "required"),
        ({"base_url": "https://me:pw@api.example/v1"}, "no password"),
        ({"timeout_s": "0.05"}, "greater than or equal to 0.1"),
        ({"key": ""}, "required"),
        ({"key_source": "environment", "key_env": ""}, "required"),
        ({"key_source": "environment", "key_env": "SECRET_KEY"}, "a secret of PromptOps itself"),
        ({"kind": "telepathy"}, "Select a valid choice"),
    ],
)
def test_a_form_with_errors_keeps_what_was_typed_but_not_the_key(wrong, sentence, add, client_for, administrator):
    add("taken", key="other")
    sent = NEW | {"timeout_s": "1.5"} | wrong
    response = client_for(administrator, htmx=True).post(reverse("provider_new"), sent)
    page = response.content.decode()
    assert response.status_code == 422
    assert (response["HX-Retarget"], response["HX-Reswap"]) == ("#provider-form", "outerHTML")
    assert sentence in text_of(response)
    assert f'value="{sent["timeout_s"]}"' in page
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
        ("local", "environment", {"name", "timeout_s"}, {"model", "base_url", "key_source", "key_env", "key"}),
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
    sent = {"kind": "local", "name": "tiny", "timeout_s": "", "confirm": "1"}
    client_for(administrator, htmx=True).post(reverse("provider_new"), sent)
    made = Provider.objects.get()
    assert (made.kind, made.name, made.model, made.key_state) == ("local", "tiny", "", "no key")


def test_a_name_taken_while_the_panel_is_open_is_shown_in_the_panel(add, client_for, administrator):
    add("groq", key=KEY)
    response = client_for(administrator, htmx=True).post(reverse("provider_new"), NEW | {"confirm": "1"})
    assert response.status_code == 409
    assert "A provider of that name exists" in text_of(response)
    assert "HX-Retarget" not in response


def test_an_edit_shows_what_changes_then_saves_it(add, client_for, administrator):
    provider = add(key=KEY)
    client, url = client_for(administrator, htmx=True), reverse("provider", args=[provider.pk])
    panel = text_of(client.post(url, fields_of(provider, model="n", timeout_s="0.9")))
    assert "Model id m n" in panel
    assert "Time limit – 0.9 s" in panel
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
    assert "entered for another server" in panel
    assert client.post(url, sent | {"confirm": "1"})["HX-Redirect"] == url
    provider.refresh_from_db()
    assert provider.key_encrypted == ""


def test_another_server_loses_the_name_of_the_variable_too(add, client_for, administrator):
    """Otherwise a person who edits the address could send the variable anywhere."""
    provider = add(kind="openai", key_env="GATEWAY_API_KEY")
    client, url = client_for(administrator, htmx=True), reverse("provider", args=[provider.pk])
    sent = fields_of(provider, base_url="https://other.example/v1")
    assert "entered for another server" in text_of(client.post(url, sent))
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
    """This can happen after an upgrade from a release that accepted any name."""
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
def test_a_key_that_travels_unencrypted_brings_a_warning(address, warns, add, client_for, administrator):
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
    assert "Someone changed groq in the meantime. Your text is kept" in text_of(response)
    assert "Model id theirs mine" in text_of(response)
    handed = re.search(r'name="expected" id="id_expected" value="(\d+)" hx-swap-oob', response.content.decode())
    assert int(handed[1]) == theirs.changed_revision
    provider.refresh_from_db()
    assert provider.model == "theirs"
    assert client.post(url, sent | {"expected": handed[1], "confirm": "1"})["HX-Redirect"]
    provider.refresh_from_db()
    assert provider.model == "mine"


def test_an_open_form_shows_that_somebody_changed_its_provider(add, client_for, administrator):
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
    assert "stored key stored key (the one you typed)" in text_of(panel)
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
    ("source", "state"),
    [
        ({"key_source": "environment", "key_env": "OTHER_API_KEY"}, "from OTHER_API_KEY"),
        ({"key_source": "none"}, "no key"),
        ({"key_source": "environment", "key_env": "OTHER_API_KEY", "key": "left over"}, "from OTHER_API_KEY"),
    ],
)
def test_a_key_from_elsewhere_drops_the_stored_one(source, state, add, client_for, administrator):
    provider = add(kind="openai", key=KEY)
    sent = source | {"expected": provider.changed_revision, "confirm": "1"}
    client_for(administrator, htmx=True).post(reverse("provider_key", args=[provider.pk]), sent)
    provider.refresh_from_db()
    assert (provider.key_state, provider.key_encrypted) == (state, "")
