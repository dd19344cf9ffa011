"""The timeline in a browser: a live list, a moment, search while typing, the two sides of a difference."""

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from promptops.ledger.models import Release
from promptops.prompts.models import Template
from tests.browser.conftest import Pages

PARAGRAPH = "Keep the subject first. " + " ".join(f"word{n}" for n in range(900)) + " Be calm."


@pytest.fixture
def enhance(publish) -> Template:
    publish("enhance", PARAGRAPH, note="First")
    return publish("enhance", PARAGRAPH.replace("word450", "other").replace("calm", "quick"), note="Second").template


def test_a_new_release_appears_by_itself(enhance, publish, viewer, page_for, pages: Pages) -> None:
    timeline = pages.connected(page_for(viewer, "/timeline/"))
    revision = pages.connected(page_for(viewer, "/revisions/2/"))
    expect(revision.locator("h1")).to_contain_text("live now")
    publish("enhance", "Third.", note="Shorter")
    expect(timeline.locator("#rows > li").first).to_contain_text("enhance v3")
    expect(timeline.locator("#rows > li")).to_have_count(3)
    expect(revision.locator("h1")).to_contain_text("until")


def test_a_moment_is_chosen_in_the_readers_time_zone(enhance, viewer, page_for) -> None:
    Release.objects.filter(pk=1).update(at=datetime(2026, 7, 1, 10, tzinfo=UTC))
    Release.objects.filter(pk=2).update(at=datetime(2026, 7, 1, 11, tzinfo=UTC))
    page = page_for(viewer)  # in Zurich, two hours ahead of UTC in summer; the first page sends the time zone
    page.goto("/timeline/")
    page.get_by_label("What was live at").fill("2026-07-01T12:30:05")
    page.get_by_label("What was live at").blur()
    expect(page.locator("#list")).to_contain_text("r1 was live, since 1 Jul 2026, 12:00:00 UTC+2, until r2")
    expect(page).to_have_url(re.compile("at=2026-07-01T10%3A30%3A05Z"))
    expect(page.get_by_label("What was live at")).to_have_value("2026-07-01T12:30:05")
    expect(page.locator("#rows > li")).to_have_count(1)
    page.reload()
    expect(page.get_by_label("What was live at")).to_have_value("2026-07-01T12:30:05")
    page.get_by_role("link", name="Back to now").click()
    expect(page.locator("#rows > li")).to_have_count(2)


def test_search_shows_results_while_typing(enhance, viewer, page_for) -> None:
    page = page_for(viewer, "/prompts/")
    field = page.get_by_label("Search names, notes and texts")
    field.press_sequentially("OTHER WORD4")
    expect(page.locator("#templates mark")).to_have_text("other word4")
    expect(page).to_have_url(re.compile(r"/prompts/\?q=OTHER(\+|%20)WORD4$"))
    expect(field).to_be_focused()
    page.get_by_role("link", name="v2").click()
    expect(page.locator("h1")).to_contain_text("v2")
    page.go_back()
    expect(page.locator("#templates mark")).to_have_text("other word4")
    field.fill("")
    expect(page.locator("#templates tbody tr")).to_have_count(1)


def test_the_command_bar_leads_to_the_search(enhance, viewer, page_for) -> None:
    page = page_for(viewer)
    page.keyboard.press("Control+k")
    page.keyboard.type("word4 & 100%")
    expect(page.get_by_role("link", name="Search the prompts for it")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Search names, notes and texts")).to_have_value("word4 & 100%")


def test_a_wide_page_shows_a_difference_in_two_sides(enhance, viewer, page_for) -> None:
    page = page_for(viewer, "/prompts/enhance/diff/?a=1&b=2")
    before, after = page.locator(".diff .line.change .text").all()
    expect(after.locator("ins").first).to_be_visible()
    expect(before.locator("ins").first).to_be_hidden()
    expect(before.locator("del").first).to_be_visible()
    gap = before.locator("details.gap").first
    assert "word200" not in before.inner_text()
    gap.locator("summary").click()
    expect(after.locator("details.gap").first).to_have_attribute("open", "")
    assert "word200" in before.inner_text()
    page.set_viewport_size({"width": 390, "height": 844})
    expect(before.locator("ins").first).to_be_visible()
    expect(after).to_be_hidden()
    page.get_by_role("link", name="Side by side").click()
    expect(page.locator(".diff .line.change .text").nth(1)).to_be_visible()
    page.get_by_label("From").select_option("2")
    expect(page).to_have_url(re.compile("a=2&b=2&view=side"))
