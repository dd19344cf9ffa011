"""Drafts in the browser: leaving the page, two windows, discarding, publishing."""

import re

import pytest
from playwright.sync_api import expect

from promptops.ledger.audit import SYSTEM
from promptops.people.actions.accounts import end_session
from promptops.prompts.actions import presence
from promptops.prompts.models import Draft, Template
from promptops.web import socket
from tests.browser.conftest import Pages
from tests.browser.editor import LOST, body, put_back, saved, stop_typing, undo
from tests.conftest import PASSWORD


@pytest.fixture
def enhance(publish) -> Template:
    return publish("enhance", "The first text.", note="First").template


def test_an_editor_that_is_opened_saves_nothing_until_somebody_chooses(enhance, editor, page_for, pages: Pages) -> None:
    page = page_for(editor)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.url.endswith("/draft/") else None)
    page.goto("/prompts/enhance/")
    pages.connected(page)
    page.wait_for_timeout(800)  # longer than the autosave waits
    assert sent == []
    page.get_by_text("More settings").click()
    page.get_by_label("Reasoning effort").select_option("low")
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().reasoning_effort == "low"
    page.reload()
    expect(page.get_by_text("More settings: Reasoning effort set")).to_be_visible()
    assert len(sent) == 1


def test_leaving_with_unsaved_text_asks_first(enhance, editor, page_for) -> None:
    page = page_for(editor, "/prompts/enhance/details/")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.get_by_label("Description").press_sequentially("For winter")
    page.get_by_role("link", name="History").click()
    expect(page).to_have_title(re.compile("Details"))
    assert asked == ["beforeunload"]
    assert page.url.endswith("/details/")
    page.get_by_role("button", name="Save the description").click()
    expect(page.locator(".toast")).to_contain_text("Description saved")
    page.get_by_role("link", name="History").click()
    page.wait_for_url("**/history/")
    assert asked == ["beforeunload"]


def test_a_connection_cut_while_one_types_loses_no_letter(enhance, editor, site, page_for, pages: Pages) -> None:
    pages.expect_errors(LOST)
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    body(page).focus()
    page.keyboard.press("ControlOrMeta+End")
    page.keyboard.type(" One")
    site.drop_sockets(refuse=True)
    page.context.set_offline(True)
    page.keyboard.type(" two")
    expect(saved(page)).to_contain_text("Not saved: the server could not be reached")
    page.context.set_offline(False)
    site.accept_sockets()
    page.keyboard.type(" three")
    expect(saved(page)).to_have_text("Saved")
    expect(body(page)).to_be_focused()
    expect(body(page)).to_have_value("The first text. One two three")
    assert Draft.objects.get().body == "The first text. One two three"


def test_going_elsewhere_and_back_while_typing_needs_no_question(enhance, editor, page_for) -> None:
    page = page_for(editor, "/prompts/enhance/history/")
    page.get_by_role("link", name="Edit", exact=True).click()
    page.wait_for_url("**/prompts/enhance/")
    page.clock.install()
    page.clock.pause_at("2040-01-01")  # the autosave's delay never ends
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    body(page).fill("Typed, and away.")
    expect(saved(page)).to_have_text("Not saved yet")
    page.go_back()
    page.wait_for_url("**/history/")
    page.go_forward()
    expect(body(page)).to_have_value("Typed, and away.")
    expect(page.locator("#elsewhere")).to_be_hidden()
    assert asked == []
    assert Draft.objects.get().body == "Typed, and away."


