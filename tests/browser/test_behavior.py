"""How pages behave while people work in them: live news, lost connections, unsaved text, keys, dragging."""

import json
import re

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from promptops.ledger import audit
from promptops.ledger.audit import SYSTEM
from promptops.people.actions import end_session
from promptops.prompts.actions import presence
from promptops.prompts.actions.templates import describe
from promptops.prompts.models import Draft, Template
from promptops.providers.actions.providers import ProviderFields, create_provider, reorder
from promptops.providers.models import Provider
from promptops.runs.models import Run
from promptops.web import socket
from tests.browser.conftest import Pages, snap
from tests.browser.upstream import Upstream
from tests.conftest import PASSWORD

# What the console says when a test breaks something on purpose.
LOST = r"WebSocket|ERR_INTERNET_DISCONNECTED|ERR_CONNECTION|\[object Event\]|htmx:sendError|htmx:afterRequest"
BROKEN = r"status of 500|Status Error Code 500"


@pytest.fixture
def enhance(publish) -> Template:
    return publish("enhance", "The first text.", note="First").template


@pytest.fixture
def providers(transactional_db: None, upstream: Upstream) -> list[Provider]:
    """Three providers; `alpha` and `beta` are the upstream, nobody listens where `gamma` points."""
    urls = {"alpha": upstream.url, "beta": upstream.url, "gamma": "http://127.0.0.1:9/v1"}
    return [
        create_provider(ProviderFields(name, "openai", f"{name}-model", url), by=SYSTEM) for name, url in urls.items()
    ]


def body(page: Page):
    return page.get_by_label("System prompt")


def saved(page: Page):
    return page.locator("[data-save-state]")


# ---------------------------------------------------------------- live


def undo(page: Page) -> None:
    """Press *Undo* on a page that has just come; its button needs the scripts, which run before it has loaded."""
    page.wait_for_load_state()
    page.get_by_role("button", name="Undo").click()


def test_what_others_do_appears_and_moves_nothing(enhance, publish, releaser, editor, page_for, pages: Pages) -> None:
    overview = pages.connected(page_for(editor))
    audit = pages.connected(page_for(editor, "/audit/"))
    history = pages.connected(page_for(editor, "/prompts/enhance/history/"))
    editing = pages.connected(page_for(editor, "/prompts/enhance/"))
    body(editing).fill("What I am writing.")
    body(editing).evaluate("field => field.setSelectionRange(3, 3)")
    publish("enhance", "The second text.", note="Shorter")
    expect(overview.locator("#overview")).to_contain_text("Shorter")
    expect(audit.locator("#rows > li").first).to_contain_text("published enhance v2")
    expect(history.locator("tbody tr").first).to_contain_text("v2 live")
    expect(editing.locator("#state")).to_contain_text("v2 went live after you began")
    expect(body(editing)).to_have_value("What I am writing.")
    assert body(editing).evaluate("field => [document.activeElement === field, field.selectionStart]") == [True, 3]
    for page in (overview, audit, history, editing):
        expect(page.locator("#live-badge")).to_contain_text("r2 live")


def test_a_page_that_lost_its_connection_says_so_and_catches_up(
    enhance, publish, editor, site, page_for, pages
) -> None:
    pages.expect_errors(LOST)
    page = pages.connected(page_for(editor))
    chip = page.locator("#connection")
    expect(chip).to_be_hidden()
    site.drop_sockets(refuse=True)
    expect(chip).to_be_visible()
    snap(page, "behavior-connection-lost")
    publish("enhance", "The second text.", note="While nobody listened")
    expect(page.locator("#overview")).not_to_contain_text("While nobody listened")
    site.accept_sockets()
    expect(page.locator("#overview")).to_contain_text("While nobody listened")
    expect(chip).to_be_hidden()


def test_a_refresh_that_failed_is_made_up_for(enhance, publish, editor, page_for, pages: Pages) -> None:
    pages.expect_errors(BROKEN)
    page = pages.connected(page_for(editor, "/prompts/"))
    page.clock.install()
    page.route("**/prompts/", lambda route: route.fulfill(status=500))
    with page.expect_response("**/prompts/"):
        publish("enhance", "The second text.", note="Shorter")
    expect(page.locator("#live-badge")).to_contain_text("r2")
    page.unroute("**/prompts/")
    expect(page.locator("#templates")).not_to_contain_text("Shorter")
    page.clock.fast_forward(6000)
    expect(page.locator("#templates")).to_contain_text("Shorter")
    expect(page.locator(".toast")).to_have_count(0)


