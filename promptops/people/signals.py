"""Receivers that record sign-ins, sign-outs and failures in the audit: these happen inside Django and django-axes."""

from typing import Any

from axes.signals import user_locked_out
from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver

from promptops.people.actions import accounts, sign_on
from promptops.people.backends import SIGN_ON_BACKEND
from promptops.people.browsers import browser_name
from promptops.platform.addresses import client_address


@receiver(user_logged_in)
def signed_in(request: Any, user: Any, **kwargs: Any) -> None:
    if request.session.session_key is None:  # another person was signed in here; the new session has no key yet
        request.session.cycle_key()
    is_signed_on = request.session[BACKEND_SESSION_KEY] == SIGN_ON_BACKEND
    (sign_on.record_sign_on if is_signed_on else accounts.record_sign_in)(
        user,
        address=client_address(request),
        session_key=request.session.session_key,
        browser=browser_name(request.headers.get("User-Agent", "")),
    )


@receiver(user_logged_out)
def signed_out(request: Any, user: Any, **kwargs: Any) -> None:
    if user is not None:
        accounts.record_sign_out(user, address=client_address(request))


@receiver(user_login_failed)
def sign_in_failed(credentials: dict[str, Any], request: Any = None, **kwargs: Any) -> None:
    if getattr(request, "axes_locked_out", False):
        return  # nothing was tried; the lockout itself is recorded below
    address = client_address(request) if request is not None else ""
    accounts.record_failed_sign_in(str(credentials.get("username", "")), address=address)


@receiver(user_locked_out)
def locked_out(request: Any, username: str | None, ip_address: str | None, **kwargs: Any) -> None:
    name = request.POST.get("username") or getattr(request.user, "username", "")
    accounts.record_lockout(name, address=client_address(request))
