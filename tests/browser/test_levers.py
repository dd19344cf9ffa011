"""The levers on open pages: pulled in two clicks, shown everywhere at once, ended in one click."""

from playwright.sync_api import expect

from promptops.fleet.models import Lever
from tests.browser.conftest import Pages
from tests.browser.editor import body
from tests.browser.looks import faults


def test_two_clicks_pull_a_lever_and_one_ends_it(publish, releaser, editor, page_for, pages: Pages) -> None:
    publish("enhance", "Polish the prompt.")
    writing = pages.connected(page_for(editor, "/prompts/enhance/"))
    body(writing).click()
    writing.keyboard.press("Control+Home")
    writing.keyboard.type("New words. ")
    before = body(writing).bounding_box()
    page = pages.connected(page_for(releaser, "/prompts/"))
    strips = [each.locator("#levers .lever") for each in (page, writing)]
    for strip in strips:
        expect(strip).to_have_count(0)

    page.get_by_role("link", name="Levers").click()
    panel = page.locator("dialog#review")
    expect(panel).to_be_visible()
    assert faults(page, "levers-panel") == []
    page.keyboard.type("Bad prompts")  # the note has the focus
    panel.get_by_role("button", name="Freeze releases").click()

    expect(panel).to_be_hidden()
    for strip in strips:
        expect(strip).to_contain_text("Bad prompts")
        expect(strip).to_contain_text("59 min")
    # The strip takes its place from the bottom, so that no text moves.
    after = body(writing).bounding_box()
    assert {**after, "height": before["height"]} == before
    writing.keyboard.type("More. ")
    expect(body(writing)).to_have_value("New words. More. Polish the prompt.")
    expect(strips[1].get_by_role("button")).to_have_count(0)  # an editor sees, and does not end
    assert faults(page, "levers-strip") == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.locator("#levers").bounding_box()["height"] < 40
    page.set_viewport_size({"width": 1440, "height": 900})

    strips[0].get_by_role("button", name="End now").click()
    for strip in strips:
        expect(strip).to_have_count(0)
    assert Lever.objects.get().ended_by == releaser.name


def test_last_good_shows_its_changes_and_a_strip_hides_when_its_time_has_come(
    publish, releaser, page_for, pages: Pages
) -> None:
    publish("enhance", "Good.")
    publish("enhance", "Bad.")
    page = pages.connected(page_for(releaser, "/levers/"))
    changes = page.locator("#lever-changes")
    expect(changes).to_contain_text("Template enhance: version")
    page.get_by_label("Note").fill("Bad prompts")
    page.get_by_role("button", name="Restore this revision").click()
    expect(page.locator("#toasts")).to_contain_text("Everything is as r1 had it")
    expect(page.locator("#live-badge")).to_contain_text("r3")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#live-badge")).to_contain_text("r4")

    page.clock.install()
    page.reload()
    page.get_by_label("Note").fill("Again")
    page.get_by_role("button", name="Pass enhance through").click()
    strip = page.locator("#levers .lever")
    expect(strip).to_be_visible()
    assert faults(page, "levers-page") == []
    page.clock.run_for("01:00:05")
    expect(strip).to_be_hidden()
