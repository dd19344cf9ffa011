"""Alerts from the first webhook to a receiver on loopback: added, tested, told of a release, seen in the log."""

import json
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from promptops.alerts import following, signing
from promptops.alerts.enums import DeliveryState
from promptops.alerts.models import Delivery, Destination
from tests.alerts.helpers import save_email
from tests.alerts.receiver import Receiver, receiving
from tests.browser.conftest import Pages
from tests.browser.looks import faults


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def test_a_webhook_is_added_tested_and_told_of_a_release(
    publish, administrator, actor, page_for, pages: Pages, receiver: Receiver, settings, monkeypatch
) -> None:
    settings.WEBHOOK_PRIVATE_HOSTS = ["127.0.0.1"]
    monkeypatch.setattr(following, "SECONDS", 0.5)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.5)
    pages.expect_errors("status of 422")
    page = pages.connected(page_for(administrator, "/settings/alerts/"))
    assert faults(page, "alerts-empty") == []
    page.get_by_role("link", name="Add a webhook").click()
    page.get_by_label("Name").fill("On call")
    page.get_by_label("Address").fill("ftp://nowhere")
    page.get_by_role("button", name="Add the webhook").click()
    expect(page.get_by_text("Give an address such as")).to_be_visible()
    assert faults(page, "alerts-form") == []
    page.get_by_label("Address").fill(receiver.url)
    page.get_by_role("button", name="Add the webhook").click()
    expect(page.get_by_role("textbox", name="Secret")).to_be_visible()
    secret = page.get_by_role("textbox", name="Secret").input_value()
    assert secret.startswith("whsec_")
    assert faults(page, "alerts-secret") == []
    page.get_by_role("link", name="Done").click()

    page.get_by_role("button", name="Send a test to On call").click()
    expect(page.get_by_text("test delivered")).to_be_visible()
    expect(page.get_by_text("200 OK")).to_be_visible()
    receiver.status = 500
    page.get_by_role("button", name="Send a test to On call").click()
    expect(page.get_by_text("test failed")).to_be_visible()
    assert faults(page, "alerts-destination") == []
    receiver.status = 200

    publish("enhance", "Polish the prompt.", note="Warmer")
    page.clock.install()
    page.goto("/settings/alerts/")
    row = page.locator("[data-delivery]", has_text="published enhance v1")
    delivered = Delivery.objects.filter(type="promptops.release.made", state=DeliveryState.DELIVERED)
    end = time.monotonic() + 30
    while not delivered.exists():
        assert time.monotonic() < end
        page.wait_for_timeout(100)
    page.clock.fast_forward(10_000)  # the log reads itself again
    expect(row).to_contain_text("Delivered", timeout=30_000)
    assert row.get_by_text("On call").evaluate("name => name.getClientRects().length") == 1  # on one line
    headers, body = next(each for each in receiver.got if b"release.made" in each[1])
    assert json.loads(body)["data"]["note"] == "Warmer"
    expected = signing.signature(secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == expected

    row.get_by_role("button", name="Send again").click()
    expect(page.locator("#toasts")).to_contain_text("sent to On call again")
    save_email(actor, "Team 团队 فريق " + "x" * 30)
    Destination.objects.filter(name="On call").update(enabled=False, off_reason="The receiver answered 410.")
    page.goto("/settings/alerts/")
    expect(page.get_by_text("turned off")).to_be_visible()
    assert faults(page, "alerts-list") == []
