"""Voting in the browser: with the embedded model in two settings, by keyboard, and while other people vote."""

import re

from playwright.sync_api import Page, Route, expect

from promptops.compare.actions import prompt_sets
from promptops.compare.models import Comparison, Vote
from promptops.ledger.audit import SYSTEM
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.runs.models import Run
from tests.browser.conftest import Gate, Pages
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
    # Temperature 0: a small model that samples sometimes gives an empty answer.
    for arm, tokens in (("A", "5"), ("B", "16")):
        box = page.get_by_role("group", name=f"Arm {arm}", exact=True)
        box.get_by_label("Text").select_option(index=1)
        box.get_by_label("Provider").select_option(label="local")
        box.get_by_label("Max tokens").fill(tokens)
        box.get_by_label("Temperature").fill("0")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(r"/compare/\d+/$"))
    page.keyboard.press("v")
    # The page is open before the first answer arrives, and updates itself.
    expect(prompt(page)).to_have_text("a fox in the snow", timeout=120_000)
    page.keyboard.press("b")
    expect(prompt(page)).to_have_text("a red boat", timeout=120_000)
    page.keyboard.press("t")
    expect(page.get_by_role("heading", name="You have voted on all 2")).to_be_visible()
    assert len(choices()) == 2
    assert choices()[1] == "tie"
    page.get_by_role("link", name="See the verdict").click()
    expect(page.get_by_role("heading", level=2).first).to_contain_text("has 1 of 1 vote, 100% (21 to 100)")
    expect(page.get_by_role("link", name="Vote", exact=True)).to_be_visible()
    expect(page.locator(".measures")).to_contain_text("Subject kept, mean")
    vote = Vote.objects.first()
    assert vote.choice == ("second" if vote.first_on_left else "first")


def test_keys_vote_and_undo_without_blocking_other_keys(actor, editor, releaser, page_for, pages: Pages) -> None:
    comparison = compare(actor, inputs=3, state="paused")
    answer(comparison)
    page = pages.connected(page_for(editor, f"/compare/{comparison.pk}/vote/"))
    expect(prompt(page)).to_have_text("a fox, take 0")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("Neither is good")
    page.keyboard.press("n")  # ignored while a dialog is open
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(prompt(page)).to_have_text("a fox, take 1")
    expect(page.locator("#announce")).to_have_text("Voted: Neither is good. 1 of 3.")
    expect(page.locator("#standing")).to_contain_text("1 of 3")
    # After a click, the focus stays on the button.
    page.get_by_role("button", name="A is better").click()
    expect(prompt(page)).to_have_text("a fox, take 2")
    expect(page.get_by_role("button", name="A is better")).to_be_focused()
    page.keyboard.press("z")
    expect(prompt(page)).to_have_text("a fox, take 1")
    page.keyboard.press("z")
    expect(prompt(page)).to_have_text("a fox, take 0")
    expect(page.get_by_role("button", name="Undo the last vote")).to_have_count(0)
    assert choices() == []
    # A colleague's vote changes only the number of voters.
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
    expect(page.get_by_role("heading", name="Hidden until you have voted")).to_be_visible()
    expect(page.locator("#answers, #measures, #arms")).to_have_count(0)
    page.get_by_role("link", name="Vote", exact=True).click()
    expect(prompt(page)).to_be_visible()
    page.get_by_role("link", name="Finish voting").click()
    page.get_by_role("button", name="Show it").click()
    expect(page.get_by_role("heading", name="No votes yet")).to_be_visible()
    page.get_by_role("link", name="Answers").click()
    expect(page.get_by_text("answer A0.0")).to_be_in_viewport()


def test_show_it_shows_everything_to_this_session_and_returns(actor, editor, page_for, pages: Pages) -> None:
    comparison = compare(actor, state="paused")
    answer(comparison)
    page = page_for(editor, f"/compare/{comparison.pk}/report/")
    expect(page.get_by_role("heading", name="Hidden until you have voted")).to_be_visible()
    expect(page.locator("#main")).not_to_contain_text("answer A0.0")
    page.get_by_role("button", name="Show it").click()
    expect(page).to_have_url(re.compile(f"/compare/{comparison.pk}/report/$"))
    expect(page.get_by_role("heading", name="Hidden until you have voted")).to_have_count(0)
    page.goto(f"/compare/{comparison.pk}/")
    expect(page.locator("#answers")).to_contain_text("answer A0.0")
    # The choice is one of the session: the same person elsewhere is warned again.
    elsewhere = page_for(editor, f"/compare/{comparison.pk}/")
    expect(elsewhere.get_by_role("heading", name="Hidden until you have voted")).to_be_visible()
    expect(elsewhere.locator("#answers")).to_have_count(0)


