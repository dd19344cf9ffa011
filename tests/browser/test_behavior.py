"""The behavior of all pages: live news, lost connections, keys, dialogs, the theme, the audit."""

import json

import pytest
from playwright.sync_api import Route, expect

from promptops.ledger import audit
from promptops.ledger import chain as audit_chain
from promptops.ledger.audit import SYSTEM
from promptops.prompts.models import Draft, Template
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.providers.models import Provider
from promptops.runs.models import Run
from tests.browser.conftest import Gate, Pages, snap
from tests.browser.editor import BROKEN, LOST, answer_text, body, saved
from tests.browser.upstream import Upstream


@pytest.fixture
def enhance(publish) -> Template:
    return publish("enhance", "The first text.", note="First").template


@pytest.fixture
def providers(transactional_db: None, upstream: Upstream) -> list[Provider]:
    """Three providers; `alpha` and `beta` are the upstream, nobody listens where `gamma` points."""
    urls = {"alpha": upstream.url, "beta": upstream.url, "gamma": "http://127.0.0.1:9/v1"}
    return [
        create_provider(ProviderFields(name, "openai", f"{name}-model", url), by=SYSTEM) for name, url in urls.items()
    ]


# ---------------------------------------------------------------- live


def test_what_others_do_appears_and_moves_nothing(enhance, publish, releaser, editor, page_for, pages: Pages) -> None:
    overview = pages.connected(page_for(editor))
    audit = pages.connected(page_for(editor, "/audit/"))
    history = pages.connected(page_for(editor, "/prompts/enhance/history/"))
    editing = pages.connected(page_for(editor, "/prompts/enhance/"))
    body(editing).fill("What I am writing.")
    body(editing).evaluate("field => field.setSelectionRange(3, 3)")
    publish("enhance", "The second text.", note="Shorter")
    expect(overview.locator("#overview")).to_contain_text("Shorter")
    expect(audit.locator("#rows > li").first).to_contain_text("published enhance v2")
    expect(history.locator("tr.linked").first).to_contain_text("v2 published by")
    expect(editing.locator("#release-news")).to_contain_text("published v2 while you were editing")
    expect(body(editing)).to_have_value("What I am writing.")
    assert body(editing).evaluate("field => [document.activeElement === field, field.selectionStart]") == [True, 3]
    for page in (overview, audit, history, editing):
        expect(page.locator("#live-badge")).to_contain_text("r2 live")


def test_a_page_that_lost_its_connection_says_so_and_catches_up(
    enhance, publish, editor, site, page_for, pages
) -> None:
    pages.expect_errors(LOST)
    page = pages.connected(page_for(editor))
    chip = page.locator("#connection")
    expect(chip).to_be_hidden()
    site.drop_sockets(refuse=True)
    expect(chip).to_be_visible()
    snap(page, "behavior-connection-lost")
    publish("enhance", "The second text.", note="While nobody listened")
    expect(page.locator("#overview")).not_to_contain_text("While nobody listened")
    site.accept_sockets()
    expect(page.locator("#overview")).to_contain_text("While nobody listened")
    expect(chip).to_be_hidden()


def test_a_refresh_that_failed_is_made_up_for(enhance, publish, editor, page_for, pages: Pages) -> None:
    pages.expect_errors(BROKEN)
    prompts = Gate()
    page = pages.connected(page_for(editor, "/prompts/", routes={"**/prompts/": prompts}))
    page.clock.install()
    prompts.fail()
    with page.expect_response("**/prompts/"):
        publish("enhance", "The second text.", note="Shorter")
    expect(page.locator("#live-badge")).to_contain_text("r2")
    prompts.open()
    expect(page.locator("#templates")).not_to_contain_text("Shorter")
    page.clock.fast_forward(6000)
    expect(page.locator("#templates")).to_contain_text("Shorter")
    expect(page.locator(".toast")).to_have_count(0)


# ---------------------------------------------------------------- keyboard, dialogs, theme


def test_shortcuts(enhance, providers, editor, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor))
    page.keyboard.press("g")
    page.keyboard.press("p")
    page.wait_for_url("**/prompts/")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_be_hidden()
    page.keyboard.press("Control+k")
    page.keyboard.type("enhance")
    page.keyboard.press("Enter")
    page.wait_for_url("**/prompts/enhance/")
    pages.connected(page)
    body(page).focus()
    page.keyboard.press("ControlOrMeta+End")
    page.keyboard.type(" g p?")  # in a field these are letters
    expect(body(page)).to_have_value("The first text. g p?")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#try-result a", has_text="run ")).to_be_visible()  # recorded, after the text has come
    expect(answer_text(page)).to_have_text("A red fox runs through fresh snow.")
    assert Run.objects.get().draft_body == "The first text. g p?"


