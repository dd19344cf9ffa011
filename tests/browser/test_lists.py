"""Reading the history of a template and the list of runs: in rows, by filters, on a phone, while others work."""

import re

import pytest
from playwright.sync_api import Page, expect

from promptops.prompts.models import Template
from tests.browser.conftest import Pages
from tests.browser.looks import faults, told
from tests.factories import make_run

pytestmark = pytest.mark.django_db(transaction=True)

ARABIC = "ثعلب أحمر يركض عبر الثلج العميق عند الفجر بينما تتبعه الكاميرا ببطء من الخلف " * 3
CHINESE = "一只红狐在黎明时分穿过深深的积雪，镜头缓缓跟随。" * 9

SHIFTS = """() => new Promise((resolve) => {
  new PerformanceObserver((list) => resolve(list.getEntries().reduce((sum, entry) => sum + entry.value, 0)))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(0), 300);
})"""


def two_lines(page: Page, rows: str) -> None:
    """Check that no row is higher than two lines on a phone, and that nothing runs off the side."""
    page.set_viewport_size({"width": 390, "height": 844})
    heights = page.locator(rows).evaluate_all("rows => rows.map((row) => row.getBoundingClientRect().height)")
    assert heights
    assert max(heights) < 68, heights
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_the_history_is_read_and_rolled_back_from_its_rows(publish, releaser, page_for, pages: Pages) -> None:
    publish("other", "Revisions are no versions.", operation="enhance")
    publish("enhance", f"A calm camera. {ARABIC}", note="The first one")
    publish("enhance", f"A quick camera. {CHINESE}", note=CHINESE)
    page = pages.connected(page_for(releaser, "/prompts/enhance/history/"))
    rows = page.locator("tr.linked")
    expect(rows).to_have_count(2)
    rows.first.get_by_role("link", name="v2 published").focus()
    publish("enhance", "A third camera.")
    waiting = page.get_by_role("button", name="1 new release")
    expect(waiting).to_be_visible()
    expect(rows.first).to_contain_text("v2 published")  # what is read stays where it is
    waiting.click()
    expect(rows.first).to_contain_text("v3 published")
    page.get_by_label("More about v1 of").click()
    page.get_by_role("button", name="Roll back to v1").click()
    panel = page.get_by_role("dialog", name="Review")
    panel.get_by_label("Note").fill("Calm was better")
    panel.get_by_role("button", name="Roll back to v1").click()
    page.wait_for_url("**/prompts/enhance/**published=1")
    assert Template.objects.get(name="enhance").live_version.number == 1
    page.goto("/prompts/enhance/history/")
    assert page.evaluate(SHIFTS) < 0.05
    expect(rows.first).to_contain_text(re.compile(r"Rolled back to v1\s+by Rita Releaser\s+Calm was better"))
    expect(rows.first).to_contain_text("Note of v1: The first one")
    found = faults(page, "history-of-releases", ((1440, "dark"), (390, "light")))
    assert not found, told(found)
    two_lines(page, "tr.linked")
    page.set_viewport_size({"width": 1440, "height": 900})
    rows.first.get_by_role("link").first.click()
    page.wait_for_url("**/prompts/enhance/diff/?a=3&b=1")


def test_runs_are_found_by_filters_that_apply_at_once(editor, page_for) -> None:
    for text in (ARABIC, CHINESE, "A fox trots.\nIt stops."):
        make_run(output=text, provider="p1", cost=0.0004)
    failed = make_run(status="failed", error=f"p1 answered 503: {CHINESE}", revision=7, fallback_used=True)
    make_run(status="failed", source="comparison")
    page = page_for(editor, "/runs/")
    rows = page.locator("#rows > tr")
    expect(rows).to_have_count(4)
    expect(page.get_by_role("link", name="A fox trots.")).to_be_visible()
    assert page.evaluate(SHIFTS) < 0.05
    found = faults(page, "runs-of-answers", ((1440, "light"), (390, "dark")))
    assert not found, told(found)
    two_lines(page, "#rows > tr")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.get_by_label("Status").select_option("Failed")
    page.wait_for_url("**/runs/?status=failed")
    expect(rows).to_have_count(1)
    page.get_by_text("More filters").click()
    page.get_by_label("Revision").press_sequentially("9")  # applies without leaving the field
    expect(page.get_by_role("heading", name="No runs here")).to_be_visible()
    page.wait_for_url("**/runs/?status=failed&revision=9")
    page.get_by_role("link", name="Revision: 9").click()
    page.wait_for_url("**/runs/?status=failed")
    rows.first.get_by_role("link").click()
    page.wait_for_url(f"**/runs/{failed.pk}/")
    page.go_back()
    page.wait_for_url("**/runs/?status=failed")
    expect(page.get_by_label("Status")).to_have_value("failed")
    expect(rows).to_have_count(1)
    page.get_by_label("Source").select_option("All")
    expect(rows).to_have_count(2)


def test_filters_work_without_javascript(editor, page_for) -> None:
    make_run()
    make_run(status="failed")
    page = page_for(editor, "/runs/", java_script_enabled=False)
    page.get_by_label("Status").select_option("Failed")
    page.get_by_role("button", name="Filter", exact=True).click()
    page.wait_for_url("**/runs/?status=failed")
    expect(page.locator("#rows > tr")).to_have_count(1)
