"""Signing in by single sign-on and with a second step, in the browser."""

import re
import time
from collections.abc import Iterator

import pyotp
import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from promptops.ledger.models import AuditEntry
from promptops.people import openid
from promptops.people.actions import second_step, sign_on
from promptops.people.models import User
from promptops.prompts.models import Draft
from tests.browser.conftest import Pages
from tests.browser.editor import body, saved, stop_typing
from tests.browser.looks import faults
from tests.conftest import PASSWORD
from tests.people.provider import Provider, running

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def provider(settings) -> Iterator[Provider]:
    with running() as provider:
        openid.forget()
        settings.OIDC_ISSUER = provider.issuer
        settings.OIDC_CLIENT_ID = "promptops"
        settings.OIDC_CLIENT_SECRET = "secret"
        settings.OIDC_NAME = "Example"
        settings.OIDC_GROUPS = {"viewer": [], "editor": ["writers"], "releaser": [], "administrator": []}
        yield provider


def sign_on_at_provider(page: Page, subject: str) -> None:
    page.get_by_role("link", name="Sign in with Example").click()
    page.get_by_placeholder("sub").fill(subject)
    page.get_by_role("button", name="Authorize").click()


def test_single_sign_on_returns_to_the_same_draft_and_signs_out_at_the_provider(publish, provider, pages: Pages):
    pages.expect_errors("favicon", "localhost", "status of 403")
    publish("enhance", "The first text.")
    provider.person("1", preferred_username="eve", name="Eve Example", groups=["writers"])
    page = pages.open("/prompts/enhance/")
    assert not faults(page, "sign-in-with-sign-on")
    sign_on_at_provider(page, "1")
    page.wait_for_url("**/prompts/enhance/")
    body(page).fill("Kept by the server.")
    expect(saved(page)).to_have_text("Saved")
    page.clock.install()
    Session.objects.all().delete()
    body(page).press_sequentially(" And the rest.")
    stop_typing(page)
    page.wait_for_url(re.compile("/sign-in/"))
    sign_on_at_provider(page, "1")
    page.wait_for_url("**/prompts/enhance/")
    expect(body(page)).to_have_value("Kept by the server. And the rest.")
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().user == User.objects.get(username="eve")
    page.locator("details.menu").filter(has_text="Eve Example").locator("summary").click()
    expect(page.get_by_role("link", name="Change password")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{provider.issuer}/oauth2/end_session?*")
    provider.person("2", preferred_username="mallory", groups=[])
    page.goto(f"{pages.url}/sign-in/")
    sign_on_at_provider(page, "2")
    expect(page.locator("#sign-on-failed")).to_contain_text("None of your groups has a role")
    assert not faults(page, "sign-on-refused")


def test_a_person_sets_up_the_second_step_and_signs_in_with_it(editor, page_for, pages: Pages):
    page = page_for(editor, "/")
    page.locator("details.menu").filter(has_text="Eddie Editor").locator("summary").click()
    page.get_by_role("link", name="Second step").click()
    assert not faults(page, "second-step-setup")
    totp = pyotp.TOTP(page.locator("#secret").inner_text().replace(" ", ""))
    page.get_by_role("textbox", name="Code").fill(totp.now())
    page.get_by_role("button", name="Turn on the second step").click()
    codes = page.get_by_role("textbox", name="Recovery codes").input_value().split("\n")
    assert len(codes) == 10
    assert not faults(page, "second-step-codes")
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("Recovery codes left")).to_be_visible()
    assert not faults(page, "second-step-own")
    again = pages.open("/runs/")
    again.get_by_label("User name").fill("eddie")
    again.get_by_label("Password").fill(PASSWORD)
    again.get_by_role("button", name="Sign in").click()
    assert not faults(again, "second-step-code")
    pages.expect_errors("status of 422")
    again.get_by_role("textbox", name="Code").fill("12 34")
    again.get_by_role("button", name="Sign in").click()
    expect(again.get_by_text("That code is wrong or was used already")).to_be_visible()
    again.get_by_role("textbox", name="Code").fill(totp.at(int(time.time()) + 30))
    again.get_by_role("button", name="Sign in").click()
    again.wait_for_url("**/runs/")


def test_an_administrator_links_an_account_and_turns_off_a_second_step(
    provider, editor, administrator, page_for, pages: Pages
):
    secret = pyotp.random_base32()
    second_step.turn_on(editor, secret, pyotp.TOTP(secret).now())
    sign_on.record_refusal("the user name is taken", address="", user=editor, subject="f81d4fae-7dec-11d0-a765")
    page = page_for(administrator, f"/settings/people/{editor.pk}/sessions/")
    assert not faults(page, "person-sign-in")
    page.get_by_role("button", name="Link the account").click()
    page.get_by_role("button", name="Link Eddie Editor").click()
    expect(page.locator("#subject")).to_have_text("f81d4fae-7dec-11d0-a765")
    page.get_by_role("button", name="Turn off the second step").click()
    page.get_by_role("dialog").get_by_role("button", name="Turn off").click()
    expect(page.locator("#second-step-off")).to_have_count(0)
    assert not faults(page, "person-linked")
    assert AuditEntry.objects.filter(action="user.second_step_off", actor=administrator).exists()