# ---------------------------------------------------------------- nothing typed is lost


def test_a_draft_that_could_not_be_saved_is_saved_later(enhance, editor, page_for, pages: Pages) -> None:
    pages.expect_errors(BROKEN)
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    page.clock.install()
    page.route("**/draft/", lambda route: route.fulfill(status=500))
    body(page).fill("Typed while the server was ill.")
    expect(saved(page)).to_contain_text("Not saved: the server had an error (500). Your text is still here")
    assert not Draft.objects.exists()
    page.unroute("**/draft/")
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
    Session.objects.all().delete()
    body(page).press_sequentially(" And the rest.")
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


def put_back(page: Page, text: str) -> None:
    """Choose the discarded draft that begins with `text`."""
    page.get_by_role("button", name="discarded draft").click()
    panel = page.get_by_role("dialog", name="Review")
    panel.get_by_role("article").filter(has_text=text).get_by_role("button", name="Put back").click()


def expire(page: Page) -> None:
    """End all sessions; the page learns of it by what is typed, not by news of who else is here."""
    page.route("**/presence/", lambda route: route.fulfill(status=204))
    news = page.locator("#presence").get_attribute("hx-trigger").split()[0]
    with page.expect_response("**/presence/"):
        page.evaluate("name => document.body.dispatchEvent(new CustomEvent(name))", news)
    Session.objects.all().delete()


def typed_as_the_login_expires(page: Page, text: str) -> None:
    """Nothing of it reaches the server; the page goes to sign in."""
    expire(page)
    body(page).fill(text)
    page.wait_for_url(re.compile("/sign-in/"))


def sign_in_again(page: Page, username: str = "eddie") -> None:
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/prompts/enhance/")


def test_an_expired_login_and_a_release_meanwhile_lose_nothing(enhance, publish, editor, page_for, pages) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    typed_as_the_login_expires(page, "The first text, and mine.")
    publish("enhance", "Another's text.")
    sign_in_again(page)
    expect(body(page)).to_have_value("Another's text.")
    notice = page.locator("#kept")
    expect(notice).to_contain_text("typed here before and may not be saved")
    snap(page, "behavior-kept")
    notice.get_by_role("button", name="Bring it back").click()
    expect(body(page)).to_have_value("The first text, and mine.")
    expect(saved(page)).to_have_text("Saved")
    expect(notice).to_be_hidden()
    expect(page.locator("#state")).to_contain_text("v2 went live after you began")
    draft = Draft.objects.get()
    assert (draft.body, draft.base.number) == ("The first text, and mine.", 1)


def test_an_expired_login_and_a_draft_of_another_machine_lose_nothing(enhance, editor, page_for, pages) -> None:
    pages.expect_errors("status of 409|Status Error Code 409")
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    typed_as_the_login_expires(page, "Typed here.")
    other = page_for(editor, "/prompts/enhance/")
    body(other).fill("Typed at home.")
    expect(saved(other)).to_have_text("Saved")
    sign_in_again(page)
    expect(body(page)).to_have_value("Typed at home.")
    page.locator("#kept").get_by_role("button", name="Bring it back").click()
    expect(page.locator("#elsewhere")).to_contain_text("Your draft was changed in another window")
    assert Draft.objects.get().body == "Typed at home."
    page.get_by_role("button", name="Keep this text").click()
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().body == "Typed here."
    put_back(page, "Typed at home.")
    expect(body(page)).to_have_value("Typed at home.")


def test_what_was_kept_outlives_typing_on_and_loses_none_of_it(enhance, publish, editor, page_for, pages) -> None:
    pages.expect_errors("status of 409|Status Error Code 409")
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    typed_as_the_login_expires(page, "Typed before.")
    publish("enhance", "Another's text.")
    sign_in_again(page)
    body(page).fill("Typed after.")
    expect(saved(page)).to_have_text("Saved")
    page.reload()
    page.locator("#kept").get_by_role("button", name="Bring it back").click()
    notice = page.locator("#elsewhere")
    expect(notice).to_contain_text("Your draft was changed in another window")
    expect(body(page)).to_have_value("Typed before.")
    notice.get_by_role("button", name="Take the other text").click()
    expect(body(page)).to_have_value("Typed after.")
    undo(page)
    expect(body(page)).to_have_value("Typed before.")


