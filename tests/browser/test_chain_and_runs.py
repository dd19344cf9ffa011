"""The order of providers and runs in the browser: dragging, tests, streaming, cancel."""

import pytest
from playwright.sync_api import expect

from promptops.ledger.audit import SYSTEM
from promptops.prompts.models import Template
from promptops.providers.actions.chain import ProviderFields, create_provider, reorder
from promptops.providers.models import Provider
from promptops.runs.models import Run
from tests.browser.conftest import Pages, snap
from tests.browser.editor import answer_text
from tests.browser.upstream import Upstream


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
    expect(page.locator(".toast")).to_contain_text("The order is now gamma → alpha → beta")
    assert order() == ["gamma", "alpha", "beta"]


def test_the_chain_is_reordered_by_dragging(providers, releaser, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(releaser, "/providers/"))
    handle = page.get_by_role("button", name="Move alpha").bounding_box()
    target = page.locator("#chain tbody").filter(has_text="gamma").bounding_box()
    page.mouse.move(handle["x"] + 5, handle["y"] + 5)
    page.mouse.down()
    page.mouse.move(handle["x"] + 5, target["y"] + target["height"] - 5, steps=5)
    page.mouse.up()
    panel = page.get_by_role("dialog", name="Review")
    expect(panel).to_contain_text("beta → gamma → alpha")
    panel.get_by_role("button", name="Cancel").click()
    expect(page.locator("#chain tbody b").first).to_have_text("alpha")
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
    expect(page.locator(".toast")).to_contain_text("no longer exists")
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
    page.get_by_label("Run on").select_option("gamma")
    page.get_by_role("button", name="Run").first.click()
    notice = page.locator("#try-list .answer").first.get_by_role("alert")
    expect(notice).to_have_text("gamma could not be reached: the connection was refused")
    upstream.status, upstream.message = 401, "Invalid API key"
    page.get_by_label("Run on").select_option("alpha")
    page.get_by_role("button", name="Run").first.click()
    expect(notice).to_contain_text("alpha answered with status 401: Invalid API key")
    snap(page, "behavior-try-failed")


def test_the_next_provider_answers_when_the_first_cannot(enhance, providers, editor, page_for, pages: Pages) -> None:
    seen = [provider.pk for provider in providers]
    reorder(seen[::-1], by=SYSTEM, expected=seen)
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    page.get_by_role("button", name="Run").first.click()
    expect(page.locator("#try-result")).to_contain_text("fallback used")
    attempts = page.locator("#try-result .attempts")
    expect(attempts).to_contain_text("gamma")
    attempts.locator("span").first.evaluate("name => (name.textContent = 'gamma-'.repeat(10))")  # as long as may be
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator("html")).to_have_js_property("scrollWidth", 390)
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(answer_text(page)).to_have_text("A red fox runs through fresh snow.")
    snap(page, "behavior-try-fallback")


def test_an_answer_streams_and_can_be_canceled(enhance, providers, editor, upstream, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    upstream.hold()
    page.get_by_role("button", name="Run").first.click()
    expect(answer_text(page)).to_have_text("A red fox ")
    page.locator("#try-result").get_by_role("button", name="Cancel").click()
    expect(page.locator("#try-result")).to_contain_text("Canceled")
    assert Run.objects.get().status == "canceled"
    upstream.release()
    page.get_by_role("button", name="Run").first.click()
    expect(answer_text(page)).to_have_text("A red fox runs through fresh snow.")


def test_a_run_shows_at_once_and_goes_again_when_it_is_refused(
    enhance, providers, editor, upstream, page_for, pages
) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    result = page.locator("#try-result")
    click = (
        "document.querySelector('#try [data-key]').click(), document.querySelector('#try-list').firstChild.innerText"
    )
    assert page.evaluate(click) == "Starting…\nCancel"  # before any server could have answered
    expect(result).to_contain_text("A red fox runs through fresh snow.")
    expect(result.locator("a", has_text="run ")).to_be_visible()
    page.get_by_label("Viewer's prompt").fill(" ")
    late = """document.dispatchEvent(new CustomEvent("htmx:wsBeforeMessage", { cancelable: true, detail: {
        message: '<div hx-swap-oob="beforeend:#try-1-1-text"> snow</div>' } }))"""
    assert page.evaluate(f"[({click}), {late}]") == [
        "Starting…\nCancel",
        False,
    ]  # a word for an answer that was dropped has no place
    expect(page.locator(".toast")).to_contain_text("Type an input first")
    expect(result.locator(".answer")).to_have_count(1)
    expect(result.get_by_role("button", name="Cancel")).to_have_count(0)
    page.get_by_label("Viewer's prompt").fill("a fox")
    upstream.hold()
    page.evaluate(f"{click}, document.querySelector('#try-list button').click()")  # at once, too
    expect(result).to_contain_text("Canceled. No more providers are called.")


def test_a_rewrite_shows_its_alternatives(publish, providers, editor, upstream, page_for, pages: Pages) -> None:
    publish("rewrite", "Offer alternatives.")
    upstream.texts = ["1. A fox in the snow\n", "2. A red fox runs\n", "- A fox at dawn"]
    page = pages.connected(page_for(editor, "/prompts/rewrite/"))
    page.get_by_label("Alternatives").fill("2")
    page.get_by_role("button", name="Run").first.click()
    expect(page.locator(".alternatives li")).to_have_text(["A fox in the snow", "A red fox runs"])
