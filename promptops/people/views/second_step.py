"""The pages of the second step: typing a code at sign-in, setting it up, and one's own settings of it."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from promptops.ledger.errors import Refused, Stale
from promptops.people import one_time_codes, queries
from promptops.people.actions import second_step as actions
from promptops.people.enums import Permission
from promptops.people.forms import CodeForm, TurnOffForm
from promptops.people.models import User
from promptops.people.views.entering import entering, finish
from promptops.platform import crypto
from promptops.platform.addresses import client_address
from promptops.web.access import actor, hashes_password, public, requires
from promptops.web.request import Request

_OFFERED = "second_step_secret"
"""The key in the session of a secret that no code has confirmed yet; it is encrypted there, too."""
FEW_CODES = 3


@public
@never_cache
@sensitive_post_parameters()
def code(request: HttpRequest) -> HttpResponse:
    """Ask a person who has given the right password for a code, then sign them in."""
    attempt = entering(request)
    if attempt is None:
        return redirect("sign_in")
    form = CodeForm(request.POST or None)
    form.fields["code"].widget.attrs["autofocus"] = True
    if request.method == "POST" and form.is_valid():
        try:
            left = _accept(attempt.user, form.cleaned_data["code"], client_address(request))
        except actions.TooManyCodes as refused:
            return render(request, "429.html", {"reason": str(refused)}, status=429)
        except Refused as refused:
            form.add_error("code", str(refused))
        else:
            finish(request, attempt)
            if left is not None and left <= FEW_CODES:
                messages.warning(request, f"{left} recovery codes are left. Make new ones under Second step.")
            return HttpResponseRedirect(attempt.target)
    return render(request, "people/second_step/code.html", {"form": form}, status=422 if form.is_bound else 200)


@public
@never_cache
@sensitive_post_parameters()
def setup(request: HttpRequest) -> HttpResponse:
    """Let a person whose role requires it set up the second step at sign-in, and sign them in."""
    attempt = entering(request)
    if attempt is None:
        return redirect("sign_in")
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        codes = _turn_on(request, attempt.user, form)
        if codes is not None:
            finish(request, attempt)
            return _codes_page(request, codes, target=attempt.target, page="base_bare.html")
    return _setup_page(request, attempt.user, form, page="base_bare.html")


@requires(Permission.READ)
@sensitive_post_parameters()
def own(request: Request) -> HttpResponse:
    """Show one's own second step: how to turn it on, or what of it can be changed."""
    form = CodeForm(request.POST or None)
    present = queries.second_step(request.user)
    if present is not None or not request.user.has_usable_password():
        return _own_page(request)
    if request.method == "POST" and form.is_valid():
        codes = _turn_on(request, request.user, form)
        if codes is not None:
            return _codes_page(request, codes, target=reverse("second_step_own"))
    return _setup_page(request, request.user, form, page="base.html")


@requires(Permission.READ)
@require_POST
@hashes_password
@sensitive_post_parameters()
def turn_off(request: Request) -> HttpResponse:
    """Turn off one's own second step, with the password and a code."""
    form = TurnOffForm(request, request.POST)
    if form.is_valid():
        try:
            _accept(request.user, form.cleaned_data["code"], client_address(request))
            actions.turn_off(request.user, by=actor(request))
        except Refused as refused:
            form.add_error("code", str(refused))
        else:
            messages.success(request, "Your second step is off. You sign in with your password alone.")
            return redirect("second_step_own")
    return _own_page(request, off=form)


@requires(Permission.READ)
@require_POST
@sensitive_post_parameters()
def new_codes(request: Request) -> HttpResponse:
    """Replace one's own recovery codes, with a code of the app, and show the new ones, once."""
    form = CodeForm(request.POST, prefix="new")
    if form.is_valid():
        try:
            _accept(request.user, form.cleaned_data["code"], client_address(request))
            codes = actions.make_recovery_codes(request.user, by=actor(request))
            return _codes_page(request, codes, target=reverse("second_step_own"))
        except Refused as refused:
            form.add_error("code", str(refused))
    return _own_page(request, new=form)


def _accept(user: User, typed: str, address: str) -> int | None:
    """Accept a code of either kind. Return how many recovery codes are left if it was one of them."""
    plain = one_time_codes.plain_code(typed)
    if plain.isdecimal():
        actions.check_code(user, plain, address=address)
        return None
    return actions.use_recovery_code(user, plain, address=address)


def _secret(request: HttpRequest) -> str:
    """Return the secret that this session offers, so that a page that is loaded again shows the same one."""
    try:
        return crypto.decrypt(request.session[_OFFERED])
    except (KeyError, crypto.UnreadableSecret):
        secret = one_time_codes.new_secret()
        request.session[_OFFERED] = crypto.encrypt(secret)
        return secret


def _turn_on(request: HttpRequest, user: User, form: CodeForm) -> list[str] | None:
    """Turn on the second step and return the recovery codes; None if the form shows why not."""
    try:
        codes = actions.turn_on(user, _secret(request), form.cleaned_data["code"], address=client_address(request))
    except (Refused, Stale) as refused:
        form.add_error("code", ValidationError(str(refused)))
        return None
    request.session.pop(_OFFERED, None)
    return codes


def _setup_page(request: HttpRequest, user: User, form: CodeForm, *, page: str) -> HttpResponse:
    secret = _secret(request)
    context = {
        "page": page,
        "form": form,
        "qr": one_time_codes.qr_code(one_time_codes.app_address(secret, user.username)),
        "secret": " ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
        "username": user.username,
    }
    return render(request, "people/second_step/setup.html", context, status=422 if form.is_bound else 200)


def _codes_page(request: HttpRequest, codes: list[str], *, target: str, page: str = "base.html") -> HttpResponse:
    context = {"codes": "\n".join(codes), "next": target, "page": page}
    return render(request, "people/second_step/recovery_codes.html", context)


def _own_page(request: Request, *, off: TurnOffForm | None = None, new: CodeForm | None = None) -> HttpResponse:
    context: dict[str, Any] = {
        "second_step": queries.second_step(request.user),
        "off": off or TurnOffForm(request),
        "new": new or CodeForm(prefix="new"),
    }
    status = 422 if (off or new) is not None else 200
    return render(request, "people/second_step/index.html", context, status=status)
