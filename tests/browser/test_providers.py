"""The Providers page in the browser: rows that open, stay open and stay in place; and adding a provider in steps."""

import pytest
from playwright.sync_api import Route, expect

from promptops.ledger.audit import SYSTEM
from promptops.platform import events
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.providers.models import Provider
from promptops.runs.models import Run
from tests.browser.conftest import Gate, Pages, Site, failing
from tests.browser.looks import faults, told
from tests.browser.upstream import Upstream
from tests.providers.pages import call

WATCH_SHIFTS = """() => { window.shifted = 0; new PerformanceObserver((list) => { for (const shift of list.getEntries())
    if (!shift.hadRecentInput) window.shifted += shift.value }).observe({ type: "layout-shift" }) }"""


@pytest.fixture
def providers(transactional_db: None, upstream: Upstream) -> list[Provider]:
    fields = [ProviderFields(f"p{number}", "openai", f"m{number}", upstream.url) for number in range(1, 6)]
    return [create_provider(each, by=SYSTEM) for each in fields]


def test_an_open_row_a_menu_and_a_test_stay_in_place_while_the_page_is_live(
    providers, administrator, upstream, page_for, pages: Pages, site: Site
) -> None:
    page = pages.connected(page_for(administrator, "/providers/"))
    page.get_by_role("link", name="p2").focus()
    page.keyboard.press("Enter")
    details = page.locator(f"#row-{providers[1].pk} .provider-details")
    expect(details).to_contain_text(upstream.url)
    expect(page.get_by_role("link", name="p2")).to_be_focused()
    assert page.url.endswith(f"/providers/?open={providers[1].pk}")
    upstream.hold()
    page.get_by_role("button", name="Test p1").click()
    result = page.locator(f"#test-result-{providers[0].pk}")
    expect(result.get_by_role("button", name="Cancel")).to_be_visible()
    page.wait_for_timeout(550)  # after this, the browser counts each shift as one that nobody asked for
    page.evaluate(WATCH_SHIFTS)
    upstream.release()
    expect(result).to_contain_text("test answered")
    page.locator("summary[aria-label='More for p3']").evaluate("summary => summary.click()")
    for number in range(2):
        run = call("p2", "failed", f"p2 answered {number}")
        site.tell(events.RUN_RECORDED, run.pk)
        expect(details).to_contain_text(f"p2 answered {number}")
    assert page.evaluate("window.shifted") <= 0.02
    expect(result).to_contain_text("test answered")
    expect(page.get_by_role("button", name="Turn p3 off")).to_be_visible()
    found = faults(page, "providers-open-row-menu-and-result")
    assert not found, told(found)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Close the result of p1").click()
    expect(result).to_have_text("")
    page.reload()
    expect(details).to_be_visible()
    page.get_by_role("link", name="p2").click()
    expect(details).to_have_count(0)


