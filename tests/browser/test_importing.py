"""Importing prompts of other tools."""

from playwright.sync_api import expect

from promptops.prompts.models import Draft, Template
from tests.browser.conftest import Pages
from tests.browser.looks import faults

PYTHON = """SYSTEM = '''
You are a film director.\u200b Turn {input} into the next shot, in 40 to 80 words, in the present tense.
'''
LABEL = "x"
"""
FILES = [
    {"name": "enhance.txt", "mimeType": "text/plain", "buffer": b"Polish the prompt, and be brief.\r\n"},
    {"name": "director.py", "mimeType": "text/x-python", "buffer": PYTHON.encode()},
]


def test_texts_are_found_chosen_and_published_or_become_drafts(publish, releaser, page_for, pages: Pages) -> None:
    pages.expect_errors("status of 422")
    publish("enhance", "Polish the prompt, and be very brief.")
    page = pages.connected(page_for(releaser, "/prompts/"))
    page.get_by_role("link", name="Import").click()
    page.get_by_label("Files").set_input_files(FILES)
    page.get_by_role("button", name="Find the prompts").click()
    found = page.locator("#found")
    expect(found).to_contain_text("1 line end of Windows became plain.")
    expect(found).to_contain_text("zero width space (U+200B) × 1")
    expect(found.locator("fieldset")).to_have_count(3)
    expect(found.locator("fieldset").nth(2).get_by_role("checkbox").first).not_to_be_checked()
    assert faults(page, "import") == []
    second = found.locator("fieldset").nth(1)
    second.get_by_label("Template").fill("Not a name")
    second.get_by_label("Template").press("Enter")  # imports, and does not read the files again
    expect(found.get_by_role("alert")).to_contain_text("Not a name: Use lower-case letters")
    assert Draft.objects.count() == 0
    second = found.locator("fieldset").nth(1)
    second.get_by_label("Template").fill("director")
    second.get_by_label("Operation").select_option("auto_extend")
    second.get_by_label("Write {input} as the variable").check()
    found.locator("fieldset").nth(0).get_by_role("checkbox").first.uncheck()
    page.get_by_role("button", name="Import as my drafts").click()
    page.wait_for_url("**/prompts/director/")
    assert "Turn {{ input }} into" in Draft.objects.get(template__name="director").body

    page.goto("/prompt-import/")
    page.get_by_label("Files").set_input_files(FILES[:1])
    page.get_by_role("button", name="Find the prompts").click()
    page.get_by_role("button", name="Publish…").click()
    panel = page.get_by_role("dialog", name="Review")
    expect(panel).to_contain_text("Publish 1 text")
    panel.get_by_label("Note").fill("From the old tool")
    assert faults(page, "import-review") == []
    publish("enhance", "Polish the prompt, and be short.")
    expect(panel.locator(".review-news")).to_contain_text("published enhance v2")
    expect(panel.get_by_role("button", name="Publish 1 text")).to_be_hidden()
    panel.get_by_role("button", name="Look again").click()
    expect(panel.get_by_label("Note")).to_have_value("From the old tool")
    panel.get_by_role("button", name="Publish 1 text").click()
    page.wait_for_url("**/prompts/")
    live = Template.objects.get(name="enhance").live_version
    assert (live.number, live.body, live.note) == (3, "Polish the prompt, and be brief.", "From the old tool")


def test_enter_in_the_note_publishes_the_texts(publish, releaser, page_for) -> None:
    publish("enhance", "Polish the prompt, and be very brief.")
    page = page_for(releaser, "/prompt-import/")
    page.get_by_label("Files").set_input_files(FILES[:1])
    page.get_by_role("button", name="Find the prompts").click()
    page.get_by_role("button", name="Publish…").click()
    note = page.get_by_role("dialog", name="Review").get_by_label("Note")
    note.fill("From the old tool")
    note.press("Enter")
    page.wait_for_url("**/prompts/")
    assert Template.objects.get(name="enhance").live_version.number == 2