def test_what_was_kept_and_is_not_wanted_goes(enhance, publish, editor, page_for, pages) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    typed_as_the_login_expires(page, "Not wanted.")
    publish("enhance", "Another's text.")
    sign_in_again(page)
    page.locator("#kept").get_by_role("button", name="Forget it").click()
    expect(page.locator("#kept")).to_be_hidden()
    page.reload()
    expect(page.locator("#kept")).to_be_hidden()
    expect(body(page)).to_have_value("Another's text.")


def test_settings_that_are_changed_as_the_login_expires_are_kept(enhance, editor, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    expire(page)
    page.get_by_label("Temperature").fill("0.35")
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
        page.get_by_label("What it is for").fill("For night scenes in the rain.")
        Session.objects.all().delete()
        page.get_by_role("button", name="Create the template").click()
        page.get_by_label("User name").fill("eddie")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/prompts/new/")
        expect(page.locator(".toast")).to_contain_text("Your unsaved text is restored. It is not saved yet.")
        expect(page.get_by_label("Name")).to_have_value(name)
        expect(page.get_by_label("What it is for")).to_have_value("For night scenes in the rain.")
        page.get_by_role("button", name="Create the template").click()
        expect(page.locator("#main")).to_contain_text(says)
    page.wait_for_url("**/prompts/noir/")
    page.goto("/prompts/noir/details/")
    expect(page.get_by_label("What it is for")).to_have_value("For night scenes in the rain.")
    page.get_by_label("What it is for").fill("For night scenes.")
    describe(Template.objects.get(name="noir"), "For fog.", by=SYSTEM)
    page.once("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(page.locator(".toast")).to_contain_text("this page has changed since you typed it")
    page.get_by_role("button", name="Save the description").click()
    expect(page.locator(".toast")).to_contain_text("The description is saved.")
    page.goto("/prompts/new/")
    expect(page.get_by_label("Name")).to_have_value("")


def test_a_note_outlives_a_closed_panel_and_an_expired_login(enhance, releaser, page_for, pages) -> None:
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    body(page).fill("The second text.")
    expect(saved(page)).to_have_text("Saved")
    page.get_by_role("button", name="Publish v2").click()
    panel = page.get_by_role("dialog", name="Review")
    panel.get_by_label("Note").fill("Because of the fog")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Publish v2").click()
    expect(panel.get_by_label("Note")).to_have_value("Because of the fog")
    expire(page)
    panel.get_by_role("button", name="Publish v2").click()
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
        page.get_by_role("button", name=f"Make {version} live again").click()
        expect(note).to_have_value(holds)
        note.fill(f"Because of {version}")
        page.keyboard.press("Escape")


def test_nobody_is_taken_to_the_sign_in_page_in_the_middle_of_a_word(enhance, editor, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    body(page).fill("Kept.")
    expect(saved(page)).to_have_text("Saved")
    end_session(editor.sessions.select_related("user").get(), by=SYSTEM)
    body(page).press_sequentially(" Typed slowly, one key after the other.", delay=90)
    assert page.url.endswith("/prompts/enhance/")
    page.wait_for_url(re.compile("/sign-in/"))
    page.get_by_label("User name").fill("eddie")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(body(page)).to_have_value("Kept. Typed slowly, one key after the other.")


def test_leaving_with_unsaved_text_asks_first(enhance, editor, page_for) -> None:
    page = page_for(editor, "/prompts/enhance/details/")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.get_by_label("What it is for").press_sequentially("For winter")
    page.get_by_role("link", name="History").click()
    expect(page).to_have_title(re.compile("Details"))
    assert asked == ["beforeunload"]
    assert page.url.endswith("/details/")
    page.get_by_role("button", name="Save the description").click()
    expect(page.locator(".toast")).to_contain_text("The description is saved")
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
    one.get_by_role("button", name="Take the other text").click()
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
    expect(page.locator(".toast")).to_contain_text("The draft is back.")
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
    page.wait_for_timeout(700)  # until it has heard of itself
    monkeypatch.setattr(socket, "FEW_PAGES", 0)  # as with many open pages: each waits a random time
    monkeypatch.setattr(socket, "SPREAD_MS", 4_000)
    page.evaluate("Math.random = () => 0.5")
    for template, channel in ((other, "one"), (enhance, "two")):  # news of another template, then of this one
        presence.arrive(template, user=editor, channel=channel)
        page.wait_for_timeout(700)  # until the server has told of it
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
    page.get_by_role("button", name="Undo: make v1 live again").click()
    panel.get_by_role("button", name="Make v1 live again").click()
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


# ---------------------------------------------------------------- keyboard, dialogs, theme


def test_shortcuts(enhance, providers, editor, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor))
    page.keyboard.press("g")
    page.keyboard.press("p")
    page.wait_for_url("**/prompts/")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_be_hidden()
    page.keyboard.press("Control+k")
    page.keyboard.type("enhance")
    expect(page.locator("#commands [role=option]:visible")).to_have_count(1)
    page.keyboard.press("Enter")
    page.wait_for_url("**/prompts/enhance/")
    pages.connected(page)
    body(page).focus()
    page.keyboard.press("ControlOrMeta+End")
    page.keyboard.type(" g p?")  # in a field these are letters
    expect(body(page)).to_have_value("The first text. g p?")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#try-result a", has_text="run ")).to_be_visible()  # recorded, after the text has come
    expect(page.locator("#try-text")).to_have_text("A red fox runs through fresh snow.")
    assert Run.objects.get().draft_body == "The first text. g p?"


def test_ctrl_s_saves_at_once(enhance, editor, page_for) -> None:
    page = page_for(editor, "/prompts/enhance/")
    page.clock.install()
    page.clock.pause_at("2040-01-01")  # the autosave's delay never ends
    body(page).fill("Save me.")
    expect(saved(page)).to_have_text("Not saved yet")
    page.keyboard.press("Control+s")
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().body == "Save me."


def test_what_is_typed_before_the_scripts_have_come_is_saved(enhance, editor, page_for) -> None:
    page = page_for(editor)
    held = []
    page.route("**/js/main.js", lambda route: held.append(route))
    page.goto("/prompts/enhance/", wait_until="commit")
    body(page).fill("Typed early.")
    held[0].continue_()
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().body == "Typed early."


def test_saves_wait_for_each_other(enhance, editor, page_for) -> None:
    """Two at once could reach the database in the wrong order, and one cut off would be an error of the page."""
    page = page_for(editor, "/prompts/enhance/")
    held = []
    page.route("**/draft/", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/draft/"):
        body(page).fill("First.")
    body(page).fill("Second.")
    page.keyboard.press("Control+s")
    with page.expect_request("**/draft/") as second:
        held[0].continue_()
    assert "body=Second." in second.value.post_data
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().body == "Second."


def test_a_dialog_keeps_the_focus_and_gives_it_back(enhance, releaser, page_for) -> None:
    page = page_for(releaser, "/prompts/enhance/")
    body(page).fill("The second text.")
    expect(saved(page)).to_have_text("Saved")
    button = page.get_by_role("button", name="Publish v2")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_role("dialog").get_by_label("Note")).to_be_focused()
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#review')")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()


def test_the_theme_is_remembered(editor, page_for) -> None:
    page = page_for(editor)
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_label("Theme").click()
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate(background)
    assert dark != light
    page.goto("/prompts/")
    assert page.evaluate(background) == dark
    page.get_by_label("Theme").click()
    page.get_by_role("button", name="System").click()
    assert page.evaluate(background) == light


def test_back_returns_to_the_page_as_it_is_now(enhance, publish, editor, page_for, pages: Pages) -> None:
    page = page_for(editor, "/runs/?status=failed")
    page.get_by_role("link", name="Prompts").click()
    page.get_by_role("link", name="enhance").click()
    page.wait_for_url("**/prompts/enhance/")
    publish("enhance", "The second text.", note="Shorter")
    page.go_back()
    expect(page.locator("#templates")).to_contain_text("Shorter")
    page.go_back()
    expect(page.get_by_label("Status")).to_have_value("failed")


# ---------------------------------------------------------------- providers and runs


def order() -> list[str]:
    return list(Provider.objects.values_list("name", flat=True))


def test_the_chain_is_reordered_with_the_keyboard(providers, releaser, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(releaser, "/providers/"))
    page.get_by_role("button", name="Move gamma").focus()
    page.keyboard.press("Alt+ArrowUp")
    expect(page.locator("#announce")).to_have_text("gamma: position 2 of 3")
    page.keyboard.press("Alt+ArrowUp")
    panel = page.get_by_role("dialog", name="Review")
    expect(panel).to_contain_text("gamma → alpha → beta")
    assert order() == ["alpha", "beta", "gamma"]
    panel.get_by_label("Note").fill("Gamma is quick today")
    panel.get_by_role("button", name="Change the order").click()
    expect(page.locator(".toast")).to_contain_text("The order is gamma → alpha → beta now")
    assert order() == ["gamma", "alpha", "beta"]


def test_the_chain_is_reordered_by_dragging(providers, releaser, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(releaser, "/providers/"))
    handle = page.get_by_role("button", name="Move alpha").bounding_box()
    target = page.get_by_role("row").filter(has_text="gamma").bounding_box()
    page.mouse.move(handle["x"] + 5, handle["y"] + 5)
    page.mouse.down()
    page.mouse.move(handle["x"] + 5, target["y"] + target["height"] - 5, steps=5)
    page.mouse.up()
    panel = page.get_by_role("dialog", name="Review")
    expect(panel).to_contain_text("beta → gamma → alpha")
    panel.get_by_role("button", name="Cancel").click()
    expect(page.locator("#chain tbody tr b").first).to_have_text("alpha")
    assert order() == ["alpha", "beta", "gamma"]


def test_a_provider_is_tested_with_one_click(providers, editor, upstream, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor, "/providers/"))
    shown = f"#test-result-{providers[0].pk}"
    page.evaluate(
        """place => { window.emptied = 0; new MutationObserver(() => {
        if (!document.querySelector(place).innerText.trim()) window.emptied += 1;
        }).observe(document.querySelector(place), { childList: true, subtree: true }) }""",
        shown,
    )
    # What the server refuses is taken back at its own place alone.
    page.locator(f"#test-{providers[1].pk} [name=provider]").evaluate("field => (field.value = 77777)")
    page.evaluate(
        "buttons => buttons.forEach(id => document.getElementById(`test-button-${id}`).click())",
        [providers[1].pk, providers[0].pk],
    )
    expect(page.locator(".toast")).to_contain_text("does not exist any more")
    expect(page.locator(shown)).to_contain_text("test answered")
    assert page.evaluate("window.emptied") == 0
    expect(page.locator(f"#test-result-{providers[1].pk}")).to_be_empty()
    page.get_by_role("button", name="Test gamma").click()
    expect(page.locator(f"#test-result-{providers[2].pk}")).to_contain_text(
        "gamma could not be reached: the connection was refused"
    )
    snap(page, "behavior-provider-tests")


def test_failures_in_try_it_are_sentences(enhance, providers, editor, upstream, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    page.get_by_label("Where to run it").select_option("gamma")
    page.get_by_role("button", name="Run").click()
    notice = page.locator("#try-result [role=alert]")
    expect(notice).to_have_text("gamma could not be reached: the connection was refused")
    upstream.status, upstream.message = 401, "Invalid API key"
    page.get_by_label("Where to run it").select_option("alpha")
    page.get_by_role("button", name="Run").click()
    expect(notice).to_contain_text("alpha answered with status 401: Invalid API key")
    snap(page, "behavior-try-failed")


def test_the_next_provider_answers_when_the_first_cannot(enhance, providers, editor, page_for, pages: Pages) -> None:
    seen = [provider.pk for provider in providers]
    reorder(seen[::-1], by=SYSTEM, expected=seen)
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#try-result")).to_contain_text("fallback used")
    attempts = page.locator("#try-result .attempts")
    expect(attempts).to_contain_text("gamma")
    attempts.locator("span").first.evaluate("name => (name.textContent = 'gamma-'.repeat(10))")  # as long as may be
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator("html")).to_have_js_property("scrollWidth", 390)
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(page.locator("#try-text")).to_have_text("A red fox runs through fresh snow.")
    snap(page, "behavior-try-fallback")


def test_an_answer_streams_and_can_be_canceled(enhance, providers, editor, upstream, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    upstream.hold()
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#try-text")).to_have_text("A red fox ")
    page.locator("#try-result").get_by_role("button", name="Cancel").click()
    expect(page.locator("#try-result")).to_contain_text("Canceled")
    assert Run.objects.get().status == "canceled"
    upstream.release()
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#try-text")).to_have_text("A red fox runs through fresh snow.")


def test_a_run_shows_at_once_and_goes_again_when_it_is_refused(
    enhance, providers, editor, upstream, page_for, pages
) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    result = page.locator("#try-result")
    click = "document.querySelector('[data-run]').click(), document.querySelector('#try-result').innerText"
    assert page.evaluate(click) == "Starting…\nCancel"  # before any server could have answered
    expect(result).to_contain_text("A red fox runs through fresh snow.")
    expect(result.locator("a", has_text="run ")).to_be_visible()
    page.get_by_label("Viewer's prompt").fill(" ")
    late = """document.dispatchEvent(new CustomEvent("htmx:wsBeforeMessage", { cancelable: true, detail: {
        message: '<div hx-swap-oob="beforeend:#try-text"> snow</div>' } }))"""
    assert page.evaluate(f"[({click}), {late}]") == [
        "Starting…\nCancel",
        False,
    ]  # a word of the run before has no place
    expect(page.locator(".toast")).to_contain_text("Type an input first")
    expect(result).to_contain_text("A red fox runs through fresh snow.")
    expect(result.get_by_role("button", name="Cancel")).to_have_count(0)
    page.get_by_label("Viewer's prompt").fill("a fox")
    upstream.hold()
    page.evaluate(f"{click}, document.querySelector('#try-result button').click()")  # at once, too
    expect(result).to_contain_text("Canceled. Nothing more is asked of the provider.")


def test_a_rewrite_shows_its_alternatives(publish, providers, editor, upstream, page_for, pages: Pages) -> None:
    publish("rewrite", "Offer alternatives.")
    upstream.texts = ["1. A fox in the snow\n", "2. A red fox runs\n", "- A fox at dawn"]
    page = pages.connected(page_for(editor, "/prompts/rewrite/"))
    page.get_by_label("Alternatives").fill("2")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".alternatives li")).to_have_text(["A fox in the snow", "A red fox runs"])


