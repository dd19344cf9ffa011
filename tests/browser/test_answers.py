"""The answers of "Try it": several at once, compared, pinned, dropped, and kept through publishing and a reload."""

import pytest
from playwright.sync_api import Page, expect

from promptops.ledger.audit import SYSTEM
from promptops.prompts.models import Template
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.runs.actions import erasing
from promptops.runs.models import Run
from tests.browser.conftest import Pages, snap
from tests.browser.editor import answer_text, answers, body
from tests.browser.looks import faults, told
from tests.browser.test_workbench import publish_it
from tests.browser.upstream import Upstream

FOX = "A red fox runs through fresh snow."
WOLF = "A gray wolf runs through fresh snow."


@pytest.fixture
def enhance(publish, upstream: Upstream) -> Template:
    create_provider(ProviderFields("alpha", "openai", "alpha-model", upstream.url), by=SYSTEM)
    return publish("enhance", "The first text.", note="First").template


def run(page: Page, name: str = "Run Ctrl") -> None:
    page.locator("#try").get_by_role("button", name=name).click()


def recorded(page: Page, number: int) -> None:
    expect(page.locator("#try-result a", has_text="run ")).to_have_count(number)


def test_answers_are_compared_pinned_dropped_and_kept(
    enhance, releaser, upstream: Upstream, page_for, pages: Pages
) -> None:
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    page.get_by_label("Viewer's prompt").fill("a fox")
    run(page)
    recorded(page, 1)
    expect(page.locator("#try-news")).to_contain_text("Draft: answered in")

    answers(page).first.get_by_role("button", name="Pin").click()
    upstream.texts = [WOLF]
    run(page, "Run 3 times")
    recorded(page, 4)
    expect(page.get_by_role("group", name="3 runs of the same input").locator(".answer")).to_have_count(3)
    expect(page.locator("#try-list .answer").nth(2)).to_contain_text("Same words as the first answer")

    body(page).fill("The second text.")
    run(page, "Compare with live")
    recorded(page, 6)
    live, draft = (page.locator("#try-list .answer").nth(place) for place in (0, 1))
    expect(live.locator("header")).to_contain_text("v1 live")
    expect(draft.locator("header")).to_contain_text("Draft")
    assert [asked["messages"][0]["content"] for asked in upstream.asked[-2:]].count("The second text.") == 1
    run(page)  # compared with the pinned answer
    recorded(page, 7)
    newest = page.locator("#try-list .answer").first
    assert newest.locator(".marked ins").all_inner_texts() == ["gray wolf"]
    assert answer_text(page).text_content() == WOLF
    newest.get_by_role("button", name="Changes").click()
    expect(newest.locator(".diff del")).to_contain_text("red fox")
    expect(answer_text(page)).to_be_hidden()
    assert not (found := faults(page, "answers")), told(found)
    snap(page, "answers")
    page.set_viewport_size({"width": 1440, "height": 900})

    newest.get_by_role("button", name="Drop").press("Enter")
    recorded(page, 6)
    expect(live.get_by_role("button", name="Drop")).to_be_focused()
    with page.expect_request(lambda request: "/samples/" in request.url) as refreshed:
        publish_it(page, 2)
    assert "?" not in refreshed.value.url  # the text of the editor may be too long for an address
    recorded(page, 6)
    page.get_by_role("button", name="Clear").click()
    recorded(page, 1)
    expect(answers(page)).to_contain_text(FOX)

    page.reload()
    recorded(page, 1)
    expect(answers(page)).to_contain_text(FOX)
    expect(answers(page).get_by_role("button", name="Pin")).to_have_attribute("aria-pressed", "true")
    assert Run.objects.count() == 7
    answers(page).get_by_role("button", name="Pin").click()
    page.reload()
    expect(page.locator("#try-result")).to_be_visible()
    expect(answers(page)).to_have_count(0)


def test_the_text_of_an_erased_run_leaves_open_pages(
    enhance, releaser, upstream: Upstream, page_for, pages: Pages, site
) -> None:
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    page.get_by_label("Viewer's prompt").fill("a fox")
    run(page)
    recorded(page, 1)
    upstream.texts = [WOLF]
    run(page)
    recorded(page, 2)
    newest, first = answers(page).nth(0), answers(page).nth(1)
    newest.get_by_role("button", name="Changes").click()
    expect(newest.locator(".diff del")).to_contain_text("red fox")
    first.get_by_role("button", name="Pin").click()
    erased = Run.objects.earliest("pk")
    erasing.erase(erased, by=SYSTEM)
    site.tell("erased", erased.pk)
    gone = page.locator("#try-pinned .answer")
    expect(gone).to_contain_text("This run was erased.")
    assert "fox" not in gone.text_content()
    assert "red fox" not in page.locator("#try-result").text_content()
    expect(answer_text(page)).to_have_text(WOLF)
    expect(gone.get_by_role("button", name="Pin")).to_have_attribute("aria-pressed", "true")
    assert not (found := faults(page, "erased-answer")), told(found)
    erasing.erase(Run.objects.latest("pk"), by=SYSTEM)
    site.tell("erased", 0)  # several
    expect(page.locator("#try-list .answer")).to_contain_text("This run was erased.")
    assert WOLF not in page.locator("#try-result").text_content()


def test_a_new_answer_does_not_move_the_one_that_is_read(enhance, releaser, upstream, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    upstream.texts = ["One long line of an answer. "] * 30
    for number in (1, 2, 3):
        run(page)
        recorded(page, number)
    read = answers(page).nth(1)
    read.locator("[id$=-text]").evaluate("text => text.scrollIntoView({ block: 'start' })")
    card = page.locator(f"#{read.get_attribute('id')}")
    before = card.bounding_box()["y"]
    upstream.hold()
    page.keyboard.press("Control+Enter")
    expect(answers(page)).to_have_count(4)
    expect(answer_text(page)).to_contain_text("One long line")
    assert card.bounding_box()["y"] == pytest.approx(before, abs=1)
    upstream.release()
    recorded(page, 4)
    assert card.bounding_box()["y"] == pytest.approx(before, abs=1)
    page.locator("#try-result").evaluate("list => (list.dataset.most = 3)")
    card.get_by_role("button", name="Pin").press("Enter")
    expect(card.get_by_role("button", name="Pin")).to_be_focused()
    run(page)
    recorded(page, 3)
    expect(card).to_be_visible()


def test_a_run_opens_in_the_editor_and_runs_again(enhance, releaser, upstream, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(releaser, "/prompts/enhance/"))
    page.get_by_label("Viewer's prompt").fill("a fox")
    run(page)
    recorded(page, 1)
    page.get_by_label("Viewer's prompt").fill("a hen")
    page.locator("#try-result a", has_text="run ").click()
    upstream.texts = [WOLF]
    pages.connected(page).get_by_role("button", name="Run again").click()
    recorded(page, 1)
    assert answers(page).locator(".marked ins").all_inner_texts() == ["gray wolf"]
    found = faults(page, "run-again", ((390, "dark"),))
    page.get_by_role("link", name="Open in the editor").click()
    expect(page.locator("#try-given")).to_contain_text("It ran the same prompt as here.")
    expect(page.get_by_label("Viewer's prompt")).to_have_value("a fox")
    assert page.url.endswith("/prompts/enhance/")
    found += faults(page, "run-opened", ((390, "light"),))
    assert not found, told(found)
    expect(page.get_by_label("Viewer's prompt")).to_be_visible()  # a narrow screen shows Try it
    page.get_by_label("Viewer's prompt").fill("a whale")
    page.reload()
    expect(page.get_by_label("Viewer's prompt")).to_have_value("a whale")
