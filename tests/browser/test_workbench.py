"""The prompt page as a workbench: publishing leaves everything in place, and nothing moves under the typist."""

import re

import pytest
from playwright.sync_api import Page, expect

from promptops.ledger.audit import SYSTEM
from promptops.prompts.models import Template
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.providers.models import Provider
from tests.browser.conftest import Pages, snap
from tests.browser.editor import body, saved
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
    answer = page.locator("#try-text")
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
    expect(page.locator("#try-text")).to_contain_text("A red fox")
    publish_it(page, 2)
    upstream.release()
    expect(page.locator("#try-text")).to_have_text("A red fox runs through fresh snow.")


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
