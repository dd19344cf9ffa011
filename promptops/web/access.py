"""Access to pages: every view is `requires(...)` or `public`, and one test walks all addresses to prove it.

Which role has which permission is in `promptops.people.permissions`.
"""

import hashlib
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, cast
from urllib.parse import urlsplit, urlunsplit

from django.contrib.auth.views import redirect_to_login
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django_htmx.http import HttpResponseClientRedirect

from promptops.ledger.actions.trail import record_refusal
from promptops.ledger.audit import Actor
from promptops.live import polling
from promptops.people.actions import accounts
from promptops.people.enums import Permission
from promptops.people.models import canonical_username
from promptops.people.permissions import roles_with
from promptops.platform import outages
from promptops.platform.addresses import client_address
from promptops.platform.requests import facts
from promptops.web.request import AnyRequest, Request

log = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]


class MarkedView(Protocol):
    """A view with the notes of its decorators, which the server reads before it calls the view."""

    permission: Permission | None
    file_limit: int  # in bytes
    hashes_password: bool
    is_part: bool

    def __call__(self, *args: Any, **kwargs: Any) -> HttpResponseBase: ...


def requires(permission: Permission) -> Callable[[View], MarkedView]:
    """Let the view run for people whose role has `permission`. Others sign in first, or get 403."""

    def decorate(view: View) -> MarkedView:
        @wraps(view)
        def guarded(request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return _to_sign_in(request)
            facts().person = request.user.pk
            if not request.user.may(permission):
                raise refused(request, permission)
            _seen(request)
            if not request.htmx:
                # Before the view reads anything, so that a release in between is news to the page.
                request.heads = polling.heads()
            return view(request, *args, **kwargs)

        marked = cast("MarkedView", never_cache(guarded))
        marked.permission = permission
        return marked

    return decorate


def part_of(page: str, *names: str) -> Callable[[View], MarkedView]:
    """Let the view return its part of a page to htmx only; who opens its address comes to the page.

    `names` are those arguments of the view that the address of the page has, too.
    """

    def decorate(view: View) -> MarkedView:
        @wraps(view)
        def answer(request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method in ("GET", "HEAD") and not request.htmx:
                return redirect(page, **{name: kwargs[name] for name in names})
            return view(request, *args, **kwargs)

        marked = cast("MarkedView", answer)
        marked.is_part = True
        return marked

    return decorate


def public(view: View) -> MarkedView:
    """Mark a view as open to everybody."""
    marked = cast("MarkedView", view)
    marked.permission = None
    return marked


def takes_file(limit: int) -> Callable[[View], MarkedView]:
    """Mark a view whose form holds a file of at most `limit` bytes; the server refuses longer requests unread."""

    def decorate(view: View) -> MarkedView:
        marked = cast("MarkedView", view)
        marked.file_limit = limit
        return marked

    return decorate


def hashes_password(view: View) -> MarkedView:
    """Mark a view whose form hashes a password; such forms wait apart from pages (promptops.web.workers)."""
    marked = cast("MarkedView", view)
    marked.hashes_password = True
    return marked


def refused(request: Request, permission: Permission) -> PermissionDenied:
    """Return the exception to raise for a person whose role does not have `permission`.

    Record the refusal in the audit, or in the log if the audit cannot be written.
    """
    try:
        with outages.short_wait():
            record_refusal(
                request.resolver_match.view_name if request.resolver_match else "",
                by=actor(request),
                method=(request.method or "")[:20],
                permission=permission,
                path=request.path,
            )
    except Error as error:  # the person is refused even if the audit cannot be written
        if outages.kind(error) is None:
            raise
        log.warning("A refusal of %s could not be recorded in the audit.", request.path, exc_info=error)
    return PermissionDenied(refusal(permission))


def refusal(permission: Permission) -> str:
    """Return the sentence for a person whose role does not have `permission`."""
    roles = [f"{role.label.lower()}s" for role in roles_with(permission)]
    listed = roles[0] if len(roles) == 1 else f"{', '.join(roles[:-1])} and {roles[-1]}"
    return f"Only {listed} can do this. Ask an administrator to change your role."


def actor(request: Request) -> Actor:
    """Return the signed-in person, with the address they come from, as the audit records them."""
    return Actor.person(request.user, client_address(request))


def _seen(request: HttpRequest) -> None:
    """Record when this session was last used. The process's cache limits this to one statement in SEEN_EVERY."""
    key = request.session.session_key or ""
    if not cache.add(f"seen:{key}", 1, timeout=accounts.SEEN_EVERY.total_seconds()):
        return
    try:
        with outages.short_wait():
            accounts.session_seen(key, address=client_address(request))
    except Error as error:  # pages can be read even if nothing can be written
        if outages.kind(error) is None:
            raise
        log.warning("Could not record when a session was last used.", exc_info=error)


def _to_sign_in(request: AnyRequest) -> HttpResponse:
    """Redirect to the sign-in page, which leads back. For an htmx request, the whole page is redirected."""
    if request.htmx:
        try:
            came_from = request.htmx.current_url_abs_path or reverse("overview")
        except ValueError:  # a client can send any header
            came_from = reverse("overview")
        return HttpResponseClientRedirect(redirect_to_login(came_from).url)
    return redirect_to_login(request.get_full_path() if request.method == "GET" else _page_of_form(request))


def _page_of_form(request: HttpRequest) -> str:
    """Return the page that a form was sent from, where the browser still has the typed text, or the overview."""
    try:
        came_from = urlsplit(request.headers.get("Referer", ""))
    except ValueError:  # a client can send any header
        return reverse("overview")
    if came_from.netloc != request.get_host() or not came_from.path.startswith("/"):
        return reverse("overview")
    return urlunsplit(("", "", came_from.path, came_from.query, ""))


def username_key(request: HttpRequest | None, credentials: dict[str, Any] | None = None) -> str:
    """Return the name under which failed sign-ins are counted: a hash, as people type passwords into the wrong field.

    An account has one spelling. Invalid user names are never tried; all of them share one count.
    """
    typed = (credentials or {}).get("username") or (request.POST.get("username") if request is not None else "") or ""
    return hashlib.sha256(canonical_username(str(typed)).encode()).hexdigest()
