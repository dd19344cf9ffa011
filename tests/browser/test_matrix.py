"""The matrix of answers in the browser: by keyboard, while answers arrive; and a release from a comparison."""

import re
from itertools import combinations

import pytest
from playwright.sync_api import expect

from promptops.compare.actions import comparisons
from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.models import Comparison, Trial, Vote
from promptops.engine.types import PromptOperation
from promptops.ledger.audit import Actor
from promptops.ledger.models import Release
from promptops.live import snapshots as live
from promptops.prompts.actions.releases import Content
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.providers.models import Provider
from tests.browser.conftest import Gate, Pages
from tests.compare.test_comparison_pages import answer
from tests.comparing import answer as answer_all
from tests.comparing import compare


def compared(publish, person, inputs: int = 25) -> Comparison:
    """Start a comparison of two versions on two providers; paused, so that only the test answers."""
    by = Actor.person(person)
    versions = [publish("enhance", "One."), publish("enhance", "Two.")]
    for number in (1, 2):
        create_provider(ProviderFields(f"p{number}", "openai", "m", f"http://127.0.0.1:{number}/v1"), by=by)
    arms = [
        ArmChoice(version.template, version, Content(**version.content), provider)
        for version, provider in zip(versions, Provider.objects.all(), strict=True)
    ]
    details = {"by": by, "snapshot": live.load(), "inputs_from": "Foxes"}
    comparison = comparisons.start(
        "Old or new", PromptOperation.ENHANCE, [f"a fox, {n}" for n in range(inputs)], arms, **details
    )
    comparisons.pause(comparison, by=by)
    return comparison


HINT = """number => document.body.dispatchEvent(new CustomEvent("live:comparison", { detail: { number } }))"""


def trial(comparison: Comparison, number: int, arm: int) -> Trial:
    return comparison.trials.get(input__position=number - 1, arm__position=arm)


def test_arriving_answers_do_not_move_the_page(viewer, page_for, publish, administrator, pages: Pages) -> None:
    comparison = compared(publish, administrator)
    answer(trial(comparison, 1, 0), output=" ".join(["A red fox runs."] * 60))
    page = page_for(viewer, f"/compare/{comparison.pk}/")
    page.mouse.move(5, 5)
    page.keyboard.press("j")
    page.keyboard.press("e")
    row = page.locator("[data-row]").first
    expect(row).to_be_focused()
    expect(row).to_have_class(re.compile("expanded"))
    page.evaluate(HINT, comparison.pk)  # without news; the next hint follows within two seconds
    answer(trial(comparison, 1, 1), output="A blue fox.")
    page.evaluate(HINT, comparison.pk)
    # While somebody reads the list, a button offers the new answers.
    more = page.get_by_role("button", name="Show 1 new answer")
    expect(more).to_be_visible()
    expect(page.get_by_text("A blue fox.")).to_have_count(0)
    more.click()
    expect(row).to_contain_text("A blue fox.")
    marked = row.locator("ins")
    expect(marked).to_have_text("blue")
    assert marked.evaluate("word => getComputedStyle(word.parentElement).display") == "block"  # it stays in its line
    expect(row).to_have_class(re.compile("expanded"))
    expect(more).to_have_count(0)
    # While nobody reads the list, it updates itself.
    page.mouse.move(5, 5)
    page.evaluate("document.activeElement.blur()")
    answer(trial(comparison, 2, 0), output="A green fox.")
    page.evaluate(HINT, comparison.pk)
    expect(page.get_by_text("A green fox.")).to_be_visible()


@pytest.mark.parametrize("on_its_way", [False, True])
def test_nothing_moves_if_the_reader_comes_after_the_hint(
    on_its_way, viewer, page_for, publish, administrator, pages: Pages
) -> None:
    comparison = compared(publish, administrator)
    rows = Gate()
    page = page_for(viewer, f"/compare/{comparison.pk}/", routes={re.compile("news=rows"): rows})
    page.mouse.move(5, 5)
    if on_its_way:
        rows.once(lambda route: route.fulfill(response=late(route)))

    def late(route):
        """Return the server's response after somebody has begun to read the list."""
        page.locator("[data-row]").first.focus()
        answer(trial(comparison, 1, 0), output="A red fox runs.")
        return route.fetch()

    page.evaluate(HINT, comparison.pk)
    if not on_its_way:
        page.locator("[data-row]").first.focus()
        answer(trial(comparison, 1, 0), output="A red fox runs.")
    more = page.get_by_role("button", name="Show 1 new answer")
    expect(more).to_be_visible()
    expect(page.get_by_text("A red fox runs.")).to_have_count(0)
    more.press("Enter")
    expect(page.get_by_text("A red fox runs.")).to_be_visible()
    expect(more).to_have_count(0)


def test_continuous_hints_do_not_delay_updates_forever(viewer, page_for, publish, administrator, pages: Pages) -> None:
    comparison = compared(publish, administrator)
    page = page_for(viewer, f"/compare/{comparison.pk}/")
    page.mouse.move(5, 5)
    page.evaluate(f"number => setInterval(() => ({HINT})(number), 100)", comparison.pk)
    answer(trial(comparison, 1, 0), output="A red fox runs.")
    expect(page.get_by_text("A red fox runs.")).to_be_visible()
    # While somebody reads the list, new answers are offered but not shown.
    page.locator("[data-row]").first.hover()
    answer(trial(comparison, 1, 1), output="A blue fox.")
    expect(page.get_by_role("button", name="Show 1 new answer")).to_be_visible()