def test_ctrl_s_saves_at_once(enhance, editor, page_for, pages: Pages) -> None:
    page = pages.connected(page_for(editor, "/prompts/enhance/"))
    page.clock.install()
    page.clock.pause_at("2040-01-01")  # the autosave's delay never ends
    body(page).fill("Save me.")
    expect(saved(page)).to_have_text("Not saved yet")
    page.keyboard.press("Control+s")
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().body == "Save me."


def test_what_is_typed_before_the_scripts_have_come_is_saved(enhance, editor, page_for) -> None:
    held: list[Route] = []
    scripts = Gate()
    page = page_for(editor, routes={"**/js/main.js": scripts})
    scripts.handler = held.append
    page.goto("/prompts/enhance/", wait_until="commit")
    body(page).fill("Typed early.")
    held[0].continue_()
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().body == "Typed early."


def test_saves_wait_for_each_other(enhance, editor, page_for) -> None:
    """Two at once could reach the database in the wrong order, and one cut off would be an error of the page."""
    held: list[Route] = []
    drafts = Gate()
    drafts.once(held.append)
    page = page_for(editor, "/prompts/enhance/", routes={"**/draft/": drafts})
    with page.expect_request("**/draft/"):
        body(page).fill("First.")
    body(page).fill("Second.")
    page.keyboard.press("Control+s")
    with page.expect_request("**/draft/") as second:
        held[0].continue_()
    assert "body=Second." in second.value.post_data
    expect(saved(page)).to_have_text("Saved")
    assert Draft.objects.get().body == "Second."


def test_a_dialog_keeps_the_focus_and_gives_it_back(enhance, releaser, page_for) -> None:
    page = page_for(releaser, "/prompts/enhance/")
    body(page).fill("The second text.")
    expect(saved(page)).to_have_text("Saved")
    button = page.get_by_role("button", name="Publish v2")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_role("dialog").get_by_label("Note")).to_be_focused()
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#review')")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()


def test_the_theme_is_remembered(editor, page_for) -> None:
    page = page_for(editor)
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_label("Theme").click()
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate(background)
    assert dark != light
    page.goto("/prompts/")
    assert page.evaluate(background) == dark
    page.get_by_label("Theme").click()
    page.get_by_role("button", name="System").click()
    assert page.evaluate(background) == light


def test_back_returns_to_the_page_as_it_is_now(enhance, publish, editor, page_for, pages: Pages) -> None:
    page = page_for(editor, "/runs/?status=failed")
    page.get_by_role("link", name="Prompts").click()
    page.get_by_role("link", name="enhance").click()
    page.wait_for_url("**/prompts/enhance/")
    publish("enhance", "The second text.", note="Shorter")
    page.go_back()
    expect(page.locator("#templates")).to_contain_text("Shorter")
    page.go_back()
    expect(page.get_by_label("Status")).to_have_value("failed")


# ---------------------------------------------------------------- the audit


def test_the_audit_is_verified_searched_and_exported(enhance, publish, viewer, page_for, monkeypatch) -> None:
    monkeypatch.setattr(audit, "BATCH", 3)
    monkeypatch.setattr("promptops.history.views.audit.STEP_SECONDS", 0)
    for number in range(2, 12):
        publish("enhance", f"Text {number}.", note="heroes" if number == 3 else "")
    page = page_for(viewer, "/audit/")
    page.get_by_role("link", name="Verify").click()
    expect(page.locator("#verify")).to_contain_text("The chain is intact")
    pin = page.locator("#chain-head").inner_text()
    assert pin == str(audit_chain.verify().head)
    publish("enhance", "The last text.")
    page.get_by_label("Pinned head").fill(pin)
    page.get_by_role("button", name="Verify with this pin").click()
    expect(page.locator("#verify")).to_contain_text(f"includes the pinned entry #{pin.split(':')[0]}")

    # A search continues by itself until it finds a match.
    monkeypatch.setattr("promptops.platform.pages.REACH", 4)
    page.get_by_role("link", name="Audit", exact=True).first.click()
    page.get_by_label("Search", exact=True).fill("heroes enhance")
    page.get_by_label("Search", exact=True).press("Enter")
    expect(page.locator("#rows > li")).to_have_count(1)
    expect(page.locator("#rows > li")).to_contain_text("published enhance v3")
    assert "q=heroes+enhance" in page.url
    with page.expect_download() as downloading:
        page.get_by_role("button", name="JSONL").click()
    lines = downloading.value.path().read_text().splitlines()
    assert [json.loads(line)["note"] for line in lines] == ["heroes"]
