"""`review.run`: every change of what is live, from the panel to its result."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.exceptions import ValidationError
from django.test import RequestFactory
from django.urls import reverse

from promptops.ledger import releases
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.web import review
from promptops.web.review import Change, ReviewedChange

pytestmark = pytest.mark.django_db


@dataclass
class Paint(ReviewedChange):
    """A change that counts the calls of its methods."""

    why_not: str = ""
    error: Exception | None = None
    applied: list[tuple[str, str]] = field(default_factory=list)
    previews: int = 0
    title = "Paint the wall"
    confirm = "Paint it"
    form_id = "wall"

    @property
    def page(self) -> str:
        return reverse("overview")

    def changes(self) -> list[Change]:
        return [Change("Color", "white", "red")]

    def preview(self) -> dict[str, Any]:
        self.previews += 1
        return {"affected": "Everybody sees it."}

    def refusal(self) -> str:
        return self.why_not

    def apply(self, *, by: Actor, note: str) -> None:
        if self.error:
            raise self.error
        self.applied.append((by.name, note))

    def result(self) -> str:
        return "The wall is red."

    def undo(self) -> str:
        return "Paint it white to undo."


@pytest.fixture
def request_of(client_for, releaser):
    """Return `request_of(**posted)`, which makes a request of a releaser as views get it."""

    def make(**posted: str):
        request = RequestFactory().post("/", posted)
        request.user, request.htmx = releaser, True
        request.session = client_for(releaser).session
        request._messages = CookieStorage(request)
        return request

    return make


def test_the_panel_shows_the_change_and_nothing_is_applied(request_of):
    change = Paint()
    response = review.run(request_of(note="why"), change)
    page = response.content.decode()
    assert response.status_code == 200
    assert all(words in page for words in ("Paint the wall", "Paint it", "white", "red", "Everybody sees it."))
    assert (change.applied, change.previews) == ([], 1)


def test_a_confirmed_change_is_applied_once_and_says_how_to_undo_it(request_of, releaser):
    change, request = Paint(), request_of(note=" because ", confirm="1")
    response = review.run(request, change)
    assert response["HX-Redirect"] == reverse("overview")
    assert change.applied == [(releaser.name, "because")]
    assert [str(message) for message in get_messages(request)] == ["The wall is red. Paint it white to undo."]
    assert change.previews == 0  # it may take long, and nobody would see it


@pytest.mark.parametrize("is_pinned", [True, False])
def test_only_a_change_of_what_sessions_keep_offers_to_apply_to_them(request_of, is_pinned):
    change = Paint()
    change.is_pinned = is_pinned
    assert ("override_pins" in review.run(request_of(), change).content.decode()) is is_pinned
    wanted = []
    change.apply = lambda **_: wanted.append(releases._overrides_pins.get())
    for box in ({"override_pins": "1"}, {}):
        review.run(request_of(confirm="1", **box), change)
    assert wanted == [is_pinned, False]
    assert not releases._overrides_pins.get()


@pytest.mark.parametrize("posted", [{}, {"confirm": "1"}])
def test_a_change_that_is_refused_before_is_never_applied(request_of, posted):
    change = Paint(why_not="The wall is wet.")
    response = review.run(request_of(**posted), change)
    assert response.status_code == 409
    assert "The wall is wet." in response.content.decode()
    assert change.applied == []


@pytest.mark.parametrize("error", [Refused("Somebody was faster."), ValidationError(["Somebody was", "faster."])])
def test_a_refusal_of_the_verb_is_shown_in_the_panel(request_of, error):
    response = review.run(request_of(confirm="1", note="why"), Paint(error=error))
    page = response.content.decode()
    assert response.status_code == 409
    assert "Somebody was faster." in page
    assert 'value="why"' in page  # the note is not lost


def test_other_errors_are_not_swallowed(request_of):
    with pytest.raises(RuntimeError):
        review.run(request_of(confirm="1"), Paint(error=RuntimeError("broken")))
