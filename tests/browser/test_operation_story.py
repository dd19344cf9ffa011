"""The first day of a new user: the operations of a demo app, its texts, runs, a comparison, a release and its undo.

The texts are generated here. The embedded model and a scripted server on loopback answer.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from promptops.compare.actions import prompt_sets
from promptops.compare.models import Vote
from promptops.engine.providers.local import local_available
from promptops.ledger.audit import SYSTEM
from promptops.ledger.models import AuditEntry
from promptops.live import snapshots as live
from promptops.prompts.models import Operation, Template
from promptops.providers.actions.chain import ProviderFields, create_provider, set_enabled
from promptops.providers.models import Provider
from promptops.runs.models import Run
from tests.browser.conftest import Pages, screenshot
from tests.browser.looks import faults
from tests.browser.upstream import Upstream
from tests.conftest import missing

PROMPTS = [f"Shot {number}: a red fox crosses the snow, slowly." for number in range(1, 7)]
FIXED = "Write exactly six prompts."


def schema(key: str, count: int | None = None) -> str:
    """Return the contract of one operation: an object with `key`, which is one prompt or a list of `count`."""
    text = {"type": "string", "minLength": 10}
    value = text if count is None else {"type": "array", "minItems": count, "maxItems": count, "items": text}
    return json.dumps({"type": "object", "required": [key], "additionalProperties": False, "properties": {key: value}})


def rules(key: str, size: int, end: str = "\n") -> str:
    """Return a system prompt of about `size` bytes that asks for the key."""
    lines = [f"You direct a live film. Answer with one JSON object that has the key {key}, and with nothing else."]
    while sum(map(len, lines)) < size:
        place = len(lines)
        lines.append(f"Rule {place}: in shot {place}, name the subject, the light and the camera. {key} {place * 7919}")
    return end.join(lines) + end


ROLLOUT = rules("rollout_prompts", 6_000)
EXTENSION = rules("next_prompt", 3_000)
PYTHON = f'''
NEW_ROLLOUT = """{ROLLOUT}"""
AUTO_EXTENSION = ({EXTENSION[:1500]!r}
    {EXTENSION[1500:]!r})
'''
FILES = {
    "next-segment.txt": rules("segment_prompts", 14_500, "\r\n"),
    "prompts.py": PYTHON,
    "edit.json": json.dumps({"edit_rollout": rules("rollout_prompts", 1_700)}),
}
UPLOADS = [{"name": name, "mimeType": "text/plain", "buffer": text.encode()} for name, text in FILES.items()]


class Requests(list):
    """All requests. Each thread of the server finds its own in `current`, because several may arrive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.of_thread = threading.local()

    def append(self, request: dict) -> None:
        self.of_thread.request = request
        super().append(request)

    @property
    def current(self) -> dict:
        return self.of_thread.request


class Scripted(Upstream):
    """Answers with what `script` returns for a request."""

    script: Callable[[dict], object] = staticmethod(lambda request: {})

    def __init__(self) -> None:
        super().__init__()
        self.asked = Requests()

    @property
    def texts(self) -> list[str]:
        return [json.dumps(self.script(self.asked.current))]

    @texts.setter
    def texts(self, texts: list[str]) -> None:
        """Ignore the texts of the base."""


@pytest.fixture
def scripted() -> Iterator[tuple[Scripted, Scripted]]:
    """Yield two servers: one that answers with five prompts, one with six."""
    servers = Scripted(), Scripted()
    servers[0].script = lambda request: {"segment_prompts": PROMPTS[:5]}
    servers[1].script = lambda request: {"segment_prompts": PROMPTS}
    yield servers
    for server in servers:
        server.close()


# The whole journey of a person over a dozen pages, with the embedded model: 15 to 20 s.
def test_a_demo_app_moves_in(scripted, releaser, page_for, pages: Pages) -> None:
    if reason := local_available():
        missing(reason)
    create_provider(ProviderFields("local", "local", timeout_ms=20_000), by=SYSTEM)
    page = page_for(releaser, "/operations/")
    make_next_segment(page)
    import_texts(page)
    run_on_the_embedded_model(page)
    fall_back_and_repair(page, scripted)
    publish_a_second_version(page)
    compare_by_contract_and_votes(page, scripted[1])
    roll_back(page)


def panel_of(page: Page):
    return page.get_by_role("dialog", name="Review")


