"""Helpers of the tests of the editor's page: its fields, its drafts, and errors that tests cause on purpose."""

from django.contrib.sessions.models import Session
from playwright.sync_api import Locator, Page, Route

from tests.browser.conftest import Gate

# Console messages when a test breaks something on purpose.
LOST = r"WebSocket|ERR_INTERNET_DISCONNECTED|ERR_CONNECTION|\[object Event\]|htmx:sendError|htmx:afterRequest"
BROKEN = r"status of 500|Status Error Code 500"


def body(page: Page):
    return page.get_by_label("System prompt")


def saved(page: Page):
    return page.locator("[data-save-state]")


def stop_typing(page: Page) -> None:
    """Let the two seconds pass in which a page takes nobody away who types; needs `page.clock.install()`.

    They pass for the delay of the autosave, too. If the page learns of the end of the session later, it goes at once.
    """
    page.clock.fast_forward(2_000)


def undo(page: Page) -> None:
    """Press *Undo* on a page that has just come; its button needs the scripts, which run before it has loaded."""
    page.wait_for_load_state()
    page.get_by_role("button", name="Undo").click()


def put_back(page: Page, text: str) -> None:
    """Restore the discarded draft that contains `text`."""
    page.get_by_role("button", name="discarded draft").click()
    panel = page.get_by_role("dialog", name="Review")
    panel.get_by_role("article").filter(has_text=text).get_by_role("button", name="Restore").click()


def expire(gate: Gate) -> None:
    """End all sessions as the page sends its next request through the gate: it cannot hear of it from any other."""

    def end(route: Route) -> None:
        Session.objects.all().delete()
        route.continue_()

    gate.once(end)


def answers(page: Page) -> Locator:
    """Return the cards of "Try it" as the page shows them: pinned ones first, then the newest."""
    return page.locator("#try-result .answer")


def answer_text(page: Page) -> Locator:
    """Return the text of the newest answer of "Try it" that is not pinned."""
    return page.locator("#try-list .answer").first.locator("[id$=-text]")
