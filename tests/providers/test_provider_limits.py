"""The closed section of a provider's form: limits, prices, fallback and adaptations."""

import re

import pytest
from django.urls import reverse

from promptops.engine.providers.adaptations import ADAPTATIONS
from promptops.engine.providers.kinds import build_provider
from promptops.live import snapshots as live
from promptops.providers.models import Provider
from tests.providers.pages import KEY, NEW, fields_of, text_of

pytestmark = pytest.mark.django_db

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
    assert '<details class="extras" id="extras" open>' in client.get(url).content.decode()
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
        ({"price_input": "1"}, "Enter the prices of both input and output, or no price."),
        ({"price_cached": "1"}, "Enter the prices of both input and output, or no price."),
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
    assert '<details class="extras" id="extras" open>' in response.content.decode()


def test_another_kind_keeps_what_was_typed_and_which_boxes_were_cleared(add, client_for, administrator):
    provider = add(key=KEY)
    client, url = client_for(administrator, htmx=True), reverse("provider", args=[provider.pk])
    cleared = fields_of(provider, kind="cerebras", max_concurrent="9", reshape="1")
    del cleared["fall_back_on_auth"], cleared["fall_back_on_refused"]
    page = client.post(url, cleared).content.decode()
    assert 'value="9"' in page
    assert '<details class="extras" id="extras" open>' in page
    assert "checked" not in page
    new = client.get(reverse("provider_new")).content.decode()
    assert '<details class="extras" id="extras">' in new


def test_the_embedded_model_has_only_a_limit(client_for, administrator):
    sent = NEW | EXTRAS | {"kind": "local", "name": "tiny"}
    client = client_for(administrator, htmx=True)
    names = set(
        re.findall(r' name="(\w+)"', client.post(reverse("provider_new"), sent | {"reshape": "1"}).content.decode())
    )
    assert names & (set(EXTRAS) | {"adaptations", "stall_s"}) == {"max_concurrent", "stall_s"}
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
    """The embedded model has no key, so its form has no box for a refused key."""
    client = client_for(administrator, htmx=True)
    sent = NEW | {"reshape": "1", "shown": ["fall_back_on_refused"]}
    page = client.post(reverse("provider_new"), sent).content.decode()
    assert re.findall(r'<input type="checkbox" name="(\w+)"[^>]* checked', page) == ["fall_back_on_auth"]


STREAM = {
    "timeout_s": "2.5",
    "first_text_s": "2",
    "stall_s": "1.5",
    "adaptations": ["no_temperature", "system_in_user"],
}


def test_limits_of_a_stream_and_adaptations_are_saved_and_shown(client_for, administrator):
    client = client_for(administrator, htmx=True)
    panel = text_of(client.post(reverse("provider_new"), NEW | STREAM))
    assert "First text within – 2 s" in panel
    assert "Longest pause – 1.5 s" in panel
    labels = [ADAPTATIONS[name].label for name in STREAM["adaptations"]]
    assert f"Adapted requests – {'; '.join(labels)}" in panel
    client.post(reverse("provider_new"), NEW | STREAM | {"confirm": "1"})
    made = Provider.objects.get()
    assert (made.timeout_ms, made.first_text_ms, made.stall_ms) == (2500, 2000, 1500)
    assert made.adaptations == STREAM["adaptations"]
    page = client.get(reverse("provider", args=[made.pk])).content.decode()
    assert '<details class="extras" id="extras" open>' in page
    assert re.findall(r'name="adaptations" value="(\w+)"[^>]* checked', page) == STREAM["adaptations"]
    assert re.findall(r'name="\w+_s" value="([\d.]+)"', page) == ["2.5", "2", "1.5"]
    reshaped = client.post(reverse("provider", args=[made.pk]), fields_of(made, kind="cerebras", reshape="1"))
    assert re.findall(r'name="adaptations" value="(\w+)"[^>]* checked', reshaped.content.decode()) == made.adaptations


def test_the_form_of_json_answers_is_saved_shown_and_used(client_for, administrator):
    client = client_for(administrator, htmx=True)
    wanted = NEW | {"json_mode": "schema"}
    panel = text_of(client.post(reverse("provider_new"), wanted))
    assert "For a JSON answer – JSON that fits the schema" in panel
    client.post(reverse("provider_new"), wanted | {"confirm": "1"})
    made = Provider.objects.get()
    assert made.json_mode == "schema"
    spec = live.load().providers[0]
    assert (spec.json_mode, build_provider(spec).json_mode) == ("schema", "schema")
    url = reverse("provider", args=[made.pk])
    page = client.get(url).content.decode()
    assert '<option value="schema" selected>' in page
    assert "The usual for this kind: A JSON object" in page
    client.post(url, fields_of(made) | {"json_mode": "", "confirm": "1"})
    spec = live.load().providers[0]
    assert (spec.json_mode, build_provider(spec).json_mode) == (None, "object")
    assert "The usual for this kind: JSON that fits the schema" in text_of(
        client.post(reverse("provider_new"), NEW | {"kind": "local", "reshape": "1"})
    )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"json_mode": "yaml"}, "not one of the available choices"),
        ({"stall_s": "0.09"}, "greater than or equal to 0.1"),
        ({"first_text_s": "600.1"}, "less than or equal to 600"),
        ({"timeout_s": "1", "first_text_s": "1.001"}, "at most the time limit of one call, 1 s"),
        ({"adaptations": "no_such_thing"}, "not one of the available choices"),
    ],
)
def test_invalid_limits_and_adaptations_are_refused(wrong, sentence, client_for, administrator):
    response = client_for(administrator, htmx=True).post(reverse("provider_new"), NEW | wrong)
    assert response.status_code == 422
    assert sentence in text_of(response)


@pytest.mark.parametrize("pasted", ["http://vllm:8000/v1/chat/completions", "http://vllm:8000/v1/chat/completions/"])
def test_a_whole_endpoint_is_saved_as_its_base_url_and_the_page_says_so(pasted, client_for, administrator):
    client = client_for(administrator, htmx=True)
    sent = NEW | {"kind": "openai", "name": "vllm", "base_url": pasted}
    saved = "The base URL is saved as http://vllm:8000/v1. PromptOps adds /chat/completions itself."
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
