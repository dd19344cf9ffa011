"""The one review panel that every live-changing step passes: what changes, a note, who is affected, one button.

A form posts with htmx into `#review`. The view answers with `panel(...)` until the request carries `confirm`, which
the panel's button adds: it and the note belong to the page's own form (`form="..."`), so nothing that was typed,
a key for instance, is ever sent back to the page.
"""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django_htmx.http import HttpResponseClientRedirect

from promptops.web.request import AnyRequest

AFFECTED = "Connected servers switch within a second. Runs already started finish with the old version."


@dataclass(frozen=True)
class Change:
    """One line of the panel: a field's name, and what it was and will be, in words."""

    label: str
    before: Any
    after: Any


def confirmed(request: HttpRequest) -> bool:
    """Whether the person has seen the panel and pressed its button."""
    return "confirm" in request.POST


def note(request: HttpRequest) -> str:
    """The note that was typed into the panel, as it can be stored."""
    return request.POST.get("note", "").replace("\x00", "").strip()[:500]


def panel(
    request: HttpRequest,
    *,
    title: str,
    confirm: str,
    form_id: str,
    changes: list[Change] | None = None,
    old: str | None = None,
    new: str | None = None,
    affected: str = AFFECTED,
    error: str = "",
    danger: bool = False,
    template: str = "_review.html",
    **context: Any,
) -> HttpResponse:
    """The panel for `#review`. `old` and `new` are texts to show as a diff; `confirm` is the button's text.

    With `error` (a refused action) the status is 409, which htmx swaps in all the same.
    """
    context |= {
        "title": title,
        "confirm": confirm,
        "form_id": form_id,
        "changes": changes or [],
        "old": old,
        "new": new,
        "affected": affected,
        "error": error,
        "danger": danger,
        "note": note(request),
    }
    return render(request, template, context, status=409 if error else 200)


def done(request: AnyRequest, url: str, message: str, undo: str = "") -> HttpResponse:
    """To the page that shows the result, with a toast that says what happened; `undo` is where its button posts."""
    messages.success(request, message, extra_tags=undo)
    return HttpResponseClientRedirect(url) if request.htmx else redirect(url)