# ---------------------------------------------------------------- the audit


def test_the_audit_is_verified_searched_and_exported(enhance, publish, viewer, page_for, monkeypatch) -> None:
    monkeypatch.setattr(audit, "BATCH", 3)
    monkeypatch.setattr("promptops.history.views.audit.STEP_SECONDS", 0)
    for number in range(2, 12):
        publish("enhance", f"Text {number}.", note="heroes" if number == 3 else "")
    page = page_for(viewer, "/audit/")
    page.get_by_role("link", name="Verify").click()
    expect(page.locator("#verify")).to_contain_text("The chain is whole")
    pin = page.locator("#chain-head").inner_text()
    assert pin == str(audit.verify().head)
    publish("enhance", "The last text.")
    page.get_by_label("Pinned head").fill(pin)
    page.get_by_role("button", name="Verify with this pin").click()
    expect(page.locator("#verify")).to_contain_text(f"goes through the pinned entry #{pin.split(':')[0]}")

    # A search goes on by itself until it finds something.
    monkeypatch.setattr("promptops.platform.pages.REACH", 4)
    page.get_by_role("link", name="Audit", exact=True).first.click()
    page.get_by_label("Search", exact=True).fill("heroes enhance")
    page.get_by_label("Search", exact=True).press("Enter")
    expect(page.locator("#rows > li")).to_have_count(1)
    expect(page.locator("#rows > li")).to_contain_text("published enhance v3")
    assert "q=heroes+enhance" in page.url
    with page.expect_download() as downloading:
        page.get_by_role("button", name="JSONL").click()
    lines = downloading.value.path().read_text().splitlines()
    assert [json.loads(line)["note"] for line in lines] == ["heroes"]
