"""The command bar: its list is fetched when somebody opens it, and it works without the mouse and without the list."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from promptops.prompts.models import Template
from promptops.site.finding import MOST
from tests.browser.conftest import Gate, Pages, failing, snap

pytestmark = pytest.mark.django_db(transaction=True)

ASKED = re.compile(r"/commands/")


@pytest.fixture
def many(db) -> None:
    names = [f"style-{number:03}" for number in range(MOST + 30)]
    Template.objects.bulk_create([Template(name=name, operation="enhance") for name in names])


def options(page: Page):
    return page.locator("#commands [role=option]:visible")


def selected(page: Page):
    return page.locator("#commands [role=option][aria-selected=true]:visible")


def sentence(page: Page, name: str):
    return page.locator(f"#commands [data-sentence={name}]")


def test_a_template_beyond_the_first_ones_is_found_by_keyboard(many, viewer, page_for) -> None:
    page = page_for(viewer, "/settings/")
    page.keyboard.press("Control+k")
    expect(options(page).first).to_contain_text("Overview")
    expect(sentence(page, "more")).to_be_visible()
    snap(page, "command-bar-more", full_page=False)
    page.keyboard.type("style-047")
    expect(options(page)).to_have_count(1)
    expect(selected(page)).to_contain_text("style-047")
    expect(sentence(page, "more")).to_be_hidden()
    page.locator("#commands input").fill("")
    expect(options(page).nth(2)).to_be_visible()
    page.keyboard.type("style-048")
    page.keyboard.press("Enter")  # before the answer has come
    page.wait_for_url("**/prompts/style-048/")


def test_arrows_select_and_the_list_is_whole_again_after_reopening(many, viewer, page_for) -> None:
    page = page_for(viewer, "/settings/")
    page.keyboard.press("Control+k")
    expect(selected(page)).to_contain_text("Overview")
    page.keyboard.press("ArrowDown")
    expect(selected(page)).to_contain_text("Prompts")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(selected(page)).to_contain_text("Sign out")
    page.keyboard.type("nothing of this name")
    expect(sentence(page, "none")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#commands")).to_be_hidden()
    page.keyboard.press("Control+k")
    expect(selected(page)).to_contain_text("Overview")
    expect(sentence(page, "none")).to_be_hidden()


def test_pages_ask_for_the_list_only_when_somebody_is_about_to_open_it(viewer, page_for) -> None:
    page = page_for(viewer, "/settings/")
    requests = []
    page.on("request", lambda request: ASKED.search(request.url) and requests.append(request.url))
    page.keyboard.press("Shift")
    assert requests == []
    with page.expect_response("**/commands/"):
        page.get_by_role("button", name="Open the command bar").hover()
    page.get_by_role("button", name="Open the command bar").click()
    expect(options(page).first).to_be_visible()
    page.keyboard.type("runs")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/")
    assert len(requests) == 1


def test_a_slow_list_is_waited_for(viewer, page_for) -> None:
    held: list[Route] = []
    lists = Gate()
    lists.handler = held.append
    page = page_for(viewer, "/settings/", routes={"**/commands/": lists})
    page.keyboard.press("Control+k")
    expect(sentence(page, "loading")).to_be_visible()
    page.keyboard.type("audit")
    page.keyboard.press("Enter")
    expect(page.locator("#commands")).to_be_visible()
    held[0].continue_()
    page.wait_for_url("**/audit/")


def test_a_list_that_fails_says_so_and_is_asked_for_again(viewer, page_for, pages: Pages) -> None:
    pages.expect_errors("500", "ERR_FAILED")
    lists, searches = Gate(), Gate()
    lists.handler = Route.abort
    searches.fail()
    page = page_for(viewer, "/settings/", routes={"**/commands/*": searches, "**/commands/": lists})
    page.keyboard.press("Control+k")
    expect(sentence(page, "failed")).to_be_visible()
    page.keyboard.type("a")
    expect(sentence(page, "failed")).to_be_visible()
    snap(page, "command-bar-failed", full_page=False)
    lists.open()
    searches.open()
    page.keyboard.type("udit")
    expect(selected(page)).to_contain_text("Audit")
    page.keyboard.press("Enter")
    page.wait_for_url("**/audit/")


def test_without_a_list_enter_searches_the_prompts(viewer, page_for, pages: Pages) -> None:
    pages.expect_errors("500")
    page = page_for(viewer, "/settings/", routes={ASKED: failing})
    page.keyboard.press("Control+k")
    expect(sentence(page, "failed")).to_be_visible()
    page.keyboard.type("slow fox")
    page.keyboard.press("Enter")
    page.wait_for_url("**/prompts/?q=slow%20fox")


def test_a_person_who_was_signed_out_gets_a_way_back(viewer, page_for) -> None:
    page = page_for(viewer, "/settings/")
    page.route_web_socket("**/ws/", lambda socket: None)
    page.goto("/runs/?status=failed")
    page.context.clear_cookies()
    page.keyboard.press("Control+k")
    link = sentence(page, "signed-out").get_by_role("link")
    expect(link).to_have_attribute("href", "/sign-in/?next=/runs/%3Fstatus%3Dfailed")


def test_a_key_in_the_frame_in_which_the_bar_closes_counts(viewer, page_for) -> None:
    """Until the next frame the browser leaves the focus in the field, though nobody sees it any more."""
    page = page_for(viewer, "/settings/")
    page.keyboard.press("Control+k")
    expect(options(page).first).to_be_visible()
    taken = page.evaluate("""() => {
      document.querySelector("#commands").close();
      const key = new KeyboardEvent("keydown", { key: "?", bubbles: true, cancelable: true });
      const target = document.activeElement.id || document.activeElement.nodeName;
      return [target, !document.activeElement.dispatchEvent(key)];
    }""")
    assert taken == ["INPUT", True]
    expect(page.locator("#shortcuts")).to_be_visible()