def test_a_provider_is_added_in_steps(administrator, upstream, page_for, pages: Pages) -> None:
    pages.expect_errors(r"422", r"htmx:(sendAbort|afterRequest)")  # a form with an error, and a canceled test
    page = pages.connected(page_for(administrator, "/providers/new/"))
    page.get_by_label("Kind").select_option("openai")
    expect(page.get_by_label("No key")).to_be_checked()
    page.get_by_label("Base URL").fill(upstream.url)
    page.get_by_text("Stored key", exact=True).click()
    page.get_by_label("Key", exact=True).fill("sk-typed-once")
    page.get_by_role("button", name="List its models").click()
    expect(page.locator("#models")).to_contain_text("2 models listed")
    assert upstream.keys == ["Bearer sk-typed-once"]
    page.get_by_label("Model id").fill("fox-small")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator(".error")).to_have_text("This field is required.")  # the name
    page.get_by_label("Name").fill("studio")
    upstream.status, upstream.message = 401, "Wrong key sk-typed-once"
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("#trial")).to_contain_text("Studio answered with status 401: Wrong key [key].")
    expect(page.get_by_label("Key", exact=True)).to_have_value("sk-typed-once")
    upstream.status = 200
    upstream.hold()
    page.get_by_role("button", name="Test", exact=True).click()
    cancel = page.locator("#try-provider + button")
    assert upstream.holding.wait(5)
    cancel.click()
    expect(cancel).to_be_hidden()
    assert upstream.hung_up.wait(5)  # the call has ended, not only the wait for it
    upstream.release()
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("#trial")).to_contain_text("A red fox runs through fresh snow.")
    found = faults(page, "provider-new-tested")
    assert not found, told(found)
    page.get_by_text("Off", exact=True).click()
    page.get_by_role("button", name="Add to the chain").click()
    panel = page.get_by_role("dialog", name="Review")
    expect(panel).to_contain_text("It begins off, so no run is affected.")
    expect(panel).not_to_contain_text("No test has passed")
    panel.get_by_role("button", name="Add studio, off").click()
    expect(page.locator(".toast")).to_contain_text("studio was added and is off.")
    expect(page.locator("#chain")).to_contain_text("fox-small")
    made = Provider.objects.get()
    assert (made.enabled, made.key_state, Run.objects.count()) == (False, "stored key", 0)


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_typed_and_pressed_while_a_form_takes_a_new_shape_counts(
    administrator, upstream, page_for, pages: Pages, fails: bool
) -> None:
    gate = Gate()
    held: list[Route] = []
    page = pages.connected(page_for(administrator, "/providers/new/", routes={"**/providers/new/": gate}))
    gate.once(held.append)
    page.get_by_label("Kind").select_option("openai")
    form = page.locator("#provider-form")
    expect(form).to_have_attribute("aria-busy", "true")
    page.get_by_label("Base URL").fill(upstream.url)
    page.get_by_text("Off", exact=True).click()
    page.get_by_role("button", name="List its models").click()
    if fails:
        pages.expect_errors(r"500")
        failing(held[0])
        expect(page.locator(".toast")).to_contain_text("error")
        expect(form).not_to_have_attribute("aria-busy", "true")
        gate.open()
        page.get_by_role("button", name="List its models").click()
        expect(page.locator("#models")).to_contain_text("CEREBRAS_API_KEY")  # in the shape that it still has
        return
    held[0].continue_()
    expect(page.get_by_label("No key")).to_be_checked()
    expect(page.locator("#models")).to_contain_text("2 models listed")
    expect(page.get_by_label("Base URL")).to_have_value(upstream.url)
    expect(page.get_by_label("Off", exact=True)).to_be_checked()
    expect(page.locator(".toast")).to_have_count(0)


def test_asking_for_models_and_a_test_of_the_chain_can_be_canceled(
    providers, administrator, upstream, page_for, pages: Pages
) -> None:
    pages.expect_errors(r"htmx:(sendAbort|afterRequest)")
    page = pages.connected(page_for(administrator, "/providers/new/"))
    page.get_by_label("Kind").select_option("openai")
    expect(page.get_by_label("No key")).to_be_checked()
    page.get_by_label("Base URL").fill(upstream.url)
    cancel = page.locator("#list-models + button")
    expect(cancel).to_be_hidden()
    upstream.hold()
    page.get_by_role("button", name="List its models").click()
    assert upstream.holding.wait(10)
    cancel.click()
    expect(cancel).to_be_hidden()
    assert upstream.hung_up.wait(10)  # the call has ended, not only the wait for it
    expect(page.locator("#models")).not_to_contain_text("listed")
    upstream.release()
    page.get_by_role("button", name="List its models").click()
    expect(page.locator("#models")).to_contain_text("2 models listed")

    page = pages.connected(page_for(administrator, "/providers/"))
    upstream.holding.clear()
    upstream.hung_up.clear()
    upstream.hold()
    page.get_by_role("button", name="Test p1").click()
    result = page.locator(f"#test-result-{providers[0].pk}")
    assert upstream.holding.wait(10)
    result.get_by_role("button", name="Cancel").click()
    expect(result).to_contain_text("test canceled")
    assert upstream.hung_up.wait(10)
    assert Run.objects.get().status == "canceled"
    upstream.release()
    page.get_by_role("button", name="Test p1").click()
    expect(result).to_contain_text("test answered")
