"""The last part of every sign-in with a password or a one-time link: a session, or first the second step.

Until the second step is passed, the browser's session holds only who is about to sign in, and signs nobody in.
"""

import time
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, resolve_url
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme

from promptops.people.models import SecondStep, User

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
MAX_NEXT = 2000
"""Characters of the address to go to after signing in; Django redirects to at most 2,048."""
WAITS_SECONDS = 600
"""Seconds that a person may take for the second step."""
_KEY = "entering"


@dataclass(frozen=True)
class Entering:
    """A person who has given the right password or link, and where they go after the second step."""

    user: User
    target: str


def enter(request: HttpRequest, user: User, target: str) -> HttpResponse:
    """Sign a person in and go to `target`, or ask for their second step first, or let them set it up."""
    has_second_step = SecondStep.objects.filter(user=user).exists()
    if not has_second_step and user.role not in settings.TOTP_REQUIRED:
        login(request, user, backend=MODEL_BACKEND)
        return HttpResponseRedirect(target)
    if request.user.is_authenticated:
        logout(request)
    request.session[_KEY] = {
        "user": user.pk,
        "hash": user.get_session_auth_hash(),
        "target": target,
        "until": time.time() + WAITS_SECONDS,
    }
    return redirect("second_step" if has_second_step else "second_step_setup")


def entering(request: HttpRequest) -> Entering | None:
    """Return who is about to sign in here, or None. A changed password or a deactivation ends the attempt."""
    waiting = request.session.get(_KEY)
    if not waiting or waiting["until"] < time.time():
        return None
    user = User.objects.filter(pk=waiting["user"], is_active=True).first()
    if user is None or not constant_time_compare(user.get_session_auth_hash(), waiting["hash"]):
        return None
    return Entering(user, waiting["target"])


def finish(request: HttpRequest, attempt: Entering) -> None:
    """Sign in the person who has passed the second step."""
    request.session.pop(_KEY, None)
    login(request, attempt.user, backend=MODEL_BACKEND)


def safe_next(request: HttpRequest) -> str:
    """Return the path on this server that `next` names, or that of the overview."""
    return safe_target(request, request.POST.get("next") or request.GET.get("next") or "")


def safe_target(request: HttpRequest, target: str) -> str:
    """Return `target` if it is a path on this server, otherwise that of the overview.

    Only a path: Django's `redirect` takes anything else for the name of a view, and raises if that view does not exist.
    """
    safe = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    plain = target[:1] == "/" != target[1:2] and len(target) <= MAX_NEXT and target.isprintable()
    return target if safe and plain else resolve_url(settings.LOGIN_REDIRECT_URL)
