"""The editor of the prompt page: line numbers, search, views, jumps to problems, the full screen, and the phone."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from promptops.ledger.audit import SYSTEM
from promptops.prompts.actions import variables
from promptops.prompts.models import Template
from tests.browser.conftest import Pages, Site
from tests.browser.editor import body, saved
from tests.browser.looks import LOOKS, OTHER_LOOKS, faults, told

PHONE = {"width": 390, "height": 844}
SENTENCE = "Keep the subject first, and add light, lens, camera movement and sound in that order, {{ style }}. "
TEXT = "\n".join(SENTENCE * (1 + number % 3) if number % 4 else f"狐狸 {number}" for number in range(120))

RUN = re.compile(r"^Run( Ctrl Enter)?$")
"""The name of the button; a phone shows no keys."""


@pytest.fixture
def enhance(publish) -> Template:
    variables.declare("enhance", "style", "muted colors, 35 mm film and a hand-held camera", by=SYSTEM)
    return publish("enhance", TEXT).template


@pytest.fixture
def page(enhance, releaser, page_for) -> Page:
    return page_for(releaser, "/prompts/enhance/")


def scroll(place: Locator) -> float:
    return place.evaluate("place => place.scrollTop")


def choose(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


# The bottom of the last numbered line is where the field's own text ends: both wrapped alike.
SAME_HEIGHT = """field => {
  const lines = field.parentElement.querySelector(".lines");
  return [lines.scrollHeight, field.scrollHeight, lines.children.length, lines.scrollTop - field.scrollTop];
}"""


def test_the_numbers_follow_wrapped_lines_and_scroll_with_the_text(page: Page) -> None:
    for width in (1440, 2560, 1024, 390):
        page.set_viewport_size({"width": width, "height": 900})
        copied, shown, lines, _ = body(page).evaluate(SAME_HEIGHT)
        assert (copied, lines) == (shown, 120), width
    page.set_viewport_size({"width": 1440, "height": 900})
    body(page).press("Control+End")
    page.keyboard.type("\n\nثعلب يركض في الثلج " * 12)
    page.keyboard.press("Control+Home")
    page.keyboard.type("One.\nTwo.\t")
    page.keyboard.press("Control+z")
    body(page).evaluate("field => { field.scrollTop = 700 }")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    copied, shown, lines, apart = body(page).evaluate(SAME_HEIGHT)
    assert (copied, lines, apart) == (shown, len(body(page).input_value().split("\n")), 0)
    choose(page, "Wrap long lines")
    assert body(page).evaluate("field => field.scrollWidth > field.clientWidth")
    page.reload()  # the choice is remembered
    expect(page.get_by_role("button", name="Wrap long lines")).to_have_attribute("aria-pressed", "false")
    copied, shown, *_ = body(page).evaluate(SAME_HEIGHT)
    assert copied == shown


def test_each_paragraph_has_its_own_direction_and_its_marks(page: Page) -> None:
    body(page).fill("ثعلب أحمر يركض في الثلج\nA fox. ثعلب\n" + "狐狸在雪地里奔跑，" * 40)
    body(page).press("ControlOrMeta+f")
    page.keyboard.type("狐狸")
    expect(page.locator("[data-found]")).to_have_text("1 of 40")
    text, first = body(page).bounding_box(), page.locator(".hit.current").bounding_box()
    assert (first["x"], round((first["y"] - text["y"] - 12) / 21)) == (text["x"] + 8, 2)
    page.get_by_role("textbox", name="Find").fill("ثعلب")
    right = page.locator(".hit.current").bounding_box()
    assert right["x"] > text["x"] + text["width"] - 120  # the first paragraph begins at the right


def test_a_search_counts_steps_and_returns_to_the_text(page: Page) -> None:
    body(page).focus()
    page.keyboard.press("ControlOrMeta+f")
    field, found = page.get_by_role("textbox", name="Find"), page.locator("[data-found]")
    expect(field).to_be_focused()
    page.keyboard.type("狐狸")
    expect(found).to_have_text("1 of 30")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(found).to_have_text("3 of 30")
    page.keyboard.press("Shift+Enter")
    expect(found).to_have_text("2 of 30")
    current, text = page.locator(".hit.current").bounding_box(), body(page).bounding_box()
    assert text["y"] <= current["y"] <= text["y"] + text["height"]
    page.keyboard.press("Escape")
    expect(body(page)).to_be_focused()
    expect(page.locator(".hit")).to_have_count(0)
    assert body(page).evaluate("field => field.value.slice(field.selectionStart, field.selectionEnd)") == "狐狸"
    choose(page, "Find in the text")  # with what is selected
    expect(found).to_have_text("2 of 30")
    field.fill("no such words")
    expect(found).to_have_text("No results")
    choose(page, "Close the find bar")
    expect(saved(page)).to_have_text("No changes to publish")  # a search is no change


def test_the_same_place_is_shown_as_the_model_gets_it(page: Page) -> None:
    body(page).evaluate("field => { field.scrollTop = 900 }")
    before = scroll(body(page))
    page.keyboard.press("F9")
    filled = page.get_by_role("group", name="As the model gets it")
    expect(filled).to_contain_text("muted colors, 35 mm film")
    expect(body(page)).to_be_hidden()
    # Both views begin with the same line: the last line that begins above the edge.
    top_line = """place => {
      const [edge, range] = [place.getBoundingClientRect().top, document.createRange()];
      const node = document.caretRangeFromPoint(place.getBoundingClientRect().left + 60, edge + 16);
      return node.startContainer.textContent.slice(node.startOffset, node.startOffset + 12);
    }"""
    assert scroll(filled) > before  # values are longer than their names
    assert filled.evaluate(top_line)
    page.keyboard.press("F9")
    assert scroll(body(page)) == before
    page.keyboard.press("F9")
    page.reload()
    expect(filled).to_be_visible()
    page.keyboard.press("F9")
    body(page).fill("Typed a moment ago, {{ style }}.")
    page.keyboard.press("F9")  # saves at once
    expect(filled).to_have_text("Typed a moment ago, muted colors, 35 mm film and a hand-held camera.")


def test_the_list_of_problems_stays_open_while_the_draft_is_saved(page: Page) -> None:
    body(page).fill("A {{ stile }}.")
    page.get_by_text("1 problem", exact=True).click()
    expect(page.get_by_role("button", name="{{ stile }} is not declared")).to_be_visible()
    body(page).evaluate("""field => {
      field.value += " And {{ another }}.";
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }""")  # as what was typed a moment before
    expect(page.get_by_text("2 problems", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="{{ another }} is not declared")).to_be_visible()


def test_a_problem_is_a_press_away(page: Page) -> None:
    body(page).press("Control+End")
    page.keyboard.type("\n\n  {{ stile }} and {{ style }} and {{ also")
    page.keyboard.press("Escape")
    page.get_by_text("2 problems", exact=True).click()
    body(page).evaluate("field => { field.scrollTop = 0 }")
    page.get_by_role("button", name="{{ stile }} is not declared").click()
    selected = "field => field.value.slice(field.selectionStart, field.selectionEnd)"
    expect(body(page)).to_be_focused()
    assert body(page).evaluate(selected) == "{{ stile }}"
    assert scroll(body(page)) > 1000
    page.keyboard.press("F8")
    assert body(page).evaluate("field => field.value.slice(field.selectionStart)") == "{{ also"
    page.keyboard.press("F8")
    assert body(page).evaluate(selected) == "{{ stile }}"


def test_the_full_screen_and_publishing_keep_the_place(page: Page) -> None:
    body(page).press("Control+Home")
    page.keyboard.type("More. ")
    expect(saved(page)).to_have_text("Saved")
    choose(page, "Full screen")
    expect(page.get_by_role("button", name=RUN)).to_be_hidden()
    assert body(page).bounding_box()["width"] > 1300
    body(page).press("Control+f")
    page.keyboard.press("Escape")  # closes the find bar only
    expect(page.get_by_role("button", name=RUN)).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name=RUN)).to_be_visible()
    expect(body(page)).to_be_focused()
    body(page).evaluate("field => { field.scrollTop = 500 }")
    place = body(page).bounding_box()
    choose(page, "Publish v2")
    page.get_by_role("dialog", name="Review").get_by_role("button", name="Publish v2").click()
    expect(page.get_by_text("v2 is live since")).to_be_visible()
    assert (scroll(body(page)), body(page).bounding_box()) == (500, place)


# ---------------------------------------------------------------- the frame

SHIFTS = """() => new Promise((report) => {
  let largest = 0;
  new PerformanceObserver((list) => {
    for (const { value } of list.getEntries()) largest = Math.max(largest, value);
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => report(largest), 300);
})"""


@pytest.mark.parametrize("size", [{"width": 1440, "height": 900}, PHONE])
def test_nothing_moves_while_the_page_loads(size, enhance, releaser, page_for, pages: Pages, site: Site) -> None:
    page = pages.connected(page_for(releaser, "/prompts/enhance/", viewport=size))
    site.pauses_at = 0.42  # the status line has arrived, the text has not
    page.reload()  # with style and scripts at hand, so that the browser could show the first half
    expect(page.locator(".count").first).to_contain_text("characters")
    assert page.evaluate(SHIFTS) <= 0.02


def test_both_panes_fill_a_large_screen(page: Page) -> None:
    for width, height in ((1440, 900), (2560, 1300)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollHeight") == height
        text, beside = body(page).bounding_box(), page.locator("#try-card").bounding_box()
        assert text["height"] > height * 0.5
        assert beside["x"] + beside["width"] > width - 24
        assert beside["width"] > width * 0.3


def test_a_phone_has_two_tabs_and_publishes_at_the_bottom(enhance, releaser, page_for) -> None:
    page = page_for(releaser, "/prompts/enhance/", viewport=PHONE)
    expect(body(page)).to_be_visible()
    expect(page.get_by_role("button", name=RUN)).to_be_hidden()
    choose(page, "Try")
    expect(body(page)).to_be_hidden()
    expect(page.get_by_role("button", name=RUN)).to_be_visible()
    choose(page, "Edit")
    body(page).press("Control+End")
    page.keyboard.type(" Typed on a phone.")
    publish = page.get_by_role("button", name="Publish v2")
    expect(publish).to_be_in_viewport()
    # A keyboard on the screen covers the lower half: Publish makes room, and the text with the caret is above it.
    page.evaluate(
        """() => {
          Object.defineProperty(visualViewport, "height", { value: 430, configurable: true });
          visualViewport.dispatchEvent(new Event("resize"));
        }"""
    )
    expect(publish).to_be_hidden()
    text = body(page).bounding_box()
    assert text["y"] + text["height"] <= 430
    assert body(page).evaluate("field => field.scrollHeight - field.scrollTop - field.clientHeight") < 40
    page.evaluate("() => { delete visualViewport.height; visualViewport.dispatchEvent(new Event('resize')) }")
    expect(publish).to_be_in_viewport()
    body(page).press("Control+Enter")
    expect(page.get_by_role("button", name=RUN)).to_be_visible()


def test_the_page_and_its_open_panel_are_readable(enhance, publish, releaser, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    body(page).press("Control+Home")
    page.keyboard.type("{{ missing }} ")
    page.keyboard.press("Escape")
    page.get_by_text("1 problem", exact=True).click()
    found = faults(page, "editing-written", LOOKS)
    page.keyboard.press("F9")
    found += faults(page, "editing-model", OTHER_LOOKS)
    page.keyboard.press("F9")
    body(page).fill(SENTENCE)
    expect(saved(page)).to_have_text("Saved")
    page.set_viewport_size({"width": 1440, "height": 900})
    choose(page, "Publish v2")
    panel = page.get_by_role("dialog", name="Review")
    panel.get_by_label("Note").fill("Because")
    publish("enhance", "Another's text.")
    expect(panel.get_by_role("status")).to_contain_text("published")
    found += faults(page, "editing-review", LOOKS + OTHER_LOOKS)
    assert not found, told(found)


def test_an_open_panel_learns_what_somebody_published(
    enhance, publish, actor, releaser, page_for, pages: Pages
) -> None:
    pages.expect_errors("status of 409")
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    body(page).fill("The second text.")
    choose(page, "Publish v2")
    panel = page.get_by_role("dialog", name="Review")
    confirm, note = panel.get_by_role("button", name="Publish v2"), panel.get_by_label("Note")
    note.press_sequentially("Why")
    places = [place.bounding_box() for place in (note, panel, confirm)]
    variables.declare("enhance", "mood", "calm", by=actor)
    expect(panel.locator(".review-news")).to_contain_text("Ada Administrator declared the variable enhance.mood.")
    again = panel.get_by_role("button", name="Look again")
    assert [place.bounding_box() for place in (note, panel, again)] == places
    expect(confirm).to_be_hidden()
    expect(note).to_be_focused()
    again.click()  # keeps the note, and what was read is now up to date
    expect(confirm).to_be_visible()
    expect(note).to_have_value("Why")
    confirm.focus()
    publish("enhance", "Another's text.")
    expect(panel.locator(".review-news")).to_contain_text("Ada Administrator published enhance v2.")
    expect(again).to_be_focused()
    page.keyboard.press("Enter")
    expect(panel).to_contain_text("Your text merged with v2")
