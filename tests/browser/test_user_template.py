"""The user template and the examples in the editor: writing, keeping, merging and publishing them."""

import pytest
from playwright.sync_api import Page, expect

from promptops.prompts.actions import variables
from promptops.prompts.models import Draft, Template
from tests.browser.conftest import screenshot
from tests.browser.editor import saved

EXAMPLES = "a fox\n=>\nA red fox trots through fresh snow.\n---\nשועל\n=>\nשועל אדום רץ בשלג."


@pytest.fixture
def enhance(publish, actor) -> Template:
    variables.declare("enhance", "house_style", "Muted colors, 35 mm.", by=actor)
    return publish("enhance", "The first text.").template


def user_template(page: Page):
    return page.get_by_role("textbox", name="User template")


def examples(page: Page):
    return page.get_by_role("textbox", name="Examples")


def test_both_are_written_kept_and_published(enhance, publish, releaser, page_for, pages) -> None:
    pages.expect_errors("409")  # the merge
    page = page_for(releaser, "/prompts/enhance/")
    expect(user_template(page)).to_be_hidden()
    page.get_by_text("More settings").click()
    user_template(page).press_sequentially("Prompt: {{ in")
    expect(page.get_by_role("listbox", name="Variables").get_by_role("option")).to_have_text("inputfrom the input")
    page.keyboard.press("Enter")
    user_template(page).press_sequentially("\nStyle: {{ ho")
    page.keyboard.press("Enter")
    expect(user_template(page)).to_have_value("Prompt: {{ input }}\nStyle: {{ house_style }}")
    examples(page).fill("a fox")
    # The problem of the last save: a save amid the typing before has another one, which this one replaces.
    expect(page.locator("#problems")).to_contain_text("Example 1 has no line =>")
    page.get_by_text("1 problem", exact=True).click()
    page.get_by_role("button", name="Example 1 has no line =>").click()
    expect(examples(page)).to_be_focused()
    screenshot(page, "user-template-unfinished")
    examples(page).fill(EXAMPLES)
    expect(page.get_by_text("1 problem", exact=True)).to_be_hidden()
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().examples == EXAMPLES

    page.reload()
    expect(page.get_by_text("More settings: User template, Examples set")).to_be_visible()
    expect(examples(page)).to_be_visible()
    expect(examples(page)).to_have_value(EXAMPLES)
    screenshot(page, "user-template-editor")
    page.get_by_role("button", name="Publish v2").click()
    panel = page.get_by_role("dialog", name="Review")
    expect(panel.get_by_text("2 pairs, sent as they are.")).to_be_visible()
    screenshot(page, "user-template-review", full_page=False)
    page.keyboard.press("Escape")

    publish("enhance", "The first text.", user_template="Polish: {{ input }}", examples="a\n=>\nb")
    pages.connected(page)
    page.get_by_role("button", name="Publish v3").click()
    panel = page.get_by_role("dialog", name="Review")
    expect(panel.get_by_role("button", name="Use the merged text")).to_be_visible()
    screenshot(page, "user-template-merge", full_page=False)
    panel.get_by_role("radio", name="Yours Prompt:").check()
    panel.get_by_role("radio", name="v2 a => b").check()
    panel.get_by_role("button", name="Use the merged text").click()
    expect(page.get_by_text("More settings: User template, Examples set")).to_be_visible()
    expect(examples(page)).to_have_value("a\n=>\nb")
    expect(user_template(page)).to_have_value("Prompt: {{ input }}\nStyle: {{ house_style }}")
    page.get_by_role("button", name="Publish v3").click()
    page.get_by_role("dialog", name="Review").get_by_role("button", name="Publish v3").click()
    expect(page.get_by_text("v3 is live")).to_be_visible()
    page.goto("/prompts/enhance/diff/?a=1&b=3")
    screenshot(page, "user-template-diff")
    page.goto("/prompts/enhance/v3/")
    screenshot(page, "user-template-version")
