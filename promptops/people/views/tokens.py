"""The Tokens page: the tokens of machines, their scopes, use and end. The text of a token is shown once."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from promptops.ledger.errors import Refused
from promptops.people import queries
from promptops.people.actions import tokens as actions
from promptops.people.enums import Permission, Scope
from promptops.people.forms import RotationForm, TokenForm
from promptops.people.models import Token
from promptops.platform.pages import numbered
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import actor, part_of, requires
from promptops.web.request import Request

TOKENS = 50
"""Rows on a page."""


@requires(Permission.ADMINISTER)
def index(request: Request) -> HttpResponse:
    """Show the tokens; for an htmx request only the list."""
    rows = queries.tokens(timezone.now())
    context = {
        "window": numbered(rows, whole_number(request.GET.get("page")), size=TOKENS),
        "form": TokenForm(),
        "scopes": Scope,
    }
    return render(request, "site/settings/_tokens.html" if request.htmx else "site/settings/tokens.html", context)


@requires(Permission.ADMINISTER)
@require_POST
def make(request: Request) -> HttpResponse:
    """Make a token and show its text, once."""
    form = TokenForm(request.POST)
    title = "Make a token"
    if not form.is_valid():
        return _refused(request, title, " ".join(_sentences(form)))
    facts = form.cleaned_data
    try:
        token, text = actions.make_token(
            facts["name"], facts["scopes"], by=actor(request), server=facts["server"], days=facts["days"]
        )
    except (Refused, ValidationError) as error:
        return _refused(request, title, review.sentence(error))
    return _show_text(request, token, text, f"The token {token.name} works now.")


@requires(Permission.ADMINISTER)
@part_of("tokens")
def rotate(request: Request, pk: int) -> HttpResponse:
    """Show the panel of a rotation, then make the new token and show its text, once."""
    token = get_object_or_404(Token, pk=pk)
    form = RotationForm(request.POST or None, auto_id="rotation_%s")  # the form behind has days, too
    content: dict[str, Any] = {
        "title": f"Rotate {token.name}",
        "confirm": "Make the new token",
        "form_id": "rotation-form",
        "affected": "Both tokens work until the old one expires. Give the new one to your machines in that time.",
        "template": "site/settings/_rotation.html",
        "token": token,
        "form": form,
        "without_note": True,
    }
    if request.method != "POST":
        return review.panel(request, **content)
    if not form.is_valid():
        return review.panel(request, error=" ".join(_sentences(form)), **content)
    try:
        newer, text = actions.rotate_token(token, by=actor(request), **form.cleaned_data)
    except (Refused, ValidationError) as error:
        return review.panel(request, error=review.sentence(error), **content)
    days = form.cleaned_data["overlap_days"]
    until = f"The old token works for {days} more day{'s' * (days != 1)}." if days else "The old token has expired."
    return _show_text(request, newer, text, f"The new token {newer.name} works now. {until}")


@requires(Permission.ADMINISTER)
@require_POST
def revoke(request: Request, pk: int) -> HttpResponse:
    """Show the panel of a revocation, then revoke the token."""
    token = get_object_or_404(Token, pk=pk)
    words = queries.words_of(token, queries.is_rotated(token))
    content: dict[str, Any] = {
        "title": f"Revoke {words}",
        "confirm": f"Revoke {words}",
        "form_id": "revocation-form",
        "affected": "Its connections end at once, and its requests are refused. This cannot be undone.",
        "danger": True,
        "template": "_review_form.html",
        "action": reverse("token_revoke", args=[pk]),
        "values": [],
    }
    if not review.confirmed(request):
        return review.panel(request, **content)
    try:
        actions.revoke_token(token, by=actor(request), note=review.note(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **content)
    return review.done(request, reverse("tokens"), f"{words[0].upper()}{words[1:]} is revoked.")


def _sentences(form: Any) -> list[str]:
    return [f"{form.fields[name].label}: {text}" for name, texts in form.errors.items() for text in texts]


def _show_text(request: Request, token: Token, text: str, sentence: str) -> HttpResponse:
    """Show the text of a token in a dialog, the only place where it ever appears."""
    context = {"title": f"Token {token.name}", "text": text, "sentence": sentence}
    return render(request, "site/settings/_token_text.html", context)


def _refused(request: Request, title: str, sentence: str) -> HttpResponse:
    return render(request, "site/settings/_refused.html", {"title": title, "error": sentence}, status=409)