def test_a_session_that_is_ended_leaves_what_was_typed(enhance, editor, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    page.clock.install()
    page.clock.pause_at("2040-01-01")
    body(page).fill("Typed when the door closed.")
    end_session(editor.sessions.select_related("user").get(), by=SYSTEM)
    page.clock.resume()
    stop_typing(page)
    page.wait_for_url(re.compile("/sign-in/"))
    page.get_by_label("User name").fill("eddie")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/prompts/enhance/")
    expect(body(page)).to_have_value("Typed when the door closed.")


def test_two_tabs_of_one_person(enhance, editor, page_for, pages: Pages) -> None:
    pages.expect_errors("status of 409|Status Error Code 409")
    one = pages.connected(page_for(editor, "/prompts/enhance/"))
    two = one.context.new_page()
    two.goto("/prompts/enhance/")
    expect(one.locator("#presence")).to_contain_text("You have this open in 2 windows")
    body(one).fill("From the first tab.")
    expect(saved(one)).to_have_text("Saved")
    body(two).fill("From the second tab.")
    notice = two.locator("#elsewhere")
    expect(notice).to_contain_text("Your draft was changed in another window")
    expect(saved(two)).to_contain_text("Not saved: your draft was changed in another window")
    expect(notice.locator("del")).to_contain_text("first")
    assert Draft.objects.get().body == "From the first tab."
    body(two).press_sequentially(" And more.")  # asks nobody again, and moves no button
    two.get_by_role("button", name="Keep this text").click()
    expect(saved(two)).to_have_text("Saved")
    expect(notice).to_be_hidden()
    assert Draft.objects.get().body == body(two).input_value()
    body(one).fill("The first tab again.")
    one.get_by_role("button", name="Use the other text").click()
    expect(body(one)).to_have_value(body(two).input_value())
    undo(one)
    expect(body(one)).to_have_value("The first tab again.")


def test_a_discarded_draft_comes_back(enhance, editor, page_for) -> None:
    page = page_for(editor, "/prompts/enhance/")
    body(page).fill("Worth a second thought.")
    expect(saved(page)).to_have_text("Saved")
    body(page).fill("Worth a second thought, and typed just now.")
    page.get_by_role("button", name="Discard draft").click()
    expect(page.locator(".toast")).to_contain_text("Draft discarded.")
    expect(body(page)).to_have_value("The first text.")
    undo(page)
    expect(page.locator(".toast")).to_contain_text("Draft restored.")
    expect(body(page)).to_have_value("Worth a second thought, and typed just now.")
    page.get_by_role("button", name="Discard draft").click()
    expect(body(page)).to_have_value("The first text.")
    body(page).fill("Another beginning, typed as the other is wanted again.")
    opener = page.get_by_role("button", name="1 discarded draft")
    opener.click()
    expect(saved(page)).to_have_text("Saved")  # which replaced the opener
    page.get_by_role("dialog", name="Review").locator("footer").get_by_role("button", name="Close").click()
    expect(opener).to_be_focused()
    # A toast lies over no button of a panel.
    opener.click()
    page.evaluate(
        """() => import(new URL("toasts.js", document.querySelector("script[type=module]").src))
        .then(({ toast }) => toast("Something else."))"""
    )
    page.set_viewport_size({"width": 390, "height": 400})
    expect(page.locator("#review .toast").last).to_contain_text("Something else.")
    page.get_by_role("dialog", name="Review").locator("footer").get_by_role("button", name="Close").click(timeout=3000)
    page.set_viewport_size({"width": 1440, "height": 900})
    put_back(page, "Worth a second thought")
    expect(body(page)).to_have_value("Worth a second thought, and typed just now.")
    expect(opener).to_be_focused()
    undo(page)
    expect(body(page)).to_have_value("Another beginning, typed as the other is wanted again.")
    expect(body(page)).to_be_focused()


def test_others_are_seen_to_come_and_go(enhance, editor, releaser, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    company = page.locator("#presence")
    expect(company).to_be_hidden()
    other = pages.connected(page_for(editor, "/prompts/enhance/"))
    expect(company).to_contain_text("Eddie Editor")
    expect(company).not_to_contain_text("has a draft")
    body(other).fill("Mine.")
    expect(company).to_contain_text("has a draft")
    other.close()
    expect(company).to_be_hidden(timeout=5000)


def test_a_page_that_waits_before_it_fetches_misses_no_news_of_its_own(
    enhance, publish, editor, releaser, page_for, pages: Pages, monkeypatch
) -> None:
    other = publish("rewrite", "Rewrite it.").template
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    page.clock.install()
    page.clock.pause_at("2040-01-01")
    monkeypatch.setattr(socket, "FEW_PAGES", 0)  # as with many open pages: each waits a random time
    monkeypatch.setattr(socket, "SPREAD_MS", 4_000)
    page.evaluate("Math.random = () => 0.5")
    for template, channel in ((other, "one"), (enhance, "two")):  # news of another template, then of this one
        hint = f'"number": {template.pk}, "spread"'
        with pages.sockets[page].expect_event("framereceived", lambda message, hint=hint: hint in str(message)):
            presence.arrive(template, user=editor, channel=channel)
    page.clock.resume()
    page.clock.fast_forward(4_000)
    expect(page.locator("#presence")).to_contain_text("Eddie Editor")


def test_publishing_and_taking_it_back(enhance, releaser, page_for) -> None:
    page = page_for(releaser, "/prompts/enhance/")
    publish_button = page.get_by_role("button", name="Publish v2")
    expect(publish_button).to_be_disabled()
    expect(publish_button).to_have_accessible_description("No changes to publish")
    publish_button.focus()
    expect(publish_button).to_be_focused()
    body(page).fill("The second text")
    expect(saved(page)).to_have_text("Saved")
    body(page).fill("The first text.")
    expect(saved(page)).to_have_text("No changes to publish")
    body(page).fill("The second text.")
    publish_button.click()
    panel = page.get_by_role("dialog", name="Review")
    expect(panel.locator("ins")).to_contain_text("second")
    expect(panel.locator("del")).to_contain_text("first")
    panel.get_by_role("button", name="Publish v2").click()
    expect(page.get_by_text("v2 is live since revision 2")).to_be_visible()
    page.get_by_role("button", name="Undo: roll back to v1").click()
    panel.get_by_role("button", name="Roll back to v1").click()
    expect(page.get_by_text("v1 is live since revision 3")).to_be_visible()
    assert Template.objects.get().live_version.number == 1


def test_what_was_typed_a_moment_ago_is_what_is_published(enhance, releaser, page_for) -> None:
    """Leaving the field saves the draft, whose answer replaces the very button that is being pressed."""
    page = page_for(releaser, "/prompts/enhance/")
    body(page).fill("The second text.")
    expect(saved(page)).to_have_text("Saved")
    body(page).fill("The third text, just now.")
    page.get_by_role("button", name="Publish v2").click()
    panel = page.get_by_role("dialog", name="Review")
    expect(panel).to_contain_text(", just now")
    panel.get_by_label("Note").fill("Why not")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Publish v2").click()
    panel.get_by_label("Note").fill("In a hurry")
    panel.get_by_role("button", name="Publish v2").click()
    expect(page.get_by_text("v2 is live since revision 2")).to_be_visible()
    live = Template.objects.get().live_version
    assert (live.body, live.note) == ("The third text, just now.", "In a hurry")
