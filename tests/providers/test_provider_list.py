"""The list of providers over HTTP: what it shows, its controls, and the results of test calls."""

import re
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.providers.models import Provider
from promptops.runs.queries import providers as queries
from tests.providers.pages import KEY, NEW, call, text_of

pytestmark = pytest.mark.django_db


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
        opened = [("open", row.pk) for row in Provider.objects.all()]
        with CaptureQueriesContext(connection) as captured:
            page = client.get(f"{reverse('providers')}?{urlencode(opened)}").content.decode()
        assert page.count('class="provider-details"') == count
        counts.append(len(captured))
    assert counts[:2] == counts[2:]


def test_the_list_shows_everything_but_keys(add, client_for, viewer, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "gsk_in-the-environment")
    opened = [add("stored", key=KEY), add("env", key_env="GROQ_API_KEY")]
    run = call("env", "failed", "env answered 503: <b>busy</b>")
    response = client_for(viewer).get(reverse("providers"), {"open": [row.pk for row in opened]})
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


def test_a_row_opens_and_closes_and_stays_open_while_the_list_refreshes(add, client_for, viewer):
    first, second = add("first", key=KEY), add("second", key=KEY)
    for number in range(5):
        call("first", "failed", f"first answered 50{number}")
    client, url = client_for(viewer, htmx=True), reverse("providers")
    closed = client.get(url).content.decode()
    assert "provider-details" not in closed
    assert f'href="{url}?open={first.pk}"' in closed
    response = client.get(url, {"open": [first.pk, "x"]})
    page, text = response.content.decode(), text_of(response)
    assert page.count("provider-details") == 1
    assert f'hx-get="{url}?open={first.pk}"' in page  # the refresh
    assert f'href="{url}?open={first.pk}&amp;open={second.pk}"' in page
    assert re.search(f'href="{url}"[^>]*id="open-{first.pk}"[^>]*aria-expanded="true"', page)
    assert re.findall(r": (first answered 50\d)", text) == [f"first answered 50{number}" for number in (4, 4, 3, 2)]
    client.get(url, {"open": 10**30})


def test_an_htmx_request_gets_only_the_list(add, client_for, viewer):
    add(key=KEY)
    page = client_for(viewer, htmx=True).get(reverse("providers")).content.decode()
    assert page.lstrip().startswith("<section")
    assert "<html" not in page


def test_an_empty_chain_and_one_that_is_off_show_the_next_step(add, client_for, administrator, viewer):
    assert "Add a provider" in text_of(client_for(administrator).get(reverse("providers")))
    assert "Ask an administrator to add one" in text_of(client_for(viewer).get(reverse("providers")))
    add(key=KEY, enabled=False)
    assert "No provider is on, so every run fails. Turn one on." in text_of(
        client_for(administrator).get(reverse("providers"))
    )


def test_turning_off_and_on_passes_the_panel(add, client_for, releaser):
    provider, _ = add(key=KEY), add("other", key=KEY)
    client, url = client_for(releaser, htmx=True), reverse("provider_enabled", args=[provider.pk])
    panel = client.post(url, {"enabled": "0"})
    assert "Turn groq off" in text_of(panel)
    assert "Every run fails" not in text_of(panel)
    assert 'name="enabled" value="0"' in panel.content.decode()  # the panel carries it: the list may change behind it
    provider.refresh_from_db()
    assert provider.enabled
    here = f"{reverse('providers')}?open={provider.pk}"
    sent = {"enabled": "0", "confirm": "1", "note": "broken"}
    done = client.post(url, sent, headers={"HX-Current-URL": f"http://testserver{here}"})
    assert done["HX-Redirect"] == here  # the rows that were open
    provider.refresh_from_db()
    assert not provider.enabled
    again = client.post(url, {"enabled": "0", "confirm": "1"})
    assert again.status_code == 409
    assert "groq is already off" in text_of(again)
    assert 'name="confirm"' not in again.content.decode()
    client.post(url, {"enabled": "1", "confirm": "1"})
    provider.refresh_from_db()
    assert provider.enabled


def test_turning_off_the_last_one_warns(add, client_for, releaser):
    provider = add(key=KEY)
    panel = client_for(releaser, htmx=True).post(reverse("provider_enabled", args=[provider.pk]), {"enabled": "0"})
    assert "Every run fails" in text_of(panel)


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
    monkeypatch.setattr("promptops.providers.actions.chain.record_release", breaks)
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
    monkeypatch.setattr("promptops.prompts.views.index.render", lambda *_, **__: 1 / 0)
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
    assert "Someone changed the providers in the meantime" in text_of(stale)
    nonsense = client.post(url, {"order": ["x"], "expected": "", "confirm": "1"})
    assert nonsense.status_code == 409


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
        ({"state": "failed", "error": "groq answered 401: no", "run_id": 7}, "test failed run 7 groq answered 401: no"),
        ({"state": "failed", "error": "Something broke."}, "test failed Something broke."),
        ({"state": "canceled"}, "test canceled"),
    ],
)
def test_a_result_goes_to_its_place_in_the_list(context, sentence, add, client_for, viewer):
    provider = add(key=KEY)
    result = render_to_string("providers/_test_result.html", context | {"provider": provider})
    place = f'<div id="test-result-{provider.pk}"'
    assert result.startswith(f'{place} hx-swap-oob="innerHTML">')
    assert place.removeprefix("<div ") in client_for(viewer).get(reverse("providers")).content.decode()
    assert sentence in re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", result)).replace(" ,", ",")
    assert ('name="action" value="cancel"' in result) == (context["state"] == "running")
