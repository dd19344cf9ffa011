"""The walk of a new user, with the embedded model: set up, edit, try, publish, see it elsewhere, undo, look it up."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from promptops.engine.providers.local import local_available
from promptops.ledger.audit import SYSTEM
from promptops.ledger.models import AuditEntry
from promptops.people.actions import accounts
from promptops.prompts.actions.prompts import import_prompts
from promptops.prompts.models import Template
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.runs.models import Run
from tests.browser.conftest import Pages, screenshot
from tests.browser.editor import answer_text
from tests.conftest import PASSWORD, missing

PROMPT = "Rewrite the user's idea as one vivid sentence for a film. Answer with the sentence only."


def create_account(page: Page, name: str, username: str) -> None:
    """Fill the form behind a one-time link and sign in with it."""
    page.get_by_label("Your name").fill(name)
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Repeat the password").fill(PASSWORD)
    page.get_by_role("button", name=re.compile("and sign in")).click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def write(page: Page, text: str) -> None:
    """Type a system prompt and wait until it is kept as a draft."""
    page.get_by_label("System prompt").fill(text)
    expect(page.locator("[data-save-state]")).to_have_text("Saved")


def publish(page: Page, number: int, note: str) -> None:
    """Publish the editor's text through the review panel."""
    page.get_by_role("button", name=f"Publish v{number}").click()
    panel = page.get_by_role("dialog", name="Review")
    panel.get_by_label("Note").fill(note)
    panel.get_by_role("button", name=f"Publish v{number}").click()
    expect(page.get_by_text(f"v{number} is live since revision")).to_be_visible()


@pytest.fixture
def installed(site) -> None:
    """The installation after the first `make run`: the shipped prompts and the embedded model."""
    if reason := local_available():
        missing(reason)
    create_provider(ProviderFields("local", "local"), by=SYSTEM)
    assert import_prompts(Path(settings.PROMPTS_DIR), by=SYSTEM) == []


def test_the_walk(installed: None, pages: Pages) -> None:
    ada = set_up(pages)
    rita = join(pages, ada)
    overview = pages.connected(rita)
    editing = overview.context.new_page()
    editing.goto("/prompts/enhance/")
    pages.connected(editing)
    write(editing, "What Rita is typing.")
    edit_and_run(ada)
    cancel_a_run(ada)
    publish_with_a_look_at_the_panel(ada)
    follows_the_release(overview, editing)
    is_too_late(editing)
    rolls_back(overview)
    expect(ada.locator("#state h1")).to_contain_text("v1 live")
    audit_lists_all(ada, overview)
    ada.goto("/prompts/enhance/")
    expect(ada.get_by_label("System prompt")).to_have_value(Template.objects.get(name="enhance").live_version.body)


def set_up(pages: Pages) -> Page:
    """Create the first administrator through the link that the first start prints. The link works once."""
    link = f"/setup/{accounts.make_setup_link()}/"
    ada = pages.open(link)
    screenshot(ada, "walk-1-setup", always=True)
    create_account(ada, "Ada Lovelace", "ada")
    screenshot(ada, "walk-2-overview", always=True)
    pages.expect_errors("status of 4(04|10|09)")
    assert pages.open(link).locator("input").count() == 0
    return ada


def join(pages: Pages, ada: Page) -> Page:
    """Let Ada invite Rita, who joins in a browser of her own."""
    ada.goto("/settings/people/")
    ada.get_by_label("Role", exact=True).select_option("releaser")
    ada.get_by_role("button", name="Make an invitation link").click()
    invitation = ada.get_by_role("dialog", name="Review").get_by_label("Link").input_value()
    rita = pages.open(invitation.removeprefix(pages.url))
    create_account(rita, "Rita Hayworth", "rita")
    return rita


def edit_and_run(ada: Page) -> None:
    """Change the enhance prompt and run it on the embedded model; the answer streams in and is recorded."""
    ada.goto("/prompts/enhance/")
    write(ada, PROMPT)
    ada.get_by_label("Max tokens").fill("48")
    expect(ada.get_by_label("Viewer's prompt")).to_have_value("a fox running through snow")
    lengths = watch_length(ada)
    ada.get_by_role("button", name="Run").first.click()
    expect(ada.locator("#try-result a", has_text="run ")).to_be_visible(timeout=30_000)
    answer = answer_text(ada).inner_text()
    assert len(answer.split()) > 3
    grew = lengths()
    assert len(grew) > 3, f"the text did not stream in: {grew}"
    facts = ada.locator("#try-result").inner_text()
    assert re.search(r"local, SmolLM2-135M-Instruct", facts)
    assert re.search(r"\d+ ms|\d+\.\d s", facts)
    run = Run.objects.latest("id")
    assert (run.output, run.draft_body, run.max_tokens, run.user.username) == (answer, PROMPT, 48, "ada")
    screenshot(ada, "walk-3-tried", always=True)


