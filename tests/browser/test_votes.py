"""Voting as people do it: a comparison of the embedded model in two settings, by keyboard, beside others who vote."""

import re

from playwright.sync_api import Page, Route, expect

from promptops.compare.actions import prompt_sets
from promptops.compare.models import Comparison, Vote
from promptops.ledger.audit import SYSTEM
from promptops.providers.actions.providers import ProviderFields, create_provider
from promptops.runs.models import Run
from tests.browser.conftest import Pages
from tests.browser.data import LONG_PROMPT, LONG_WORD, MIXED
from tests.browser.looks import faults, look, told
from tests.comparing import answer, change_runs, compare, words


def choices() -> list[str]:
    return list(Vote.objects.order_by("pk").values_list("choice", flat=True))


def prompt(page: Page):
    return page.get_by_role("group", name="Viewer’s prompt")


def test_the_embedded_model_in_two_settings_voted_on_by_keyboard(editor, publish, page_for, pages: Pages) -> None:
    publish("enhance", "Describe the scene in one sentence.")
    create_provider(ProviderFields("local", "local"), by=SYSTEM)
    prompt_sets.create_set("Foxes", ["a fox in the snow", "a red boat"], by=SYSTEM)
    page = page_for(editor, "/compare/new/")
    page.get_by_label("Name", exact=True).fill("Short or long")
    page.get_by_label("Prompt set").select_option(label="Foxes (2)")
    # Both without chance: a small model that draws its words now and then has nothing to say.
    for arm, tokens in (("A", "5"), ("B", "16")):
        box = page.get_by_role("group", name=f"Arm {arm}", exact=True)
        box.get_by_label("Text").select_option(index=1)
        box.get_by_label("Provider").select_option(label="local")
        box.get_by_label("Max tokens").fill(tokens)
        box.get_by_label("Temperature").fill("0")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("link", name="Vote", exact=True).click()
    # The page stands there before anything is answered, and fills by itself.
    expect(prompt(page)).to_have_text("a fox in the snow", timeout=120_000)
    page.keyboard.press("b")
    expect(prompt(page)).to_have_text("a red boat", timeout=120_000)
    page.keyboard.press("t")
    expect(page.get_by_role("heading", name="You have voted on all 2")).to_be_visible()
    assert len(choices()) == 2
    assert choices()[1] == "tie"
    page.get_by_role("link", name="See the verdict").click()
    expect(page.get_by_role("heading", name="Not enough votes yet")).to_be_visible()
    expect(page.locator(".pair")).to_contain_text("preferred in 100% (21 to 100) of 1 decided vote on 1 input")
    expect(page.locator(".measures")).to_contain_text("Subject kept, mean")
    vote = Vote.objects.first()
    assert vote.choice == ("second" if vote.first_on_left else "first")


def test_keys_vote_take_back_and_leave_other_keys_alone(actor, editor, releaser, page_for, pages: Pages) -> None:
    comparison = compare(actor, inputs=3, state="paused")
    answer(comparison)
    page = pages.connected(page_for(editor, f"/compare/{comparison.pk}/vote/"))
    expect(prompt(page)).to_have_text("a fox, take 0")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("Neither is good")
    page.keyboard.press("n")  # not while a dialog is open
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(prompt(page)).to_have_text("a fox, take 1")
    expect(page.locator("#announce")).to_have_text("Voted: Neither is good. 1 of 3.")
    expect(page.locator("#standing")).to_contain_text("1 of 3")
    # By the pointer: the focus stays on the button that was pressed.
    page.get_by_role("button", name="A is better").click()
    expect(prompt(page)).to_have_text("a fox, take 2")
    expect(page.get_by_role("button", name="A is better")).to_be_focused()
    page.keyboard.press("z")
    expect(prompt(page)).to_have_text("a fox, take 1")
    page.keyboard.press("z")
    expect(prompt(page)).to_have_text("a fox, take 0")
    expect(page.get_by_role("button", name="Take the last vote back")).to_have_count(0)
    assert choices() == []
    # A colleague's vote moves nothing but the count of voters.
    text = page.locator(".sides").inner_text()
    other = page_for(releaser, f"/compare/{comparison.pk}/vote/")
    other.keyboard.press("t")
    expect(page.locator("#standing")).to_contain_text("1 other voter")
    assert page.locator(".sides").inner_text() == text
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page).to_have_url(re.compile("/audit/$"))
    assert choices() == ["tie"]


def test_finishing_early_warns_before_the_answers(actor, editor, page_for, pages: Pages) -> None:
    comparison = compare(actor, state="paused")
    answer(comparison)
    page = page_for(editor, f"/compare/{comparison.pk}/vote/")
    page.get_by_role("link", name="Finish voting").click()
    expect(page.get_by_role("heading", name="Seeing it now would color your votes")).to_be_visible()
    page.get_by_role("link", name="Keep voting").click()
    expect(prompt(page)).to_be_visible()
    page.get_by_role("link", name="Finish voting").click()
    page.get_by_role("button", name="Show it").click()
    expect(page.get_by_role("heading", name="No votes yet")).to_be_visible()
    page.get_by_role("link", name="Answers").click()
    expect(page.get_by_text("answer A0.0")).to_be_visible()


