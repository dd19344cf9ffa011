"""Creating and editing prompt sets in the browser: no text is lost, and colleagues' changes appear."""

import re

from playwright.sync_api import Page, expect

from promptops.compare.actions import prompt_sets
from promptops.compare.models import PromptSet
from promptops.ledger.audit import SYSTEM
from tests.browser.conftest import Pages

SET_PAGE = re.compile(r"/compare/sets/\d+/$")


def upload(page: Page, name: str, text: str) -> None:
    page.get_by_label("Add a file").set_input_files({"name": name, "mimeType": "text/plain", "buffer": text.encode()})


def test_a_refused_set_stays_on_the_page_until_it_is_valid(editor, page_for, pages: Pages) -> None:
    pages.expect_errors("status of 422")
    page = page_for(editor, "/compare/sets/new/")
    name = page.get_by_label("Name", exact=True)
    name.fill("ثعالب")  # begins at the right
    assert name.evaluate("field => getComputedStyle(field).unicodeBidi") == "plaintext"
    page.get_by_label("Inputs", exact=True).fill("a fox\n\ntwo foxes")
    upload(page, "more.jsonl", '{"prompt": "three foxes"}\n7\n')
    save = page.get_by_role("button", name="Create the set")
    save.click()
    expect(page.locator("#problems")).to_contain_text("more.jsonl, line 2: The line must be a text in quotes")
    expect(page.get_by_label("Inputs", exact=True)).to_have_value("a fox\n\ntwo foxes")
    assert page.get_by_label("Add a file").evaluate("field => field.files.length") == 1
    upload(page, "more.jsonl", '{"prompt": "three foxes"}\n"a fox"\n')
    save.click()
    expect(page).to_have_url(SET_PAGE)
    expect(page.locator("#toasts")).to_contain_text("Inputs: 3. Repeated inputs left out: 1.")
    expect(page.locator("td pre")).to_have_text(["a fox", "two foxes", "three foxes"])


def test_two_people_edit_the_same_set(editor, releaser, page_for, pages: Pages) -> None:
    pages.expect_errors("status of 409")
    foxes = prompt_sets.create_set("Foxes", ["a fox"], by=SYSTEM)
    reading = pages.connected(page_for(releaser, f"/compare/sets/{foxes.pk}/"))
    editing = pages.connected(page_for(editor, f"/compare/sets/{foxes.pk}/edit/"))
    editing.get_by_label("Inputs", exact=True).fill("my fox")
    prompt_sets.change_set(foxes, name="Foxes", description="", inputs=["their fox"], by=SYSTEM, expected=1)
    expect(reading.locator("td pre")).to_have_text("their fox")
    expect(editing.locator("#changed")).to_contain_text("Someone changed this set")
    save = editing.get_by_role("button", name="Save the set")
    save.click()
    expect(editing.locator("#problems .diff")).to_contain_text("their")
    assert PromptSet.objects.get().inputs == ["their fox"]
    expect(editing.get_by_label("Inputs", exact=True)).to_have_value("my fox")
    save.click()
    expect(editing).to_have_url(SET_PAGE)
    expect(reading.locator("td pre")).to_have_text("my fox")
