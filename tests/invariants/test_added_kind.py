"""A provider kind that is registered as data is offered, checked, saved and called, with no other file changed."""

import json
from collections.abc import Iterator

import pytest
from channels.db import database_sync_to_async
from django.urls import reverse

from promptops.engine import AuthHeader, KindSpec, OpenAICompatibleProvider, register_kind
from promptops.engine.providers import kinds
from promptops.providers.key_variables import permitted
from promptops.providers.models import Provider
from promptops.runs.models import Attempt
from promptops.runs.queries.providers import one
from promptops.site.system_checks import keys_are_sent
from tests.engine.helpers import answer_with, completion, http_answer, loopback
from tests.web.sockets import page_socket

KEY = "sk-vendor-secret"
VENDOR = KindSpec(
    name="vendor",
    label="Vendor & Sons",
    provider=OpenAICompatibleProvider,
    base_url="https://api.vendor.example/v1",
    key_env="VENDOR_API_KEY",
    auth=AuthHeader("api-key"),
    example_model="vendor-large",
)


@pytest.fixture
def vendor() -> Iterator[KindSpec]:
    register_kind(VENDOR)
    yield VENDOR
    kinds._kinds.pop(VENDOR.name, None)


def test_the_form_has_its_label_placeholders_and_variable(vendor, client_for, administrator) -> None:
    sent = {"kind": "vendor", "name": "v", "key_source": "environment", "reshape": "1"}
    page = client_for(administrator, htmx=True).post(reverse("provider_new"), sent).content.decode()
    expected = [
        '<option value="vendor" selected>Vendor &amp; Sons</option>',
        'placeholder="vendor-large"',
        'placeholder="https://api.vendor.example/v1"',
        'value="VENDOR_API_KEY"',
        "VENDOR_API_KEY is not set",
    ]
    assert [words for words in expected if words not in page] == []
    assert "id_key_source_none" not in page  # its key is required


@pytest.mark.parametrize(
    ("address", "is_sent"),
    [("https://api.vendor.example/v1", True), ("http://127.0.0.1:1/v1", True), ("https://evil.example/v1", False)],
)
def test_its_variable_goes_to_its_host_only(address, is_sent, vendor) -> None:
    assert (permitted().problem("VENDOR_API_KEY", address) is None) is is_sent


@pytest.mark.django_db(transaction=True)
async def test_it_is_saved_and_called_with_its_own_header(vendor, client_for, administrator, monkeypatch) -> None:
    monkeypatch.setenv("VENDOR_API_KEY", KEY)
    async with loopback(answer_with(http_answer(completion("A red fox runs.")))) as upstream:

        def save() -> Provider:
            sent = {"kind": "vendor", "name": "v", "model": "m", "base_url": upstream.url, "timeout_s": ""}
            sent |= {"key_source": "environment", "key_env": "VENDOR_API_KEY", "confirm": "1"}
            client = client_for(administrator, htmx=True)
            assert client.post(reverse("provider_new"), sent).status_code in {200, 204, 302}
            made = Provider.objects.get()
            assert keys_are_sent(databases=["default"]) == []
            assert (one(made).kind, one(made).state) == ("Vendor & Sons", "unknown")
            assert client.get(reverse("provider", args=[made.pk])).status_code == 200
            return made

        made = await database_sync_to_async(save)()
        async with page_socket(administrator) as socket:
            await socket.send_to(text_data=json.dumps({"action": "test", "provider": str(made.pk)}))
            while "A red fox runs." not in await socket.receive_from(timeout=5):
                pass
    [request] = upstream.requests
    assert request.headers["api-key"] == KEY
    assert "authorization" not in request.headers
    attempt = await Attempt.objects.aget()
    assert (attempt.provider, attempt.outcome) == ("v", "succeeded")


@pytest.mark.django_db
def test_a_provider_of_an_unknown_kind_is_still_shown(vendor, client_for, administrator) -> None:
    provider = Provider.objects.create(name="v", kind="vendor", position=1, key_env="VENDOR_API_KEY")
    del kinds._kinds[VENDOR.name]
    client = client_for(administrator)
    assert one(provider).state == "not installed"
    assert "This installation has no provider kind vendor." in one(provider).detail
    for url in (reverse("providers"), reverse("provider", args=[provider.pk])):
        assert client.get(url).status_code == 200