def test_inputs_and_pairs_by_keyboard_without_leaving_the_page(
    viewer, page_for, publish, administrator, pages: Pages
) -> None:
    comparison = compared(publish, administrator)
    page = page_for(viewer, f"/compare/{comparison.pk}/")
    page.evaluate("document.body.dataset.same = 1")
    rows = page.locator("[data-row]")
    expect(rows).to_have_count(6)
    page.keyboard.press("]")
    expect(rows).to_have_count(25)
    expect(page.locator("#more")).to_contain_text("Up to 25 of 25")
    for _ in range(8):
        page.keyboard.press("j")
    page.keyboard.press("o")
    page.wait_for_url("**/?pair=8*")
    pair = page.locator("#answers-title")
    added = page.locator(".htmx-added")  # for 20 ms, until their links work in place
    expect(pair).to_have_text("Input 8")
    expect(added).to_have_count(0)
    page.keyboard.press("k")
    expect(pair).to_have_text("Input 7")
    expect(added).to_have_count(0)
    page.keyboard.press("ArrowRight")
    expect(pair).to_have_text("Input 8")
    expect(added).to_have_count(0)
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_contain_text("Previous input")
    page.keyboard.press("Escape")
    page.keyboard.press("o")  # back to the answers, at this input
    expect(rows.first).to_contain_text("a fox, 7")
    expect(added).to_have_count(0)
    page.keyboard.press("[")
    expect(rows.first).to_contain_text("a fox, 0")
    expect(added).to_have_count(0)
    page.get_by_label("Search inputs and answers").fill("a fox, 24")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    assert page.evaluate("document.body.dataset.same") == "1"
    page.reload()
    expect(rows).to_have_count(1)


def test_progress_and_figures_follow_without_moving_what_is_read(
    viewer, page_for, publish, administrator, site, pages: Pages
) -> None:
    comparison = compared(publish, administrator, inputs=3)
    page = pages.connected(page_for(viewer, f"/compare/{comparison.pk}/"))
    top = page.locator("#verdict")
    expect(top).to_contain_text("0 of 6 trials")
    page.locator("[data-row]").first.hover()
    where = page.locator("#list").bounding_box()
    for number in (1, 2):
        answer(trial(comparison, number, 0), output="A red fox runs.")
        answer(trial(comparison, number, 1), output="A blue fox.")
        page.evaluate(HINT, comparison.pk)
        expect(top).to_contain_text(f"{2 * number} of 6 trials")
    expect(page.locator("#measures")).to_contain_text("Time, p95")
    expect(page.locator("#arms")).to_be_visible()
    assert page.locator("#list").bounding_box() == where


def test_a_release_shows_its_evidence(releaser, page_for, publish, administrator, pages: Pages) -> None:
    comparison = compared(publish, administrator, inputs=2)
    answer(trial(comparison, 1, 0), output="A red fox runs.")
    page = page_for(releaser, f"/compare/{comparison.pk}/")
    page.get_by_role("button", name="Show it").click()
    expect(page.get_by_role("button", name="Make v2 of enhance live")).to_be_disabled()
    page.get_by_role("button", name="Make v1 of enhance live").click()
    page.get_by_label("Note").fill("Shorter answers")
    page.locator("#review footer").get_by_role("button", name="Make v1 of enhance live").click()
    expect(page.locator("#toasts")).to_contain_text("v1 of enhance is live")
    expect(page.get_by_role("button", name="Make v1 of enhance live")).to_be_focused()
    page.goto(f"/revisions/{Release.objects.get(comparison=comparison).pk}/")
    expect(page.locator("dl.details").first).to_contain_text("1 answered")
    page.get_by_role("link", name="Old or new").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Old or new")


def test_the_report_prints_in_light_colors_without_clipping(actor, editor, page_for) -> None:
    comparison = compare(actor, arms=4)
    answer_all(comparison)
    for first, second in combinations(comparison.arms.all(), 2):
        for each in comparison.inputs.all():
            Vote.objects.create(
                comparison=comparison,
                input=each,
                first=first,
                second=second,
                user=editor,
                user_name=editor.name,
                choice="first",
                first_on_left=True,
            )
    Comparison.objects.update(state="done")
    page = page_for(editor, f"/compare/{comparison.pk}/report/")
    page.get_by_label("Theme", exact=True).click()
    page.get_by_role("button", name="Dark").click()
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 690, "height": 1000})  # A4 without the margins
    expect(page.get_by_role("heading", name="Votes", exact=True)).to_be_visible()
    expect(page.locator('nav[aria-label="Main"]')).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 28, 32)"
    wide = (
        "[...document.querySelectorAll('main, .card, table')].filter(it => it.scrollWidth > it.parentNode.clientWidth)"
    )
    assert page.evaluate(f"{wide}.map(it => it.className)") == []
