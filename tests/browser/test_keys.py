"""Keys: everything that a page offers is one key away, and the help and the command bar list what it declares."""

import pytest
from playwright.sync_api import Page, expect

from promptops.prompts.models import Template, Version
from tests.browser.conftest import Gate, Pages, snap
from tests.browser.editor import body, saved
from tests.browser.looks import faults, told
from tests.factories import make_run

pytestmark = pytest.mark.django_db(transaction=True)

MOST_PRESSES = 12


@pytest.fixture
def enhance(publish) -> Template:
    return publish("enhance", "The first text.", note="First").template


class Hand:
    """Presses keys and counts them; a chord counts each of its keys. What a person types is not counted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.presses = 0

    def press(self, *keys: str) -> None:
        for key in keys:
            self.presses += len(key.split("+"))
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)


def option(page: Page, text: str):
    return page.locator("#commands [role=option]:visible", has_text=text)


def selected(page: Page):
    return page.locator("#commands [role=option][aria-selected=true]:visible")


def test_from_the_overview_to_a_published_change_in_twelve_presses(enhance, releaser, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(releaser))
    hand = Hand(page)
    hand.press("/")
    hand.type("enhance")
    hand.press("Enter")
    page.wait_for_url("**/prompts/enhance/")
    pages.connected(page)
    hand.press("e")
    expect(body(page)).to_be_focused()
    hand.press("Control+End")
    hand.type(" In three sentences.")
    hand.press("Escape", "p")  # before the draft is saved
    expect(page.locator("#review")).to_be_visible()
    hand.type("Longer answers")
    hand.press("Control+Enter")
    expect(page.get_by_text("v2 is live since revision")).to_be_visible()
    version = Version.objects.get(number=2)
    assert (version.body, version.note) == ("The first text. In three sentences.", "Longer answers")
    assert hand.presses <= MOST_PRESSES


def test_the_bar_offers_what_the_page_does_with_its_keys(enhance, editor, page_for) -> None:
    page = page_for(editor, "/prompts/enhance/")
    page.keyboard.press("Control+k")
    expect(selected(page)).to_contain_text("Edit the system prompt")
    expect(option(page, "Run").first).to_contain_text("Ctrl Enter")
    expect(option(page, "Ask for a release")).to_contain_text("No changes")
    expect(option(page, "Ask for a release")).to_have_attribute("aria-disabled", "true")
    assert not faults(page, "bar-of-the-editor")
    page.keyboard.type("ask rel")
    page.keyboard.press("Enter")
    expect(page.locator("#commands")).to_be_visible()  # nothing happened
    page.locator("#commands input").fill("edit system")
    page.keyboard.press("Enter")
    expect(page.locator("#commands")).to_be_hidden()
    expect(body(page)).to_be_focused()
    page.keyboard.press("Control+k")
    page.keyboard.type("dark")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_what_was_used_last_is_first_on_every_page(enhance, viewer, page_for) -> None:
    Template.objects.bulk_create([Template(name=f"style-{number:03}", operation="enhance") for number in range(40)])
    run = make_run()
    page = page_for(viewer, "/settings/")
    for words, address in (("style-033", "**/prompts/style-033/"), (f"#{run.pk}", f"**/runs/{run.pk}/")):
        page.keyboard.press("Control+k")
        page.keyboard.type(words)
        page.keyboard.press("Enter")
        page.wait_for_url(address)
    page.goto("/fleet/")
    page.keyboard.press("Control+k")
    expect(selected(page)).to_contain_text(f"Run {run.pk}")
    page.keyboard.press("ArrowDown")
    expect(selected(page)).to_contain_text("style-033")


def test_rows_neighbors_and_the_help_by_keyboard(publish, viewer, page_for) -> None:
    for text in ("One.", "Two.", "Three."):
        publish("enhance", text)
    page = page_for(viewer, "/prompts/enhance/history/")
    page.keyboard.press("?")
    helped = page.locator("#shortcuts")
    expect(helped).to_contain_text("Next and previous row")
    expect(helped.get_by_text("Save the draft")).to_be_hidden()
    expect(helped.get_by_text("Edit the system prompt")).to_have_count(0)
    expect(helped).to_contain_text("g p")
    snap(page, "keys-help", full_page=False)
    page.keyboard.press("j")  # does nothing in a dialog
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr.linked").nth(1).get_by_role("link").first).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/diff/?a=2&b=3")
    page.goto(page.url.split("diff/")[0] + "v3/")
    page.keyboard.press("[")
    page.wait_for_url("**/v2/")
    page.keyboard.press("]")
    page.wait_for_url("**/v3/")
    page.keyboard.press("?")
    expect(helped).to_contain_text("Older: v2")
    expect(helped).not_to_contain_text("Newer:")
    assert not (found := faults(page, "keys-help")), told(found)


def test_keys_do_nothing_while_a_person_types_composes_or_turned_them_off(enhance, editor, page_for) -> None:
    page = page_for(editor, "/prompts/")
    page.keyboard.press("/")
    search = page.get_by_role("searchbox")
    expect(search).to_be_focused()
    with page.expect_response("**q=jjk*"):
        page.keyboard.type("jjk")
    expect(search).to_be_focused()
    page.keyboard.press("Escape")
    expect(search).not_to_be_focused()
    expect(search).to_have_value("jjk")
    page.goto("/prompts/enhance/")
    page.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'e', isComposing: true, bubbles: true}))"
    )
    for key in ("Alt+e", "Shift+E"):
        page.keyboard.press(key)
    expect(body(page)).not_to_be_focused()
    page.keyboard.press("?")
    page.get_by_label("Single keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    expect(body(page)).not_to_be_focused()
    expect(saved(page)).to_have_text("No changes")
    page.keyboard.press("Control+k")
    expect(page.locator("#commands")).to_be_visible()


def test_a_panel_is_confirmed_from_its_note(publish, releaser, page_for) -> None:
    for text in ("One.", "Two."):
        publish("enhance", text)
    page = page_for(releaser, "/prompts/enhance/v1/")
    page.get_by_role("button", name="Roll back to v1").click()
    expect(page.get_by_label("Note")).to_be_focused()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("v1 is live since revision")).to_be_visible()
    assert Template.objects.get().live_version.number == 1


def test_a_link_of_the_navigation_is_marked_until_its_page_comes(releaser, page_for, pages: Pages) -> None:
    gate = Gate()
    page = pages.connected(page_for(releaser, routes={"**/prompts/": gate}))
    link = page.locator(".side a", has_text="Prompts")
    gate.once(lambda route: route.fulfill(status=204))  # the browser stays on the page, as when its person stops it
    page.keyboard.press("g")
    page.keyboard.press("p")
    expect(link).to_have_attribute("data-opening", "")
    page.keyboard.press("Escape")
    expect(link).not_to_have_attribute("data-opening", "")
    page.keyboard.press("g")
    page.keyboard.press("p")
    page.wait_for_url("**/prompts/")
    expect(page.locator("[data-opening]")).to_have_count(0)
