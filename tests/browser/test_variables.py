"""Variables in the editor, the checks and the smoke run, with keyboard and pointer."""

import pytest
from playwright.sync_api import Page, expect

from promptops.prompts.actions import samples, variables
from promptops.prompts.models import Template, Variable
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.runs.models import Run
from tests.browser.conftest import Pages
from tests.browser.upstream import Upstream


@pytest.fixture
def enhance(publish, actor) -> Template:
    variables.declare("enhance", "house_style", "Muted colors, 35 mm.", by=actor)
    variables.declare("enhance", "season", "early winter", by=actor)
    return publish("enhance", "The first text.").template


def body(page: Page):
    return page.get_by_label("System prompt")


def options(page: Page):
    return page.get_by_role("listbox", name="Variables").get_by_role("option")


def as_the_model_gets_it(page: Page):
    """Switch to the filled-in text."""
    page.get_by_role("button", name="As the model gets it").click()
    return page.get_by_role("group", name="As the model gets it")


def as_written(page: Page) -> None:
    page.get_by_role("button", name="As written").click()


def test_a_variable_is_completed_filled_in_checked_and_published(enhance, releaser, page_for) -> None:
    page = page_for(releaser, "/prompts/enhance/")
    body(page).fill("")
    body(page).press_sequentially("It is {{")
    expect(options(page)).to_have_count(2)
    expect(options(page).first).to_have_attribute("aria-selected", "true")
    body(page).press_sequentially(" sea")
    expect(options(page)).to_have_count(1)
    page.keyboard.press("Enter")
    expect(body(page)).to_have_value("It is {{ season }}")
    expect(options(page)).to_have_count(0)
    body(page).press_sequentially(". {{ hous }}")
    page.keyboard.press("Escape")
    filled = as_the_model_gets_it(page)
    expect(filled).to_have_text("It is early winter. {{ hous }}")
    expect(filled.locator("mark.bad")).to_have_text("{{ hous }}")
    expect(page.get_by_text("1 problem", exact=True)).to_be_visible()
    as_written(page)

    page.get_by_role("button", name="Publish v2").click()
    panel = page.get_by_role("dialog", name="Review")
    expect(panel).to_contain_text("{{ hous }} is not declared. Did you mean {{ house_style }}?")
    expect(panel.get_by_role("button", name="Publish v2")).to_be_disabled()
    page.keyboard.press("Escape")

    body(page).fill("It is {{ season }}. ")
    body(page).press("Control+End")
    page.get_by_role("button", name="house_style", exact=True).click()
    expect(body(page)).to_be_focused()
    expect(body(page)).to_have_value("It is {{ season }}. {{ house_style }}")
    as_the_model_gets_it(page)
    expect(filled).to_have_text("It is early winter. Muted colors, 35 mm.")
    expect(page.get_by_text("1 problem", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Publish v2").click()
    panel.get_by_role("button", name="Publish v2").click()
    expect(page.get_by_text("v2 is live since revision 4")).to_be_visible()
    assert Template.objects.get().live_version.body == "It is {{ season }}. {{ house_style }}"


def test_completing_by_keyboard_and_pointer(enhance, editor, page_for) -> None:
    page = page_for(editor, "/prompts/enhance/")
    body(page).fill("Before {{  }} after")
    body(page).evaluate("field => field.setSelectionRange(10, 10)")
    body(page).press_sequentially("s")  # inside a variable, which the completion replaces
    expect(options(page)).to_have_count(2)
    page.keyboard.press("ArrowDown")
    expect(options(page).nth(1)).to_have_attribute("aria-selected", "true")
    expect(body(page)).to_have_attribute("aria-activedescendant", "completion-season")
    page.keyboard.press("Tab")
    expect(body(page)).to_have_value("Before {{ season }} after")
    page.keyboard.press("Control+z")
    expect(body(page)).to_have_value("Before {{ s }} after")
    body(page).fill("\\")
    body(page).press_sequentially("{{")  # escaped braces need no name
    expect(options(page)).to_have_count(0)
    body(page).fill("")
    body(page).press_sequentially("{{h")
    options(page).click()
    expect(body(page)).to_have_value("{{ house_style }}")
    expect(body(page)).to_be_focused()
    body(page).press_sequentially(" {{")
    page.keyboard.press("ArrowLeft")
    expect(options(page)).to_have_count(0)
    page.keyboard.press("End")
    body(page).press_sequentially("sea")
    page.keyboard.press("Escape")
    expect(options(page)).to_have_count(0)
    page.keyboard.press("Enter")
    expect(body(page)).to_have_value("{{ house_style }} {{sea\n")


def test_a_changed_value_reaches_the_open_editor(enhance, actor, editor, page_for, pages: Pages) -> None:
    page = page_for(editor, "/prompts/enhance/")
    pages.connected(page)
    body(page).fill("It is {{ season }}.")
    filled = as_the_model_gets_it(page)
    expect(filled).to_have_text("It is early winter.")
    season = Variable.objects.get(name="season")
    variables.change(season, "high summer", by=actor, expected=season.changed_revision)
    expect(filled).to_have_text("It is high summer.")
    expect(body(page)).to_have_value("It is {{ season }}.")


def test_declaring_changing_and_removing(enhance, releaser, page_for) -> None:
    page = page_for(releaser, "/variables/")
    page.get_by_role("link", name="New variable").click()
    page.get_by_label("Name").fill("mood")
    page.get_by_label("Value").fill("calm")
    page.get_by_role("button", name="Review and save").click()
    panel = page.get_by_role("dialog", name="Review")
    panel.get_by_role("button", name="Declare mood").click()
    expect(page.locator(".toast")).to_contain_text("Write {{ mood }} in a prompt")
    page.get_by_role("link", name="mood").click()
    page.get_by_label("Value").fill("tense")
    page.get_by_role("button", name="Review and save").click()
    expect(panel.locator("del")).to_contain_text("calm")
    panel.get_by_role("button", name="Save mood").click()
    expect(page.get_by_role("row", name="mood")).to_contain_text("tense")
    page.get_by_role("link", name="mood").click()
    page.get_by_role("button", name="Remove mood").click()
    panel.get_by_role("button", name="Remove mood").click()
    expect(page.get_by_role("row", name="mood")).to_have_count(0)


def test_somebody_else_changes_and_removes_what_is_open(enhance, releaser, actor, page_for, pages: Pages) -> None:
    season = Variable.objects.get(name="season")
    page = pages.connected(page_for(releaser, f"/variables/{season.pk}/"))
    page.get_by_label("Value").fill("high summer")
    season = variables.change(season, "fall", by=actor, expected=season.changed_revision)
    expect(page.get_by_text("Someone changed season. Your changes are kept")).to_be_visible()
    variables.remove(season, by=actor, expected=season.changed_revision)
    expect(page.get_by_text("Someone removed this variable. Your changes can no longer be saved")).to_be_visible()
    expect(page.get_by_label("Value")).to_have_value("high summer")


def test_a_smoke_run_stands_beside_the_live_version(
    enhance, releaser, actor, upstream: Upstream, page_for, pages
) -> None:
    create_provider(ProviderFields("first", "openai", "m", upstream.url), by=actor, key="k")
    page = page_for(releaser, "/prompts/enhance/")
    pages.connected(page)
    page.get_by_label("Viewer's prompt").fill("a whale in the clouds")
    page.get_by_role("button", name="Pin as sample").click()
    expect(page.locator(".toast")).to_contain_text("Pinned.")
    body(page).fill("It is {{ season }}.")
    page.get_by_role("button", name="Publish v2").click()
    panel = page.get_by_role("dialog", name="Review")
    expect(panel).to_contain_text("on 1 pinned input")
    upstream.hold()
    panel.get_by_role("button", name="Start the smoke run").click()
    expect(panel.get_by_text("2 runs, two at a time…")).to_be_visible()
    panel.locator("#smoke-status").get_by_role("button", name="Cancel").click()
    expect(panel.get_by_text("Canceled. No more providers are called.")).to_be_visible()
    upstream.release()
    panel.get_by_role("button", name="Start the smoke run").click()
    expect(panel.get_by_text("All 2 runs were answered.")).to_be_visible()
    row = panel.get_by_role("row", name="a whale in the clouds")
    expect(row.get_by_text("A red fox runs through fresh snow.")).to_have_count(2)
    prompts = {call["messages"][0]["content"] for call in upstream.asked}
    assert prompts == {"It is early winter.", "The first text."}

    # Closing the panel cancels the runs.
    upstream.hold()
    panel.get_by_role("button", name="Start the smoke run").click()
    expect(panel.get_by_text("2 runs, two at a time…")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#review")).to_be_empty()
    page.get_by_role("button", name="Publish v2").click()
    panel.get_by_role("button", name="Publish v2").click()
    expect(page.get_by_text("v2 is live since revision")).to_be_visible()
    upstream.release()
    assert set(Run.objects.values_list("status", flat=True)) == {"succeeded", "canceled"}


def test_a_sample_is_unpinned_in_its_menu(enhance, editor, actor, page_for) -> None:
    samples.pin("enhance", "a pinned whale", by=actor)
    page = page_for(editor, "/prompts/enhance/")
    page.get_by_text("Sample inputs", exact=True).click()
    page.get_by_role("button", name="Unpin a pinned whale").click()
    expect(page.get_by_text("Smoke runs use these until you pin an input.")).to_be_visible()


def test_saving_does_not_scroll_what_is_read(enhance, editor, page_for) -> None:
    page = page_for(editor, "/prompts/enhance/")
    body(page).fill("A line.\n" * 80 + "It is {{ season }}.")
    filled = as_the_model_gets_it(page)
    expect(filled).to_contain_text("early winter")
    filled.evaluate("box => { box.scrollTop = 300 }")
    page.get_by_label("Temperature").fill("0.5")
    expect(page.locator("#changes")).to_contain_text("saved")
    expect(page.locator("[data-save-state]")).to_have_text("Saved")
    assert filled.evaluate("box => box.scrollTop") == 300
