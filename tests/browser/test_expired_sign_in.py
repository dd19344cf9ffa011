"""Text that outlives a lost connection or an expired sign-in."""

import re

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from promptops.ledger.audit import SYSTEM
from promptops.people.actions.accounts import end_session
from promptops.people.models import User
from promptops.prompts.actions.templates import describe
from promptops.prompts.models import Draft, Template
from tests.browser.conftest import Gate, Pages, snap
from tests.browser.editor import BROKEN, LOST, body, expire, put_back, saved, stop_typing, undo
from tests.conftest import PASSWORD


@pytest.fixture
def enhance(publish) -> Template:
    return publish("enhance", "The first text.", note="First").template


def test_a_draft_that_could_not_be_saved_is_saved_later(enhance, editor, page_for, pages: Pages) -> None:
    pages.expect_errors(BROKEN)
    drafts = Gate()
    drafts.fail()
    page = pages.connected(page_for(editor, "/prompts/enhance/", routes={"**/draft/": drafts}))
    page.clock.install()
    body(page).fill("Typed while the server was ill.")
    expect(saved(page)).to_contain_text("Not saved: the server had an error (500). Your text is still here")
    assert not Draft.objects.exists()
    drafts.open()
    page.clock.fast_forward(6000)
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().body == "Typed while the server was ill."


def test_what_is_typed_offline_is_saved_when_the_net_is_back(enhance, editor, page_for, pages: Pages) -> None:
    pages.expect_errors(LOST)
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    page.context.set_offline(True)
    body(page).fill("Typed in a tunnel.")
    expect(saved(page)).to_contain_text("Not saved: the server could not be reached")
    expect(page.locator("#connection")).to_be_visible()
    page.context.set_offline(False)
    expect(saved(page)).to_have_text("Saved", timeout=3500)  # at once, not with the next try after 5 s
    expect(page.locator("#connection")).to_be_hidden()
    assert Draft.objects.get().body == "Typed in a tunnel."


