"""Adding a provider in steps over HTTP: its models, a test, and only then the chain. The provider is on loopback."""

import logging
import re
from collections.abc import Iterator

import pytest
from django.urls import reverse

from promptops.ledger.models import AuditEntry
from promptops.providers.models import Provider
from promptops.runs.models import Run
from tests.browser.upstream import Upstream
from tests.engine.helpers import closed_port
from tests.providers.pages import KEY, revision, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


def typed(upstream: Upstream, **changes: str) -> dict[str, str]:
    local = {"kind": "openai", "name": "studio", "model": "fox-small", "base_url": upstream.url, "key_source": "none"}
    return local | {"timeout_s": "", "start": "live"} | changes


def test_a_local_server_needs_no_key_and_lists_its_models(upstream, client_for, administrator):
    client = client_for(administrator, htmx=True)
    cerebras = {"kind": "openai", "key_source": "environment", "key_env": "CEREBRAS_API_KEY", "reshape": "1"}
    page = client.post(reverse("provider_new"), cerebras).content.decode()
    assert re.search(r'name="key_source"[^>]*value="none"\s+checked', page)
    assert '<option value="http://127.0.0.1:11434/v1">Ollama</option>' in page
    response = client.post(reverse("provider_models"), typed(upstream, name="", model=""))
    assert re.findall(r'<option value="([^"]+)">', response.content.decode()) == ["fox-large", "fox-small"]
    assert "2 models listed" in text_of(response)
    assert upstream.keys == [None]
    assert not Provider.objects.exists()


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        (
            {"base_url": "http://169.254.169.254/v1"},
            200,
            "metadata service, which PromptOps never calls. You can still",
        ),
        ({"base_url": ""}, 200, "Base URL: This field is required. You can still"),
        ({"key_source": "environment", "key_env": "SECRET_KEY"}, 200, "a secret of PromptOps itself"),
        ({"key_source": "stored", "key": "two words"}, 200, "A key has no spaces"),
        ({"base_url": f"http://127.0.0.1:{closed_port()}/v1"}, 200, "Studio could not be reached: the connection was"),
        ({"key_source": "stored", "key": KEY}, 401, "Studio answered with status 401: Invalid API key [key]. You can"),
        ({}, 404, "Studio answered with status 404"),
        ({"kind": "local"}, 200, "Studio has no list of models."),
    ],
)
def test_a_list_that_cannot_be_had_says_why_and_never_shows_the_key(
    changes, status, sentence, upstream, client_for, administrator, caplog
):
    caplog.set_level(logging.DEBUG)
    upstream.status, upstream.message = status, f"Invalid API key {changes.get('key', '')}"
    response = client_for(administrator, htmx=True).post(reverse("provider_models"), typed(upstream, **changes))
    assert response.status_code == 200
    assert sentence in text_of(response)
    assert KEY not in response.content.decode() + caplog.text


def test_a_test_makes_one_call_and_saves_nothing(upstream, client_for, administrator):
    client, before = client_for(administrator, htmx=True), revision()
    response = client.post(reverse("provider_trial"), typed(upstream))
    assert re.search(r"studio answered in \d+ ms\. A red fox runs through fresh snow\.", text_of(response))
    assert [asked["model"] for asked in upstream.asked] == ["fox-small"]
    assert (Provider.objects.count(), Run.objects.count(), revision()) == (0, 0, before)
    upstream.status, upstream.message = 401, f"Invalid API key {KEY}"
    refused = client.post(reverse("provider_trial"), typed(upstream, key_source="stored", key=KEY))
    assert "Test failed. Studio answered with status 401: Invalid API key [key]." in text_of(refused)
    assert 'name="proof"' not in refused.content.decode()
    invalid = client.post(reverse("provider_trial"), typed(upstream, name="No Good", key_source="stored", key=KEY))
    assert (invalid.status_code, invalid["HX-Retarget"]) == (422, "#provider-form")
    assert "Use lower-case letters" in text_of(invalid)
    assert KEY not in invalid.content.decode()


@pytest.mark.parametrize(("start", "enabled"), [("live", True), ("off", False)])
def test_only_a_tested_provider_is_added_without_a_warning(start, enabled, upstream, client_for, administrator):
    client, sent = client_for(administrator, htmx=True), typed(upstream, start=start, key_source="stored", key=KEY)
    untested = "No test has passed with these values."
    assert untested in text_of(client.post(reverse("provider_new"), sent))
    shown = client.post(reverse("provider_trial"), sent).content.decode()
    sent["proof"] = re.search(r'name="proof" value="([^"]+)"', shown)[1]
    assert untested not in text_of(client.post(reverse("provider_new"), sent))
    for changed in ({"model": "fox-large"}, {"key": "another"}, {"base_url": "http://127.0.0.1:9/v1"}):
        assert untested in text_of(client.post(reverse("provider_new"), sent | changed))
    client.post(reverse("provider_new"), sent | {"confirm": "1"})
    assert (Provider.objects.get().enabled, AuditEntry.objects.first().action) == (enabled, "provider.created")


@pytest.mark.parametrize("name", ["provider_models", "provider_trial"])
def test_only_administrators_let_the_server_call_an_address(name, upstream, client_for, releaser):
    assert client_for(releaser).post(reverse(name), typed(upstream)).status_code == 403
    assert upstream.keys == upstream.asked == []