def make_next_segment(page: Page) -> None:
    """Make the first operation with the whole form, with named fields and a pasted contract."""
    page.get_by_role("link", name="New operation").click()
    page.get_by_label("Name", exact=True).first.fill("next_segment")
    page.get_by_label("Purpose").fill("Writes the prompts of the next segment.")
    page.get_by_label("Input", exact=True).select_option("fields")
    page.get_by_label("Answer", exact=True).select_option("json")
    page.get_by_label("JSON Schema").fill(schema("segment_prompts", 6))
    rows = page.locator(".field-row:visible")
    rows.nth(0).get_by_label("Name").fill("scene")
    rows.nth(1).get_by_label("Name").fill("segment_prompts_negative")
    rows.nth(1).get_by_label("Optional", exact=True).check()
    page.get_by_label("When nobody answers").select_option("hold")
    assert faults(page, "story-operation") == []
    page.get_by_role("button", name="Review and save").click()
    panel_of(page).get_by_role("button", name="Add next_segment").click()
    expect(page.get_by_role("row", name="next_segment")).to_contain_text("nothing live")


def import_texts(page: Page) -> None:
    """Import four texts of three files; three operations are made on the way."""
    page.goto("/prompts/")
    page.get_by_role("link", name="Import").click()
    page.get_by_label("Files").set_input_files(UPLOADS)
    page.get_by_role("button", name="Find the prompts").click()
    found = page.locator("#found")
    expect(found.locator("fieldset")).to_have_count(4)
    expect(found).to_contain_text("line ends of Windows became plain.")
    texts = {each.get_attribute("data-text"): each for each in found.locator("fieldset").all()}
    # The text that is named like an operation is for it.
    expect(texts["next-segment"].get_by_label("Operation")).to_have_value("next_segment")
    for text, name, contract in (
        ("new-rollout", "", schema("rollout_prompts", 4)),
        ("auto-extension", "", schema("next_prompt")),
        ("edit-rollout", "edit_rollout_from_viewer", schema("rollout_prompts", 4)),
    ):
        box = texts[text]
        expect(box.get_by_label("Answer")).to_be_hidden()
        box.get_by_label("Operation").select_option(label="New operation…")
        if name:
            box.get_by_label("Name", exact=True).fill(name)
        box.get_by_label("Answer").select_option("json")
        box.get_by_label("JSON Schema").fill(contract)
    texts["edit-rollout"].get_by_label("Input", exact=True).select_option("fields")
    texts["edit-rollout"].get_by_label("Names of the fields").fill("wish, rollout")
    assert faults(page, "story-import") == []
    page.get_by_role("button", name="Publish…").click()
    panel = panel_of(page)
    expect(panel.get_by_role("region", name="Operation ")).to_have_count(3)
    assert faults(page, "story-import-review") == []
    panel.get_by_label("Note").fill("Day one")
    panel.get_by_role("button", name="Publish 4 texts").click()
    page.wait_for_url("**/prompts/")
    made = {row.name: row.answer["kind"] for row in Operation.objects.filter(built_in=False)}
    assert made == dict.fromkeys(("next_segment", "new_rollout", "auto_extension", "edit_rollout_from_viewer"), "json")
    bodies = {row.name: row.live_version.body for row in Template.objects.select_related("live_version")}
    assert bodies["auto-extension"] == EXTENSION.strip()
    assert bodies["next-segment"] == rules("segment_prompts", 14_500).strip()
    page.goto("/operations/")
    screenshot(page, "story-operations")


def run_on_the_embedded_model(page: Page) -> None:
    """Try a short draft, because the embedded model is slow with long texts. It breaks the contract at first."""
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto("/prompts/auto-extension/")
    page.get_by_label("System prompt").fill("Answer with a JSON object with the key next_prompt.")
    page.get_by_label("Max tokens").fill("5")  # too few for any JSON of the contract
    page.get_by_role("textbox", name="Viewer's prompt").fill("a fox in snow")
    page.get_by_role("button", name="Run").first.click()
    result = page.locator("#try-result")
    expect(result.locator("a", has_text="run ")).to_be_visible(timeout=30_000)
    run = Run.objects.latest("id")
    first, repair = run.attempts.order_by("position")
    assert (run.operation, first.error_kind, first.repair, repair.repair) == ("auto_extension", "contract", False, True)
    assert run.contract in ("breached", "repaired")  # whether the small model repairs its answer is chance
    expect(result).to_contain_text("local broke the contract")
    screenshot(page, "story-embedded")