def test_an_expired_login_returns_to_the_same_draft(enhance, editor, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    page.get_by_label("Viewer's prompt").fill("a whale in the clouds")
    body(page).fill("Kept by the server.")
    expect(saved(page)).to_have_text("Saved")
    page.clock.install()
    Session.objects.all().delete()
    body(page).press_sequentially(" And the rest.")
    stop_typing(page)
    page.wait_for_url(re.compile("/sign-in/"))
    page.get_by_label("User name").fill("eddie")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/prompts/enhance/")
    expect(body(page)).to_have_value(re.compile(r"And the rest\.$|^And the rest\."))
    expect(body(page)).to_have_value(re.compile("Kept by the server"))
    expect(page.get_by_label("Viewer's prompt")).to_have_value("a whale in the clouds")
    expect(saved(page)).to_have_text("Saved")
    assert "And the rest." in Draft.objects.get().body


def typed_as_the_login_expires(pages: Pages, user: User, text: str) -> Page:
    """Return a page where nothing of the text reached the server, because the page had to sign in."""
    drafts = Gate()
    expire(drafts)
    page = pages.connected(pages.open("/prompts/enhance/", user, {"**/draft/": drafts}))
    page.clock.install()
    body(page).fill(text)
    stop_typing(page)
    page.wait_for_url(re.compile("/sign-in/"))
    return page


def sign_in_again(page: Page, username: str = "eddie") -> None:
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/prompts/enhance/")


def test_an_expired_login_and_a_release_meanwhile_lose_nothing(enhance, publish, editor, page_for, pages) -> None:
    page = typed_as_the_login_expires(pages, editor, "The first text, and mine.")
    publish("enhance", "Another's text.")
    sign_in_again(page)
    expect(body(page)).to_have_value("Another's text.")
    notice = page.locator("#kept")
    expect(notice).to_contain_text("You have unsaved text from earlier in this window")
    snap(page, "behavior-kept")
    notice.get_by_role("button", name="Restore").click()
    expect(body(page)).to_have_value("The first text, and mine.")
    expect(saved(page)).to_have_text("Saved")
    expect(notice).to_be_hidden()
    expect(page.locator("#release-news")).to_contain_text("published v2 while you were editing")
    draft = Draft.objects.get()
    assert (draft.body, draft.base.number) == ("The first text, and mine.", 1)


def test_an_expired_login_and_a_draft_of_another_machine_lose_nothing(enhance, editor, page_for, pages) -> None:
    pages.expect_errors("status of 409|Status Error Code 409")
    page = typed_as_the_login_expires(pages, editor, "Typed here.")
    other = page_for(editor, "/prompts/enhance/")
    body(other).fill("Typed at home.")
    expect(saved(other)).to_have_text("Saved")
    sign_in_again(page)
    expect(body(page)).to_have_value("Typed at home.")
    page.locator("#kept").get_by_role("button", name="Restore").click()
    expect(page.locator("#elsewhere")).to_contain_text("Your draft was changed in another window")
    assert Draft.objects.get().body == "Typed at home."
    page.get_by_role("button", name="Keep this text").click()
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().body == "Typed here."
    put_back(page, "Typed at home.")
    expect(body(page)).to_have_value("Typed at home.")


def test_what_was_kept_outlives_typing_on_and_loses_none_of_it(enhance, publish, editor, page_for, pages) -> None:
    pages.expect_errors("status of 409|Status Error Code 409")
    page = typed_as_the_login_expires(pages, editor, "Typed before.")
    publish("enhance", "Another's text.")
    sign_in_again(page)
    body(page).fill("Typed after.")
    expect(saved(page)).to_have_text("Saved")
    page.reload()
    page.locator("#kept").get_by_role("button", name="Restore").click()
    notice = page.locator("#elsewhere")
    expect(notice).to_contain_text("Your draft was changed in another window")
    expect(body(page)).to_have_value("Typed before.")
    notice.get_by_role("button", name="Use the other text").click()
    expect(body(page)).to_have_value("Typed after.")
    undo(page)
    expect(body(page)).to_have_value("Typed before.")


def test_what_was_kept_and_is_not_wanted_goes(enhance, publish, editor, page_for, pages) -> None:
    page = typed_as_the_login_expires(pages, editor, "Not wanted.")
    publish("enhance", "Another's text.")
    sign_in_again(page)
    page.locator("#kept").get_by_role("button", name="Discard").click()
    expect(page.locator("#kept")).to_be_hidden()
    page.reload()
    expect(page.locator("#kept")).to_be_hidden()
    expect(body(page)).to_have_value("Another's text.")


def test_settings_that_are_changed_as_the_login_expires_are_kept(enhance, editor, page_for, pages: Pages) -> None:
    drafts = Gate()
    expire(drafts)
    page = pages.connected(page_for(editor, "/prompts/enhance/", routes={"**/draft/": drafts}))
    page.clock.install()
    page.get_by_label("Temperature").fill("0.35")
    stop_typing(page)
    page.wait_for_url(re.compile("/sign-in/"))
    sign_in_again(page)
    expect(page.get_by_label("Temperature")).to_have_value("0.35")
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().temperature == 0.35


def test_what_forms_hold_outlives_an_expired_login_and_goes_once_it_is_taken(enhance, editor, page_for, pages) -> None:
    pages.expect_errors("status of 422")
    page = page_for(editor, "/prompts/new/")
    for name, says in (("Not a name", "Use lower-case letters"), ("noir", "")):
        page.get_by_label("Name").fill(name)
        page.get_by_label("Description").fill("For night scenes in the rain.")
        Session.objects.all().delete()
        page.get_by_role("button", name="Create template").click()
        page.get_by_label("User name").fill("eddie")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/prompts/new/")
        expect(page.locator(".toast")).to_contain_text("Your unsaved text is restored. It is not saved yet.")
        expect(page.get_by_label("Name")).to_have_value(name)
        expect(page.get_by_label("Description")).to_have_value("For night scenes in the rain.")
        page.get_by_role("button", name="Create template").click()
        expect(page.locator("#main")).to_contain_text(says)
    page.wait_for_url("**/prompts/noir/")
    page.goto("/prompts/noir/details/")
    expect(page.get_by_label("Description")).to_have_value("For night scenes in the rain.")
    page.get_by_label("Description").fill("For night scenes.")
    describe(Template.objects.get(name="noir"), "For fog.", by=SYSTEM)
    page.once("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(page.locator(".toast")).to_contain_text("restored, but the saved text has changed since")
    page.get_by_role("button", name="Save the description").click()
    expect(page.locator(".toast")).to_contain_text("Description saved.")
    page.goto("/prompts/new/")
    expect(page.get_by_label("Name")).to_have_value("")


def test_a_note_outlives_a_closed_panel_and_an_expired_login(enhance, releaser, page_for, pages) -> None:
    publishing = Gate()
    page = pages.connected(page_for(releaser, "/prompts/enhance/", routes={"**/publish/": publishing}))
    body(page).fill("The second text.")
    expect(saved(page)).to_have_text("Saved")
    page.get_by_role("button", name="Publish v2").click()
    panel = page.get_by_role("dialog", name="Review")
    panel.get_by_label("Note").fill("Because of the fog")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Publish v2").click()
    expect(panel.get_by_label("Note")).to_have_value("Because of the fog")
    page.clock.install()
    expire(publishing)
    panel.get_by_role("button", name="Publish v2").click()
    stop_typing(page)
    page.wait_for_url(re.compile("/sign-in/"))
    sign_in_again(page, releaser.username)
    page.get_by_role("button", name="Publish v2").click()
    expect(panel.get_by_label("Note")).to_have_value("Because of the fog")
    panel.get_by_role("button", name="Publish v2").click()
    expect(page.get_by_text("v2 is live since revision 2")).to_be_visible()
    assert Template.objects.get().live_version.note == "Because of the fog"
    body(page).fill("The third text.")
    page.get_by_role("button", name="Publish v3").click()
    expect(panel.get_by_label("Note")).to_have_value("")


def test_a_note_on_one_version_is_no_note_on_another(enhance, publish, releaser, page_for, pages: Pages) -> None:
    publish("enhance", "The second text.")
    publish("enhance", "The third text.")
    page = page_for(releaser, "/prompts/enhance/history/")
    note = page.get_by_role("dialog", name="Review").get_by_label("Note")
    for version, holds in (("v1", ""), ("v2", ""), ("v1", "Because of v1")):
        page.get_by_label(f"More about {version} of").click()
        page.get_by_role("button", name=f"Roll back to {version}").click()
        expect(note).to_have_value(holds)
        note.fill(f"Because of {version}")
        page.keyboard.press("Escape")


def test_nobody_is_taken_to_the_sign_in_page_in_the_middle_of_a_word(enhance, editor, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    body(page).fill("Kept.")
    expect(saved(page)).to_have_text("Saved")
    page.clock.install()
    page.clock.pause_at("2040-01-01")
    with pages.sockets[page].expect_event("framereceived", lambda message: "signed_out" in message):
        body(page).press_sequentially(" Typed")
        end_session(editor.sessions.select_related("user").get(), by=SYSTEM)
    for letters in (" slowly,", " one key", " after", " the", " other."):
        page.clock.fast_forward(1_500)
        body(page).press_sequentially(letters)
    assert page.url.endswith("/prompts/enhance/")
    stop_typing(page)
    page.wait_for_url(re.compile("/sign-in/"))
    page.clock.resume()
    page.get_by_label("User name").fill("eddie")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(body(page)).to_have_value("Kept. Typed slowly, one key after the other.")