def cancel_a_run(ada: Page) -> None:
    """Cancel a second run at once: the small model may be done soon after its first word."""
    ada.get_by_label("Text to run").select_option("1")
    ada.get_by_role("button", name="Run").first.click()
    ada.locator("#try-result").get_by_role("button", name="Cancel").click()
    expect(ada.locator("#try-result")).to_contain_text("Canceled")
    expect(answer_text(ada)).to_have_count(0)
    assert Run.objects.latest("id").status == "canceled"


def publish_with_a_look_at_the_panel(ada: Page) -> None:
    """Open the panel, close it, and publish."""
    ada.get_by_role("button", name="Publish v2").click()
    expect(ada.get_by_role("dialog", name="Review").locator(".diff ins").first).to_be_visible()
    screenshot(ada, "walk-4-review", full_page=False, always=True)
    ada.keyboard.press("Escape")
    publish(ada, 2, "One sentence")
    screenshot(ada, "walk-5-published", always=True)


def follows_the_release(overview: Page, editing: Page) -> None:
    """Check that Rita's pages follow by themselves, and that her text stays."""
    row = overview.locator("#operation-enhance")
    expect(row).to_contain_text("One sentence")
    expect(row).to_contain_text("v2")
    expect(overview.locator("#live-badge")).to_contain_text("by Ada Lovelace")
    expect(editing.locator("#release-news")).to_contain_text("Ada Lovelace published v2 while you were editing")
    expect(editing.get_by_label("System prompt")).to_have_value("What Rita is typing.")


def is_too_late(editing: Page) -> None:
    """Publish Rita's text, which began from v1: the panel refuses it, shows both texts and keeps hers."""
    editing.get_by_role("button", name=re.compile(r"^Publish v\d")).first.click()
    panel = editing.get_by_role("dialog")
    expect(panel).to_contain_text("v2 was published while you were editing")
    expect(panel).to_contain_text("What Rita is typing.")
    expect(panel).to_contain_text("one vivid sentence")
    screenshot(editing, "walk-6-conflict", full_page=False, always=True)
    panel.get_by_role("button", name="Keep editing").click()
    editing.reload()
    expect(editing.get_by_label("System prompt")).to_have_value("What Rita is typing.")
    assert Template.objects.get(name="enhance").versions.count() == 2


def rolls_back(overview: Page) -> None:
    """Roll back to v1 from the menu of its row."""
    overview.goto("/prompts/enhance/history/")
    overview.get_by_label("More about v1 of").click()
    overview.get_by_role("button", name="Roll back to v1").click()
    overview.get_by_role("dialog").get_by_role("button", name="Roll back to v1").click()
    expect(overview.get_by_text("v1 is live since revision")).to_be_visible()


def audit_lists_all(*pages: Page) -> None:
    """Check that the audit lists every step in order, also after a reload."""
    for page in pages:
        page.goto("/audit/")
        page.reload()
        sentences = [line.split("\n")[0] for line in page.locator("#rows > li > div:first-child").all_inner_texts()]
        wanted = [
            "Ada Lovelace joined as administrator",
            "Ada Lovelace signed in",
            "Ada Lovelace made a one-time link for a new releaser",
            "Rita Hayworth joined as releaser",
            "Ada Lovelace published enhance v2 One sentence",
            "Rita Hayworth rolled back enhance to v1",
        ]
        assert [line for line in reversed(sentences) if line in wanted] == wanted, sentences
    screenshot(pages[0], "walk-7-audit", always=True)
    numbers = list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True))
    assert numbers == list(range(1, len(sentences) + 1))


def watch_length(page: Page):
    """Notes each length that the streamed answer has; returns a function that gives them."""
    page.evaluate(
        """() => {
          window.lengths = [];
          new MutationObserver(() => {
            const length = document.querySelector("#try-list [id$=-text]")?.textContent.length;
            if (length && length !== window.lengths.at(-1)) window.lengths.push(length);
          }).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    return lambda: page.evaluate("window.lengths")
