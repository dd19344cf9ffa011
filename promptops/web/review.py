"""The review panel of every change of what is live: what changes, a note, who is affected, one button.

A change of what is live is a subclass of `ReviewedChange`, in its feature; `run` shows, applies or refuses it. A form
posts with htmx into `#review`; the panel stays until the request carries `confirm`, which its button adds. Button and
note belong to the page's own form (`form="..."`), so no typed value, such as a key, is ever sent back to the page.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django_htmx.http import HttpResponseClientRedirect

from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.releases import overriding_pins
from promptops.web.access import actor
from promptops.web.request import AnyRequest, Request

SWITCHES = "Every server switches within a second. Runs already started finish with the old configuration."
RECIPIENTS: list[Callable[[], str]] = []
"""Return a sentence about who gets a release, or "". Features add theirs in `AppConfig.ready`."""


def affected_by_release() -> str:
    """Return who gets a release, and when."""
    return " ".join(filter(None, [SWITCHES, *(sentence_of() for sentence_of in RECIPIENTS)]))


@dataclass(frozen=True)
class Change:
    """One line of the panel: a field's label, with its values before and after, in words.

    Those of a text (`is_text`) are shown as a difference, line by line.
    """

    label: str
    before: Any
    after: Any
    is_text: bool = field(default=False, kw_only=True)


class ReviewedChange:
    """A change of what is live: what the panel shows of it, how it is applied, and how a person undoes it.

    Subclasses override what differs and hold the wanted values in their fields. Nothing changes before `apply`.
    """

    form_id: str = ""
    """The form that the panel's button submits."""
    template: str = "_review.html"
    is_pinned: bool = False
    """Pinned sessions keep what this changes (`engine.pins`), so the panel offers to change it for them too."""

    @property
    def title(self) -> str:
        """The heading of the panel."""
        raise NotImplementedError

    @property
    def confirm(self) -> str:
        """The panel's button: a verb with its object."""
        raise NotImplementedError

    @property
    def page(self) -> str:
        """The address of the page that shows the result."""
        raise NotImplementedError

    @property
    def affected(self) -> str:
        """A sentence about who is affected."""
        return affected_by_release()

    def changes(self) -> list[Change]:
        """Return the fields that change, with their values before and after."""
        return []

    def texts(self) -> tuple[str | None, str | None]:
        """Return the texts before and after, shown as a difference; None if no text changes."""
        return None, None

    def details(self) -> dict[str, Any]:
        """Return further context of the panel's template."""
        return {}

    def preview(self) -> dict[str, Any]:
        """Return context of the panel before the confirmation only, such as figures that take long to compute."""
        return {}

    def refusal(self) -> str:
        """Return why this cannot be applied, as far as that is known before; "" if it can."""
        return ""

    def apply(self, *, by: Actor, note: str) -> None:
        """Change what is live with one verb. Raises Refused or ValidationError."""
        raise NotImplementedError

    def result(self) -> str:
        """Return a sentence that says what happened. Called after `apply`."""
        raise NotImplementedError

    def undo(self) -> str:
        """Return a sentence that says how to undo it; "" if nothing can."""
        return ""

    def shown(self) -> dict[str, Any]:
        """Return the panel's content."""
        old, new = self.texts()
        return {
            "title": self.title,
            "confirm": self.confirm,
            "form_id": self.form_id,
            "template": self.template,
            "affected": self.affected,
            "is_pinned": self.is_pinned,
            "changes": self.changes(),
            "old": old,
            "new": new,
            **self.details(),
        }

    def refused(self, request: Request, error: str) -> HttpResponse:
        """Return the panel with the reason why this was not applied."""
        return panel(request, error=error, **self.shown())

    def finish(self, request: Request) -> HttpResponse:
        """Redirect to the page that shows the result. Called after `apply`."""
        return done(request, self.page, f"{self.result()} {self.undo()}".strip())


def run(request: Request, change: ReviewedChange) -> HttpResponse:
    """Show the panel of a change, apply a confirmed change, or show why it is refused."""
    if why_not := change.refusal():
        return change.refused(request, why_not)
    try:
        if not confirmed(request):
            return panel(request, **{**change.shown(), **change.preview()})
        with overriding_pins(change.is_pinned and overrides_pins(request)):
            change.apply(by=actor(request), note=note(request))
    except (Refused, ValidationError) as error:
        return change.refused(request, sentence(error))
    return change.finish(request)


def sentence(error: Refused | ValidationError) -> str:
    """Return the messages of an error, as sentences."""
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)


def confirmed(request: Request) -> bool:
    """Return whether the person has seen the panel and pressed its button."""
    return "confirm" in request.POST


def note(request: Request) -> str:
    """Return the note that was typed into the panel, as it can be stored."""
    return request.POST.get("note", "").replace("\x00", "").strip()[:500]


def overrides_pins(request: Request) -> bool:
    """Return whether the person wants the release to apply to pinned sessions too."""
    return "override_pins" in request.POST


def panel(
    request: Request,
    *,
    title: str,
    confirm: str,
    form_id: str,
    changes: list[Change] | None = None,
    old: str | None = None,
    new: str | None = None,
    affected: str | None = None,
    error: str = "",
    danger: bool = False,
    is_pinned: bool = False,
    template: str = "_review.html",
    **context: Any,
) -> HttpResponse:
    """Return the panel for `#review`. `old` and `new` are texts to show as a difference; `confirm` is the button.
    Without `affected`, the panel says who gets a release; without `note`, it repeats the typed one. With `is_pinned`,
    it offers to apply the release to pinned sessions too.

    With `error` (a refused action) the status is 409, which htmx swaps in too.
    """
    shown = {
        "title": title,
        "confirm": confirm,
        "form_id": form_id,
        "changes": changes or [],
        "old": old,
        "new": new,
        "affected": affected_by_release() if affected is None else affected,
        "error": error,
        "danger": danger,
        "is_pinned": is_pinned,
        "override_pins": overrides_pins(request),
        "note": note(request),
    }
    return render(request, template, shown | context, status=409 if error else 200)


def done(request: AnyRequest, url: str, message: str, undo: str = "") -> HttpResponse:
    """Redirect to the page that shows the result, with a toast. `undo` is the address to which its button posts."""
    messages.success(request, message, extra_tags=undo)
    return HttpResponseClientRedirect(url) if request.htmx else redirect(url)
