"""The prompt page as a workbench: publishing leaves everything in place, and nothing moves under the typist."""

import re

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from promptops.ledger.audit import SYSTEM
from promptops.people.enums import Role
from promptops.people.models import User
from promptops.prompts.actions import variables
from promptops.prompts.models import Template
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.providers.models import Provider
from tests.browser.conftest import Gate, Pages, snap
from tests.browser.editor import BROKEN, LOST, answer_text, body, saved, stop_typing
from tests.browser.upstream import Upstream


@pytest.fixture
def enhance(publish) -> Template:
    return publish("enhance", "The first text.", note="First").template


@pytest.fixture
def beta(transactional_db: None, upstream: Upstream) -> Provider:
    """The second of two providers."""
    create_provider(ProviderFields("alpha", "openai", "alpha-model", upstream.url), by=SYSTEM)
    return create_provider(ProviderFields("beta", "openai", "beta-model", upstream.url), by=SYSTEM)


def publish_it(page: Page, number: int) -> None:
    page.get_by_role("button", name=f"Publish v{number}").click()
    page.get_by_role("dialog", name="Review").get_by_role("button", name=f"Publish v{number}").click()
    expect(page.get_by_text(f"v{number} is live since")).to_be_visible()


# ---------------------------------------------------------------- publishing leaves everything in place


def test_publishing_and_discarding_keep_the_answer_and_the_provider(
    enhance, beta, releaser, page_for, pages: Pages
) -> None:
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    page.get_by_label("Run on").select_option(label="beta")
    page.get_by_label("Viewer's prompt").fill("a whale in the clouds")
    page.get_by_role("button", name="Run", exact=False).first.click()
    answer = answer_text(page)
    expect(page.locator("#try-result a", has_text="run ")).to_be_visible()
    body(page).fill("The second text.")
    publish_it(page, 2)
    assert page.url.endswith("?published=2")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(answer).to_have_text("A red fox runs through fresh snow.")
    expect(page.get_by_label("Run on")).to_have_value(str(beta.pk))
    expect(page.get_by_label("Text to run").locator("option")).to_contain_text(["editor", "v2 (live)", "v1"])
    expect(page.get_by_role("button", name="Publish v3")).to_be_focused()
    snap(page, "workbench-published")
    body(page).fill("A passing idea.")
    expect(saved(page)).to_have_text("Saved")
    page.get_by_role("button", name="Discard draft").click()
    expect(page.locator(".toast")).to_contain_text("Draft discarded.")
    expect(body(page)).to_have_value("The second text.")
    page.get_by_role("button", name="Undo", exact=True).click()
    expect(body(page)).to_have_value("A passing idea.")
    expect(answer).to_have_text("A red fox runs through fresh snow.")
    expect(page.get_by_label("Run on")).to_have_value(str(beta.pk))
    expect(page.get_by_label("Viewer's prompt")).to_have_value("a whale in the clouds")


def test_publishing_does_not_cancel_a_run_in_progress(enhance, beta, upstream, releaser, page_for, pages) -> None:
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    body(page).fill("The second text.")
    expect(saved(page)).to_have_text("Saved")
    upstream.hold()
    body(page).press("Control+Enter")
    expect(answer_text(page)).to_contain_text("A red fox")
    publish_it(page, 2)
    upstream.release()
    expect(answer_text(page)).to_have_text("A red fox runs through fresh snow.")


# ---------------------------------------------------------------- nothing moves under the typist