def test_without_scripts_it_is_a_plain_form(actor, editor, page_for, pages: Pages) -> None:
    comparison = compare(actor, state="paused")
    answer(comparison)
    page = page_for(editor, f"/compare/{comparison.pk}/vote/", java_script_enabled=False)
    for number in range(2):
        expect(prompt(page)).to_have_text(f"a fox, take {number}")
        page.get_by_role("button", name="Tie").click()
    expect(page.get_by_role("heading", name="You have voted on all 2")).to_be_visible()
    page.get_by_role("button", name="Take the last vote back").click()
    expect(prompt(page)).to_have_text("a fox, take 1")
    assert choices() == ["tie"]


def test_answers_that_come_while_a_vote_is_on_its_way_are_shown(actor, editor, site, page_for, pages: Pages) -> None:
    comparison = compare(actor, inputs=2, state="paused")
    answer(comparison)
    late = comparison.trials.filter(input__position=1)
    late.update(run=None, state="waiting", answer_hash=None)
    page = pages.connected(page_for(editor, f"/compare/{comparison.pk}/vote/"))
    page.wait_for_load_state("networkidle")  # what it asks for when its socket opens is there
    held: list[Route] = []
    page.route("**/vote/", lambda route: route.continue_() if len(held) == 2 else held.append(route))
    page.evaluate("""() => document.addEventListener("htmx:afterSettle", (event) => {
      if (event.target.id === "standing") document.body.dataset.standing = "settled";
    })""")
    page.keyboard.press("a")
    while len(held) < 1:
        page.wait_for_timeout(10)
    # The hint of the vote makes the standing ask for itself; it hears of more, and is there before the vote's answer.
    voted = held[0].fetch()
    while len(held) < 2:
        page.wait_for_timeout(10)
    answer(comparison)
    counted = held[1].fetch()
    with pages.sockets[page].expect_event("framereceived", lambda frame: '"comparison"' in frame):
        site.tell("comparison", comparison.pk)
    held[1].fulfill(response=counted)
    expect(page.locator("body[data-standing]")).to_have_count(1)
    held[0].fulfill(response=voted)
    expect(prompt(page)).to_have_text("a fox, take 1")


def test_news_takes_nothing_away_from_under_the_pointer(actor, editor, site, page_for, pages: Pages) -> None:
    comparison = compare(actor, state="paused")
    page = pages.connected(page_for(editor, "/compare/"))
    page.wait_for_load_state("networkidle")
    page.get_by_role("link", name="Warm or cold").hover()
    page.mouse.down()
    Comparison.objects.update(name="Hot or cold")
    with page.expect_response("**/compare/"):
        site.tell("comparison", comparison.pk)
    page.wait_for_timeout(100)  # for what would be shown then
    expect(page.get_by_role("link", name="Warm or cold")).to_be_visible()
    page.mouse.up()
    expect(page).to_have_url(re.compile(f"/compare/{comparison.pk}/$"))


def test_erased_while_it_is_read(actor, editor, page_for, pages: Pages) -> None:
    comparison = compare(actor, state="paused")
    answer(comparison)
    page = page_for(editor, f"/compare/{comparison.pk}/vote/")
    change_runs(Run.objects.filter(input="a fox, take 0"), output="", erased_at=Run.objects.first().at)
    page.keyboard.press("a")
    expect(page.locator("#toasts")).to_contain_text("can no longer be voted on")
    expect(prompt(page)).to_have_text("a fox, take 1")
    assert choices() == []


HARD = {
    "long": (LONG_PROMPT, LONG_PROMPT[:9000]),
    "word": (LONG_WORD, f"{LONG_WORD} {MIXED}"),
    "mixed": (f"{MIXED}\n" * 6, "שלום עולם, שועל רץ בשלג.\nוגם כלב."),
    "lines": ("1. A fox.\n2. A <b>hen</b>.\n3. Two.", "1. Foxes\n\n2. Hens\n3. </div></form>"),
}


def test_how_it_looks(actor, editor, page_for, pages: Pages) -> None:
    found = []
    page = page_for(editor)
    for name, texts in HARD.items():
        comparison = compare(actor, inputs=1, state="paused")
        answer(comparison, lambda trial, texts=texts: texts[trial.arm.position])
        found += look(page, "vote", {name: f"/compare/{comparison.pk}/vote/"})
    comparison = compare(actor, inputs=1, state="paused")
    found += look(page, "vote", {"nothing": f"/compare/{comparison.pk}/vote/"})
    answer(comparison, words)
    page.reload()
    page.keyboard.press("t")
    expect(page.get_by_role("heading", name="You have voted on all 1")).to_be_visible()
    found += faults(page, "vote-all")
    assert not found, told(found)
