"""Two operators at the same time: the second publisher merges, decides only conflicts, and loses nothing."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from promptops.prompts.models import Draft, Template
from tests.browser.conftest import Pages, screenshot
from tests.browser.looks import LOOKS, OTHER_LOOKS, faults, told

BASE = "Keep the subject first. Then the light. End with the camera."


@pytest.fixture
def enhance(publish) -> Template:
    return publish("enhance", BASE, note="First").template


@pytest.fixture
def both(enhance, administrator, releaser, page_for, pages: Pages) -> tuple[Page, Page]:
    """Open the same template for two people. Ada publishes first."""
    ada, rita = (pages.connected(page_for(user, "/prompts/enhance/")) for user in (administrator, releaser))
    pages.expect_errors("status of 409")  # the status of the merge panel
    return ada, rita


def write(page: Page, text: str) -> None:
    page.get_by_label("System prompt").fill(text)
    expect(page.locator("[data-save-state]")).to_have_text("Saved")


def publish(page: Page, number: int) -> None:
    page.get_by_role("button", name=f"Publish v{number}").click()
    panel(page).get_by_role("button", name=f"Publish v{number}").click()
    expect(page.get_by_text(f"v{number} is live since revision")).to_be_visible()


def panel(page: Page) -> Locator:
    return page.get_by_role("dialog", name="Review")


def body(page: Page) -> Locator:
    return page.get_by_label("System prompt")


def live() -> str:
    return Template.objects.get(name="enhance").live_version.body


def test_edits_of_different_sentences_both_go_live(both) -> None:
    ada, rita = both
    write(ada, BASE.replace("the camera", "the camera and the lens"))
    write(rita, BASE.replace("Keep the subject", "Keep the main subject"))
    publish(ada, 2)
    expect(rita.locator("#release-news")).to_contain_text("Ada Administrator published v2 while you were editing")
    rita.get_by_role("button", name="Publish v3").click()
    expect(panel(rita)).to_contain_text("No conflicts. Merged automatically: 1 of your edits, 1 from v2.")
    expect(panel(rita).locator("ins.mine")).to_contain_text("main")
    expect(panel(rita).locator("ins.theirs")).to_contain_text("and the lens")
    screenshot(rita, "merge-clean", full_page=False)
    panel(rita).get_by_role("button", name="Use the merged text").click()
    merged = "Keep the main subject first. Then the light. End with the camera and the lens."
    expect(body(rita)).to_have_value(merged)
    expect(rita.get_by_role("button", name="Undo the merge")).to_have_accessible_description(
        re.compile("Merged with v2")
    )
    publish(rita, 3)
    assert live() == merged
    assert not Draft.objects.exists()


def test_conflicts_are_decided_with_the_keyboard_and_the_merge_is_undone(both) -> None:
    ada, rita = both
    mine = BASE.replace("the light", "the soft light") + " Be kind."
    write(rita, mine)
    write(ada, BASE + " Be brief.")
    publish(ada, 2)
    # The editor shows what happened and offers the merge.
    rita.locator("#release-news").get_by_role("button", name="See the merge").click()
    expect(panel(rita)).to_contain_text("1 conflict:")
    take = panel(rita).get_by_role("button", name="Use the merged text")
    passage = panel(rita).get_by_role("group", name="Conflict 1")
    for choice in ("Yours", "v2", "Both"):
        expect(passage.get_by_role("radio", name=re.compile(f"^{choice}"))).not_to_be_checked()
    # The button decides nothing.
    take.click()
    assert passage.get_by_role("radio").first.evaluate("radio => radio.validity.valueMissing")
    assert Draft.objects.get().body == mine
    # Both originals are readable.
    panel(rita).get_by_text("Show both originals").click()
    expect(panel(rita).locator("#original-mine")).to_have_text(mine)
    expect(panel(rita).locator("#original-theirs")).to_have_text(BASE + " Be brief.")
    found = faults(rita, "merge-contested", LOOKS + OTHER_LOOKS)
    assert not found, told(found)
    passage.get_by_role("radio").first.focus()
    rita.keyboard.press("ArrowDown")
    rita.keyboard.press("ArrowDown")
    expect(passage.get_by_role("radio", name="Both")).to_be_checked()
    # Another version goes live before she uses the merge, so her choices belong to another merge.
    write(ada, BASE + " Be brief. Be bold.")
    publish(ada, 3)
    take.click()
    expect(panel(rita)).to_contain_text("The live version changed again: v3 is live now.")
    panel(rita).get_by_role("radio", name="Both").check()
    take.click()
    merged = BASE.replace("the light", "the soft light") + " Be kind. Be brief. Be bold."
    expect(body(rita)).to_have_value(merged)
    expect(body(rita)).to_be_focused()
    # The earlier text returns, and with it the notice about v3.
    rita.get_by_role("button", name="Undo the merge").click()
    panel(rita).get_by_role("button", name="Restore my text").click()
    expect(body(rita)).to_have_value(mine)
    expect(rita.locator("#release-news")).to_contain_text("published v3 while you were editing")
    assert live() == BASE + " Be brief. Be bold."
