"""The pages of single sign-on: to the identity provider, back from it, and out."""

import logging
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import login, logout
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from promptops.people import openid
from promptops.people.actions import sign_on
from promptops.people.backends import SIGN_ON_BACKEND
from promptops.people.enums import Permission
from promptops.people.views.entering import safe_next, safe_target
from promptops.platform.addresses import client_address
from promptops.web.access import public, requires

log = logging.getLogger(__name__)

ATTEMPTS_COOKIE = "oidc"
ATTEMPT_SECONDS = 600
MOST_ATTEMPTS = 3
"""Sign-ins that one browser may have begun at once, in several tabs."""
MAX_NEXT = 600
"""Characters of the address to come back to, of each attempt: a browser keeps at most 4 KB of a cookie."""
HINT = "oidc_id_token"
"""The key in the session of the ID token, which the provider wants to see at sign-out."""


@public
@never_cache
@require_GET
def start(request: HttpRequest) -> HttpResponse:
    """Go to the identity provider. A signed cookie, not the database, remembers the attempt: anybody can begin one."""
    target = safe_next(request)
    if not settings.OIDC_ISSUER:
        return redirect("sign_in")
    if request.user.is_authenticated:
        return HttpResponseRedirect(target)
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    try:
        url = openid.authorization_url(_callback_url(request), state=state, nonce=nonce, verifier=verifier)
    except openid.SignOnFailed as failed:
        return _failed(request, str(failed), target, status=503)
    kept = target if len(target) <= MAX_NEXT else safe_target(request, "")
    attempts = {**_attempts(request), state: {"nonce": nonce, "verifier": verifier, "next": kept}}
    response = HttpResponseRedirect(url)
    _remember(response, dict(list(attempts.items())[-MOST_ATTEMPTS:]))
    return response


@public
@never_cache
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Sign in the person whom the provider sends back, once, and go to the page that asked for it."""
    attempts = _attempts(request)
    attempt = attempts.pop(request.GET.get("state", ""), None)
    if attempt is None:
        sentence = "This sign-in took too long, was used already, or began in another browser. Start again."
        return _failed(request, sentence, "", status=410)
    target = safe_target(request, attempt["next"])
    response = _answer(request, attempt, target)
    _remember(response, attempts)
    return response


def _answer(request: HttpRequest, attempt: dict[str, str], target: str) -> HttpResponse:
    issuer = request.GET.get("iss")  # RFC 9207
    if issuer and not constant_time_compare(issuer.rstrip("/"), settings.OIDC_ISSUER.rstrip("/")):
        return _failed(request, "Another identity provider answered. Start again.", target, status=403)
    if error := request.GET.get("error"):
        return _failed(request, _denied(error), target, status=403)
    address = client_address(request)
    try:
        signed_on = openid.signed_on(
            request.GET.get("code", ""), _callback_url(request), nonce=attempt["nonce"], verifier=attempt["verifier"]
        )
        user = sign_on.person_of(signed_on, address=address)
    except openid.TokenRefused as refused:
        sign_on.record_refusal(refused.reason, address=address)
        return _failed(request, str(refused), target, status=403)
    except openid.ProviderUnavailable as failed:
        return _failed(request, str(failed), target, status=503)
    except (openid.SignOnFailed, sign_on.SignOnRefused) as refused:
        return _failed(request, str(refused), target, status=403)
    login(request, user, backend=SIGN_ON_BACKEND)
    request.session[HINT] = signed_on.id_token
    return HttpResponseRedirect(target)


@requires(Permission.READ)
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session. If it began by single sign-on, go to where the provider ends its own session.

    By a page, not a redirect: the content security policy lets no form lead to another site.
    """
    id_token = request.session.get(HINT)
    logout(request)
    if id_token is not None and settings.OIDC_ISSUER:
        url = openid.sign_out_url(id_token, request.build_absolute_uri(reverse("sign_in")))
        if url:
            context = {"url": url, "provider": settings.OIDC_NAME}
            return render(request, "people/auth/signed_out.html", context)
    return redirect("sign_in")


def _callback_url(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("oidc_callback"))


def _attempts(request: HttpRequest) -> dict[str, Any]:
    """Return the attempts of this browser by their state."""
    try:
        attempts = signing.loads(
            request.COOKIES.get(ATTEMPTS_COOKIE, ""), salt=ATTEMPTS_COOKIE, max_age=ATTEMPT_SECONDS
        )
    except signing.BadSignature:
        return {}
    return dict(attempts)


def _remember(response: HttpResponse, attempts: dict[str, Any]) -> None:
    if not attempts:
        response.delete_cookie(ATTEMPTS_COOKIE, path=reverse("sign_in"), samesite="Lax")
        return
    response.set_cookie(
        ATTEMPTS_COOKIE,
        signing.dumps(attempts, salt=ATTEMPTS_COOKIE, compress=True),
        max_age=ATTEMPT_SECONDS,
        path=reverse("sign_in"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _denied(error: str) -> str:
    if error == "access_denied":
        return "The identity provider did not let you in, or you canceled. Start again, or ask an administrator."
    code = error if error.replace("_", "").isalnum() and error.isascii() and len(error) <= 60 else "unknown error"
    log.warning("The identity provider sent the error %s.", code)
    return f"The identity provider reported a problem ({code}). Start again. If it happens again, ask an administrator."


def _failed(request: HttpRequest, sentence: str, target: str, *, status: int) -> HttpResponse:
    context = {"reason": sentence, "next": target, "provider": settings.OIDC_NAME}
    return render(request, "people/auth/sign_on_failed.html", context, status=status)