def test_without_scripts_it_is_a_plain_form(actor, editor, page_for, pages: Pages) -> None:
    comparison = compare(actor, state="paused")
    answer(comparison)
    page = page_for(editor, f"/compare/{comparison.pk}/vote/", java_script_enabled=False)
    for number in range(2):
        expect(prompt(page)).to_have_text(f"a fox, take {number}")
        page.get_by_role("button", name="Tie").click()
    expect(page.get_by_role("heading", name="You have voted on all 2")).to_be_visible()
    page.get_by_role("button", name="Undo the last vote").click()
    expect(prompt(page)).to_have_text("a fox, take 1")
    assert choices() == ["tie"]


def test_answers_that_arrive_while_a_vote_is_sent_are_shown(actor, editor, site, page_for, pages: Pages) -> None:
    comparison = compare(actor, inputs=2, state="paused")
    answer(comparison)
    late = comparison.trials.filter(input__position=1)
    late.update(run=None, state="waiting", answer_hash=None)
    requests = Gate()
    page = pages.connected(page_for(editor, f"/compare/{comparison.pk}/vote/", routes={"**/vote/": requests}))
    page.wait_for_load_state("networkidle")  # the requests that follow the opened socket are done
    delayed: list[Route] = []
    requests.handler = lambda route: route.continue_() if len(delayed) == 2 else delayed.append(route)
    page.evaluate("""() => document.addEventListener("htmx:afterSettle", (event) => {
      if (event.target.id === "standing") document.body.dataset.standing = "settled";
    })""")
    page.keyboard.press("a")
    while len(delayed) < 1:
        page.wait_for_timeout(10)
    # The hint of the vote makes the standing reload. Its response includes newer answers and arrives before the vote's.
    voted = delayed[0].fetch()
    while len(delayed) < 2:
        page.wait_for_timeout(10)
    answer(comparison)
    counted = delayed[1].fetch()
    with pages.sockets[page].expect_event("framereceived", lambda frame: '"comparison"' in frame):
        site.tell("comparison", comparison.pk)
    delayed[1].fulfill(response=counted)
    expect(page.locator("body[data-standing]")).to_have_count(1)
    delayed[0].fulfill(response=voted)
    expect(prompt(page)).to_have_text("a fox, take 1")


def test_an_update_does_not_replace_the_link_under_the_pointer(actor, editor, site, page_for, pages: Pages) -> None:
    comparison = compare(actor, state="paused")
    page = pages.connected(page_for(editor, "/compare/"))
    page.wait_for_load_state("networkidle")
    page.get_by_role("link", name="Warm or cold").hover()
    page.mouse.down()
    Comparison.objects.update(name="Hot or cold")
    with page.expect_response("**/compare/"):
        site.tell("comparison", comparison.pk)
    page.wait_for_timeout(100)  # time for a wrong update to show
    expect(page.get_by_role("link", name="Warm or cold")).to_be_visible()
    page.mouse.up()
    expect(page).to_have_url(re.compile(f"/compare/{comparison.pk}/$"))


def test_a_ballot_is_erased_while_it_is_read(actor, editor, page_for, pages: Pages) -> None:
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
    problems = []
    page = page_for(editor)
    for name, texts in HARD.items():
        comparison = compare(actor, inputs=1, state="paused")
        answer(comparison, lambda trial, texts=texts: texts[trial.arm.position])
        problems += look(page, "vote", {name: f"/compare/{comparison.pk}/vote/"})
    comparison = compare(actor, inputs=1, state="paused")
    problems += look(page, "vote", {"nothing": f"/compare/{comparison.pk}/vote/"})
    answer(comparison, words)
    page.reload()
    page.keyboard.press("t")
    expect(page.get_by_role("heading", name="You have voted on all 1")).to_be_visible()
    problems += faults(page, "vote-all")
    assert not problems, told(problems)