@pytest.mark.parametrize("width", [1440, 390])
def test_no_news_moves_the_text_under_the_cursor(
    width, enhance, publish, editor, releaser, site, page_for, pages: Pages
) -> None:
    pages.expect_errors(LOST, BROKEN, "status of 409|Status Error Code 409")
    drafts = Gate()
    options = {"viewport": {"width": width, "height": 900}, "routes": {"**/draft/": drafts}}
    page = pages.connected(page_for(releaser, "/prompts/enhance/", **options))
    body(page).focus()
    tops: dict[str, float] = {}

    def note(event: str) -> None:
        tops[event] = body(page).evaluate("field => field.getBoundingClientRect().top + scrollY")
        snap(page, f"workbench-{width}-{event}", full_page=False)

    note("opened")
    page.clock.install()
    other = pages.connected(page_for(editor, "/prompts/enhance/"))
    expect(page.locator("#presence")).to_contain_text("Eddie Editor")
    note("presence")
    page.keyboard.type("One. ")
    expect(page.get_by_role("button", name="Discard draft")).to_be_visible()
    note("saved")
    drafts.fail()
    page.keyboard.type("Two. ")
    expect(saved(page)).to_contain_text("the server had an error")
    note("failed")
    drafts.open()
    page.clock.fast_forward(6000)  # it tries again after 5 s
    expect(saved(page)).to_have_text("Saved")
    publish("enhance", "Another's text.", note="A note that is long enough to fill the line on any screen. " * 3)
    expect(page.locator("#release-news")).to_contain_text("published v2 while you were editing")
    note("news")
    second = page.context.new_page()
    second.goto("/prompts/enhance/")
    body(second).fill("From the second window.")
    expect(saved(second)).to_have_text("Saved")
    page.keyboard.type("Three. ")
    expect(page.locator("#elsewhere")).to_contain_text("Your draft was changed in another window")
    note("elsewhere")
    site.drop_sockets(refuse=True)
    expect(page.locator("#connection")).to_be_visible()
    note("disconnected")
    site.accept_sockets()
    expect(page.locator("#connection")).to_be_hidden()
    note("connected")
    other.close()
    expect(page.locator("#presence")).not_to_contain_text("Eddie Editor")
    note("alone")
    assert set(tops.values()) == {tops["opened"]}, tops


def test_saved_never_stands_alone_beside_a_text_that_cannot_be_published(enhance, releaser, page_for, pages) -> None:
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    body(page).fill("A {{ season }} text.")
    expect(saved(page)).to_have_text("Saved, but not ready to publish")
    snap(page, "workbench-not-ready")
    page.reload()
    expect(saved(page)).to_have_text("Saved, but not ready to publish")
    pages.connected(page)
    variables.declare("enhance", "season", "winter", by=SYSTEM)
    expect(saved(page)).to_have_text("Saved")
    body(page).fill("A {{ season }} text, {{ and.")
    expect(saved(page)).to_contain_text("not ready to publish")
    body(page).fill("A winter text.")
    expect(saved(page)).to_have_text("Saved")


def test_a_session_that_ended_and_a_role_that_changed_have_sentences_of_their_own(
    enhance, editor, page_for, pages: Pages
) -> None:
    pages.expect_errors("status of 403|Status Error Code 403")
    page = page_for(editor, "/prompts/enhance/")
    User.objects.filter(pk=editor.pk).update(role=Role.VIEWER)
    body(page).fill("Typed as a viewer.")
    expect(saved(page)).to_contain_text("Your role does not allow this.")
    expect(saved(page)).to_contain_text("Your text is kept in this tab.")
    snap(page, "workbench-role")
    User.objects.filter(pk=editor.pk).update(role=Role.EDITOR)
    page.clock.install()
    Session.objects.all().delete()
    body(page).fill("Typed after the session.")
    stop_typing(page)
    page.wait_for_url("**/sign-in/**")
    expect(page.locator("#ended")).to_contain_text("Your session has ended. What you typed is kept in this tab.")
    snap(page, "workbench-ended")


# ---------------------------------------------------------------- printing


def test_printing_the_editor_prints_the_whole_prompt(publish, editor, page_for) -> None:
    publish("enhance", "\n".join(f"Line number {number} of a long prompt." for number in range(1, 301)))
    page = page_for(editor, "/prompts/enhance/")
    body(page).press("ControlOrMeta+End")
    page.keyboard.type(" Typed just now.")
    expect(saved(page)).to_have_text("Saved")
    sheets = len(re.findall(rb"/Type /Page\b", page.pdf(format="A4")))  # Chromium itself sends beforeprint
    assert sheets >= 5  # one sheet has about 60 lines
    expect(page.locator(".printed")).to_have_count(0)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(body(page)).to_be_hidden()
    whole = page.locator(".printed").first
    assert whole.inner_text() == body(page).input_value()
    assert whole.evaluate("text => text.scrollHeight <= text.clientHeight")
    snap(page, "workbench-printed")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    expect(body(page)).to_be_visible()
