"""Parts of a page that are replaced while a person types, chooses or presses in them, by answers in any order."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from promptops.compare.actions import prompt_sets
from promptops.ledger.audit import SYSTEM
from promptops.platform import pages as long_lists
from promptops.providers.actions.chain import ProviderFields, create_provider
from tests.browser.conftest import WAIT_MS, Gate, Pages, Site

NEW = "/providers/new/"


def held(page: Page, gate: Gate, cause: Callable[[], object]) -> Route:
    """Return the request that `cause` makes, before it reaches the server. Later requests go on."""
    routes: list[Route] = []
    gate.once(routes.append)
    cause()
    for _ in range(WAIT_MS // 10):
        if routes:
            break
        page.wait_for_timeout(10)
    return routes[0]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def adding(administrator, page_for, pages: Pages, gate: Gate) -> Page:
    """Return the page that adds a provider, with `gate` before the requests for another shape of its form."""
    return pages.connected(page_for(administrator, NEW, routes={f"**{NEW}": gate}))


def choose_kind(page: Page) -> None:
    page.get_by_label("Kind").select_option("openai")


def test_enter_in_a_form_of_another_shape_sends_the_form(adding: Page, upstream) -> None:
    choose_kind(adding)
    expect(adding.get_by_label("No key")).to_be_checked()
    adding.get_by_label("Base URL").fill(upstream.url)
    adding.get_by_label("Name").fill("studio")
    adding.get_by_label("Name").press("Enter")
    expect(adding.get_by_role("dialog", name="Review")).to_contain_text("studio")


def test_a_second_choice_keeps_what_was_typed_opened_and_pressed_since_the_first(
    adding: Page, pages: Pages, gate: Gate
) -> None:
    pages.expect_errors(r"htmx:(sendAbort|afterRequest)")  # the second choice replaces the first request
    adding.get_by_label("Name").fill("abc")
    adding.get_by_label("Name").press("Home")
    first = held(adding, gate, lambda: choose_kind(adding))
    adding.get_by_role("button", name="List its models").click()
    second = held(adding, gate, adding.get_by_text("Stored key", exact=True).click)
    adding.get_by_text("Limits, prices and fallback").click()
    adding.get_by_label("Name").focus()
    adding.keyboard.type("xy")
    first.continue_()
    second.continue_()
    expect(adding.locator("#models")).to_contain_text("Key: This field is required.")
    expect(adding.get_by_label("Calls at once")).to_be_visible()
    adding.keyboard.type("z")
    expect(adding.get_by_label("Name")).to_have_value("xyzabc")


def test_a_press_counts_although_its_button_is_replaced_meanwhile(adding: Page, gate: Gate) -> None:
    shape = held(adding, gate, lambda: choose_kind(adding))
    adding.get_by_text("Off", exact=True).hover()
    adding.mouse.down()
    shape.continue_()
    expect(adding.get_by_label("No key")).to_be_checked()
    adding.mouse.up()
    expect(adding.get_by_label("Off", exact=True)).to_be_checked()


def test_a_search_shows_its_results_although_the_list_refreshed_meanwhile(
    viewer, publish, page_for, pages: Pages, site: Site, gate: Gate
) -> None:
    page = pages.connected(page_for(viewer, "/prompts/", routes={"**/prompts/?q=*": gate}))
    search = held(page, gate, lambda: page.get_by_role("searchbox").fill("zzzz"))
    publish("enhance", "A fox.")
    expect(page.locator("#templates tbody tr")).to_have_count(1)
    search.continue_()
    expect(page.locator("#templates")).to_contain_text("No results")


def test_a_filter_ends_the_search_for_older_entries(
    viewer, publish, page_for, pages: Pages, gate: Gate, monkeypatch
) -> None:
    pages.expect_errors(r"htmx:(sendAbort|afterRequest)")
    publish("enhance", "A fox.", note="It trots")
    publish("enhance", "A hare.")
    page = page_for(viewer, "/audit/", routes={"**before=*": gate})
    words = page.get_by_label("Search", exact=True)
    with monkeypatch.context() as patch:
        patch.setattr(long_lists, "REACH", 1)
        older = held(page, gate, lambda: words.fill("zebra") or words.press("Enter"))
    with page.expect_event("requestfailed"):
        words.fill("trots")
        words.press("Enter")
    older.continue_()
    expect(page.locator("#rows")).to_contain_text("trots")


def test_the_review_panel_shows_what_was_pressed_last(
    administrator, upstream, page_for, pages: Pages, gate: Gate
) -> None:
    for name in ("p1", "p2"):
        create_provider(ProviderFields(name, "openai", "fox", upstream.url), by=SYSTEM)
    page = pages.connected(page_for(administrator, "/providers/", routes={"**/enabled/": gate}))

    def turn_off(name: str) -> None:
        page.get_by_label(f"More for {name}").click()
        page.get_by_role("button", name=f"Turn {name} off").click()

    first = held(page, gate, lambda: turn_off("p1"))
    turn_off("p2")
    panel = page.get_by_role("dialog", name="Review")
    expect(panel.locator("h2")).to_contain_text("p2")
    with page.expect_response("**/enabled/"):
        first.continue_()
    page.wait_for_timeout(100)  # time for a wrong answer to show
    expect(panel.locator("h2")).to_contain_text("p2")


def test_a_refresh_keeps_typed_text_and_the_focus(editor, page_for, pages: Pages) -> None:
    foxes = prompt_sets.create_set("Foxes", ["a fox"], by=SYSTEM)
    page = pages.connected(page_for(editor, f"/compare/sets/{foxes.pk}/"))
    search = page.get_by_label("Search the inputs").and_(page.get_by_role("searchbox"))
    search.press_sequentially("fo")
    prompt_sets.change_set(foxes, name="Foxes", description="", inputs=["one fox"], by=SYSTEM, expected=1)
    expect(page.locator("td pre")).to_have_text("one fox")
    page.keyboard.type("x")
    expect(search).to_have_value("fox")
    page.get_by_role("button", name="Archive").focus()
    prompt_sets.change_set(foxes, name="Foxes", description="", inputs=["two foxes"], by=SYSTEM, expected=2)
    expect(page.locator("td pre")).to_have_text("two foxes")
    expect(page.get_by_role("button", name="Archive")).to_be_focused()