def fall_back_and_repair(page: Page, scripted: tuple[Scripted, Scripted]) -> None:
    """A wrong answer falls back; with nobody left, the same provider repairs its answer."""
    first, second = (
        create_provider(ProviderFields(name, "openai", "m", server.url), by=SYSTEM, key="k")
        for name, server in zip(("first", "second"), scripted, strict=True)
    )
    set_enabled(Provider.objects.get(name="local"), False, by=SYSTEM)
    live.refresh()
    run_next_segment(page)
    expect(page.locator("#try-result")).to_contain_text("second")
    page.locator("#try-result a", has_text="run ").click()
    expect(page.locator("main")).to_contain_text("segment_prompts has 5 items, 6 expected")
    assert faults(page, "story-fallback") == []
    run = Run.objects.latest("id")
    assert (run.provider, run.fallback_used, run.contract) == ("second", True, "fell_back")

    set_enabled(second, False, by=SYSTEM)
    live.refresh()
    scripted[0].script = lambda request: {
        "segment_prompts": PROMPTS if "6 expected" in request["messages"][-1]["content"] else PROMPTS[:5]
    }
    run_next_segment(page)
    expect(page.locator("#try-result")).to_contain_text("repaired")
    page.locator("#try-result a", has_text="run ").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("repaired")
    assert faults(page, "story-repair") == []
    set_enabled(second, True, by=SYSTEM)
    set_enabled(first, False, by=SYSTEM)
    live.refresh()


def run_next_segment(page: Page) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})  # "Try it" is a tab on the phone that a look left behind
    page.goto("/prompts/next-segment/")
    page.get_by_role("textbox", name="scene").fill("a fox in snow")
    page.get_by_role("button", name="Run").first.click()
    expect(page.locator("#try-result .tree").first).to_contain_text("Shot 6: a red fox crosses the snow, slowly.")


def publish_a_second_version(page: Page) -> None:
    page.goto("/prompts/next-segment/")
    text = page.get_by_label("System prompt")
    text.fill(f"{text.input_value()}\n{FIXED}")
    page.get_by_role("button", name="Publish v2").click()
    panel_of(page).get_by_role("button", name="Publish v2").click()
    expect(page.get_by_text("v2 is live since revision")).to_be_visible()


def compare_by_contract_and_votes(page: Page, server: Scripted) -> None:
    """The first version breaks its contract until it is repaired, the second one keeps it at once."""
    better = [f"{prompt} Light from the left." for prompt in PROMPTS]
    server.script = lambda request: {
        "segment_prompts": better
        if FIXED in request["messages"][0]["content"]
        else PROMPTS[: 6 if "6 expected" in request["messages"][-1]["content"] else 5]
    }
    prompt_sets.create_set("Scenes", [json.dumps({"scene": f"a {animal}"}) for animal in ("fox", "hare")], by=SYSTEM)
    page.goto("/compare/new/?operation=next_segment")
    page.get_by_label("Name", exact=True).fill("Six prompts")
    page.get_by_label("Prompt set").select_option(label="Scenes (2)")
    for letter, label in (("A", "next-segment v1: Day one"), ("B", "next-segment v2 (live)")):
        box = page.get_by_role("group", name=f"Arm {letter}", exact=True)
        box.get_by_label("Text").select_option(label=label)
        box.get_by_label("Provider").select_option(label="second")
    screenshot(page, "story-comparison-new")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("link", name=re.compile("^(Vote|Wait for ballots)$")).click()
    for count in (1, 2):
        left = page.get_by_role("group", name="A", exact=True)
        expect(left).to_be_visible(timeout=20_000)
        if count == 1:
            screenshot(page, "story-vote")
        better_side = "A" if "Light from the left" in left.inner_text() else "B"
        page.get_by_role("button", name=f"{better_side} is better").click()
        expect(page.locator("#standing")).to_contain_text(f"{count} of 2")
    assert [getattr(vote, vote.choice).version.number for vote in Vote.objects.all()] == [2, 2]
    page.get_by_role("link", name="See the verdict").click()
    measures = page.locator(".measures")
    expect(measures.get_by_role("row", name="Answer repaired")).to_contain_text("2")
    assert faults(page, "story-verdict") == []


def roll_back(page: Page) -> None:
    page.goto("/prompts/next-segment/history/")
    page.get_by_label("More about v1 of").last.click()
    page.get_by_role("button", name="Roll back to v1").click()
    panel_of(page).get_by_role("button", name="Roll back to v1").click()
    expect(page.locator("#state h1")).to_contain_text("v1 live")
    assert live.load().template_for("next_segment").version_number == 1
    assert AuditEntry.objects.filter(action="operation.added").count() == 4
