"""The Alerts page over HTTP: destinations, the secret that is shown once, tests, the log, and the overview's notice."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from promptops.alerts.actions import deliveries, looking
from promptops.alerts.actions.deliveries import Answer
from promptops.alerts.models import AlertRules, Delivery, Destination
from promptops.platform import crypto
from tests.alerts.helpers import ADDRESS, save_email, save_webhook

pytestmark = pytest.mark.django_db
NEW = reverse("destination_new")
FORM = {"kind": "webhook", "name": "On call", "address": ADDRESS, "alerts": ["provider.down"], "hold_minutes": "2"}


@pytest.fixture
def client(client_for, administrator):
    return client_for(administrator)


@pytest.fixture
def htmx(client_for, administrator):
    return client_for(administrator, htmx=True)


def test_an_empty_page_says_what_to_do(client):
    page = client.get(reverse("alerts")).content.decode()
    assert "Nothing leaves this page yet" in page
    assert f'href="{NEW}?kind=webhook"' in page


def test_the_secret_of_a_webhook_is_on_one_page_only(htmx, client):
    shown = htmx.post(NEW, FORM).content.decode()
    row = Destination.objects.get()
    secret = crypto.decrypt(row.secret_encrypted)
    assert f">{secret}</textarea>" in shown
    for address in (reverse("alerts"), reverse("destination", args=[row.pk]), reverse("audit"), reverse("overview")):
        page = client.get(address).content.decode()
        assert secret not in page
        assert "topsecretpath" not in page


def test_an_invalid_form_keeps_its_values(htmx):
    response = htmx.post(NEW, FORM | {"address": "https://10.0.0.5/hook", "alerts": ["safety.failing"]})
    page = response.content.decode()
    assert response.status_code == 422
    assert "10.0.0.5 is a private address" in page
    assert 'value="https://10.0.0.5/hook"' in page
    assert 'id="alerts-safety.failing" checked' in page
    assert not Destination.objects.exists()


def test_recipients_are_added_changed_and_removed(client, htmx):
    values = {"kind": "email", "name": "Team", "recipients": "ada@example.org\r\n", "alerts": ["release.made"]}
    client.post(f"{NEW}?kind=email", values | {"hold_minutes": "1"})
    row = Destination.objects.get()
    url = reverse("destination", args=[row.pk])
    assert "ada@example.org</textarea>" in client.get(url).content.decode()
    changed = values | {"recipients": "ada@example.org\neddie@example.org", "hold_minutes": "3", "expected": "1"}
    assert client.post(url, changed).status_code == 302
    row.refresh_from_db()
    assert (row.recipients, row.hold_minutes) == (["ada@example.org", "eddie@example.org"], 3)
    stale = client.post(url, changed | {"name": "Others"})
    assert (stale.status_code, "Someone changed this destination" in stale.content.decode()) == (422, True)
    remove = reverse("destination_remove", args=[row.pk])
    assert "cannot be undone" in htmx.post(remove).content.decode()
    htmx.post(remove, {"confirm": "1"})
    assert not Destination.objects.exists()


def test_turning_and_rotating(client, htmx, actor):
    row = save_webhook(actor)
    before = row.secret_encrypted
    client.post(reverse("destination_enabled", args=[row.pk]), {"enabled": "0"})
    rotate = reverse("destination_secret", args=[row.pk])
    assert "whsec_" not in htmx.post(rotate).content.decode()
    shown = htmx.post(rotate, {"confirm": "1"}).content.decode()
    row.refresh_from_db()
    assert not row.enabled
    assert row.previous_secret_encrypted == before
    assert crypto.decrypt(row.secret_encrypted) in shown


def test_a_test_is_followed_until_the_receiver_answers(htmx, actor):
    row = save_webhook(actor)
    started = htmx.post(reverse("destination_test", args=[row.pk])).content.decode()
    state = reverse("delivery", args=[Delivery.objects.get().pk])
    assert f'hx-get="{state}" hx-trigger="every 1s"' in started
    assert "Sending" in htmx.get(state).content.decode()
    (claimed,) = deliveries.claim(timezone.now(), 1, is_test=True)
    deliveries.settle(claimed, Answer(False, "500: <b>down</b>"), now=timezone.now())
    ended = htmx.get(state).content.decode()
    assert "test failed" in ended
    assert "500: &lt;b&gt;down&lt;/b&gt;" in ended
    assert "every 1s" not in ended


def test_a_test_can_be_canceled(htmx, actor):
    htmx.post(reverse("destination_test", args=[save_webhook(actor).pk]))
    page = htmx.post(reverse("delivery_cancel", args=[Delivery.objects.get().pk])).content.decode()
    assert "test canceled" in page
    assert deliveries.claim(timezone.now(), 1, is_test=True) == []


def test_the_log_shows_messages_and_sends_one_again(client, htmx, actor, publish):
    save_webhook(actor)
    publish("enhance", "Text")
    looking.look()
    (claimed,) = deliveries.claim(timezone.now(), 1)
    deliveries.settle(claimed, Answer(True, "204 No Content"), now=timezone.now())
    page = htmx.get(reverse("alerts")).content.decode()
    assert "<html" not in page
    assert "r1: Ada Administrator published enhance v1" in page
    assert "204 No Content" in page
    htmx.post(reverse("delivery_again", args=[claimed.pk]))
    assert Delivery.objects.get().state == "waiting"
    refused = client.post(reverse("delivery_again", args=[claimed.pk]), follow=True).content.decode()
    assert "waits to be sent already" in refused


@pytest.mark.parametrize("count", [1, 30])
def test_the_number_of_queries_does_not_grow(client, actor, django_assert_max_num_queries, count):
    rows = [save_webhook(actor, f"On call {number}") for number in range(count)]
    for number in range(count):
        deliveries.queue(deliveries.Message(str(number), "test", "Something.", timezone.now()), rows[:1])
    client.get(reverse("alerts"))
    with django_assert_max_num_queries(11):
        page = client.get(reverse("alerts")).content.decode()
    assert page.count("data-destination=") == count
    assert page.count("data-delivery=") == min(count, 25)


def test_the_error_rate_is_changed(client):
    url = reverse("alert_rules")
    values = {"error_percent": "50", "error_runs": "9", "error_minutes": "5", "expected": "0"}
    assert client.post(url, values | {"error_percent": "0"}).status_code == 422
    assert client.post(url, values).status_code == 302
    assert AlertRules.objects.get().error_percent == 50
    assert "Someone changed the error rate" in client.post(url, values).content.decode()


def test_the_overview_says_that_alerts_arrive_nowhere(client, client_for, viewer, actor):
    row = save_email(actor)
    assert "Alerts do not reach" not in client.get("/").content.decode()
    row.failing_since = timezone.now() - timedelta(hours=2)
    row.save()
    link = f'href="{reverse("destination", args=[row.pk])}"'
    for reader, has_link in ((client, True), (client_for(viewer), False)):
        page = reader.get("/").content.decode()
        assert "Alerts do not reach" in page
        assert (link in page) is has_link


def test_mail_that_is_missing_is_said_where_it_matters(client, settings, actor):
    settings.EMAIL_HOST = ""
    save_webhook(actor)
    assert "Mail is not configured" not in client.get(reverse("alerts")).content.decode()
    save_email(actor)
    assert "Mail is not configured" in client.get(reverse("alerts")).content.decode()
    assert "Mail is not configured" in client.get(f"{NEW}?kind=email").content.decode()
    settings.EMAIL_HOST = "mail.example.org"
    assert "Mail is not configured" not in client.get(f"{NEW}?kind=email").content.decode()
