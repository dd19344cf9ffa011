"""A person makes an operation with fields, writes and publishes its first text, and runs it."""

import json

import pytest
from playwright.sync_api import expect

from promptops.live import snapshots as live
from promptops.prompts.models import Sample
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.runs.models import Run
from tests.browser.upstream import Upstream


@pytest.fixture
def upstream(actor):
    server = Upstream()
    server.texts = ['{"segment_prompts": ', '["A red fox runs through fresh snow."]}']
    create_provider(ProviderFields("there", "openai", "m", server.url), by=actor, key="k")
    yield server
    server.close()


SCHEMA = {
    "type": "object",
    "required": ["segment_prompts"],
    "properties": {"segment_prompts": {"type": "array", "items": {"type": "string"}}},
}


# A whole journey of one person over six pages: 6 to 9 s.
def test_an_operation_is_made_published_and_run(upstream, releaser, page_for) -> None:
    page = page_for(releaser, "/operations/")
    page.get_by_role("link", name="New operation").click()
    expect(page.get_by_text("Fields of the input")).to_be_hidden()
    page.get_by_label("Name", exact=True).first.fill("next_segment")
    page.get_by_label("Purpose").fill("Writes the next segment.")
    page.get_by_label("Input", exact=True).select_option("fields")
    page.get_by_label("Answer", exact=True).select_option("json")
    expect(page.get_by_label("Alternatives")).to_be_hidden()
    expect(page.get_by_text("Rules for the answer")).to_be_hidden()
    page.get_by_label("JSON Schema").fill(json.dumps(SCHEMA))
    rows = page.locator(".field-row:visible")
    expect(rows).to_have_count(3)
    page.get_by_role("button", name="Add a field").click()
    expect(rows).to_have_count(4)
    expect(rows.nth(3).get_by_label("Name")).to_be_focused()
    rows.nth(0).get_by_label("Name").fill("scene")
    rows.nth(0).get_by_label("Description").fill("What is seen now")
    rows.nth(1).get_by_label("Name").fill("mood")
    rows.nth(1).get_by_label("Optional", exact=True).check()
    page.get_by_role("button", name="Review and save").click()
    panel = page.get_by_role("dialog", name="Review")
    expect(panel).to_contain_text("scene: What is seen now; mood (optional)")
    expect(panel).to_contain_text('"segment_prompts"')
    panel.get_by_role("button", name="Add next_segment").click()
    expect(page.locator(".toast")).to_contain_text("next_segment is added")
    expect(page.get_by_role("row", name="next_segment")).to_contain_text("nothing live")

    page.goto(page.url.replace("/operations/", "/prompts/new/?operation=next_segment"))
    expect(page.get_by_label("Operation")).to_have_value("next_segment")
    page.get_by_label("Name").fill("segments")
    page.get_by_role("button", name="Create template").click()
    page.get_by_label("System prompt").fill("Answer with JSON.")
    page.get_by_role("button", name="Publish v1").click()
    expect(panel).to_contain_text("never names the key segment_prompts")
    panel.get_by_role("button", name="Publish v1").click()
    expect(page.get_by_text("v1 is live since revision")).to_be_visible()
    assert live.load().template_for("next_segment").name == "segments"

    page.get_by_role("textbox", name="scene").fill("a fox in snow")
    page.get_by_role("button", name="Pin as sample").click()
    expect(page.locator(".toast").filter(has_text="Pinned")).to_be_visible()
    assert json.loads(Sample.objects.get().text) == {"scene": "a fox in snow"}
    page.get_by_role("textbox", name="scene").fill("something else")
    page.get_by_text("Sample inputs", exact=True).click()
    page.get_by_role("button", name='{"scene": "a fox in snow"}', exact=True).click()
    expect(page.get_by_role("textbox", name="scene")).to_have_value("a fox in snow")
    page.get_by_role("button", name="Run").first.click()
    expect(page.locator("#try-result .tree").first).to_contain_text("A red fox runs through fresh snow.")
    expect(page.locator("#try-result")).to_contain_text("there")
    asked = upstream.asked[-1]["messages"]
    assert [each["content"] for each in asked] == ["Answer with JSON.", '{"scene": "a fox in snow"}']
    run = Run.objects.get()
    assert (run.operation, run.contract) == ("next_segment", "at_once")
