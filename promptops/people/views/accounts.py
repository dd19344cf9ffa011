"""The pages of signing in and out, of one-time links, and of one's own password."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from promptops.people.actions import accounts
from promptops.people.actions.accounts import LinkUsed
from promptops.people.browsers import browser_name
from promptops.people.enums import LinkPurpose, Permission, Role
from promptops.people.forms import JoinForm, OwnPasswordForm, PasswordForm, SignInForm
from promptops.people.models import OneTimeLink, User, canonical_username
from promptops.people.new_accounts import account_errors
from promptops.platform.addresses import client_address
from promptops.web.access import hashes_password, public, requires
from promptops.web.request import Request

MAX_NEXT = 2000
"""Characters of the address to go to after signing in; Django redirects to at most 2,048."""
ACCOUNT_FIELDS = ("username", "name", "password")
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


@public
@never_cache
@hashes_password
@sensitive_post_parameters()
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign a person in by user name and password, then go back to the page that asked for it."""
    target = _safe_next(request)
    if request.user.is_authenticated:
        return HttpResponseRedirect(target)
    typed = canonical_username(request.POST.get("username", ""))
    if typed and accounts.too_many_failures(typed, client_address(request)):
        return locked_out(request)
    form = SignInForm(request, data=request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.get_user())
        return HttpResponseRedirect(target)
    status = 422 if form.is_bound else 200
    context = {
        "form": form,
        "next": target,
        "has_ended": "ended" in request.GET,
        "is_set_up": User.objects.exists(),
    }
    return render(request, "people/auth/sign_in.html", context, status=status)


def locked_out(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Return 429: too many failures for one name from one address (django-axes calls this), or for one address."""
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    reason = f"Too many failed sign-ins. Wait {minutes} minutes, then try again."
    return render(request, "429.html", {"reason": reason}, status=429)


@requires(Permission.READ)
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return redirect("sign_in")


@public
@never_cache
@hashes_password
@sensitive_post_parameters()
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """Create the first administrator, with the link that `make run` prints."""
    return _join(request, token, LinkPurpose.SETUP, "people/auth/setup.html")


@public
@never_cache
@hashes_password
@sensitive_post_parameters()
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Create an account, with an administrator's invitation."""
    return _join(request, token, LinkPurpose.JOIN, "people/auth/join.html")


@public
@never_cache
@hashes_password
@sensitive_post_parameters()
def password_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """Set a new password, with a link from an administrator or from `manage.py admin_link`."""
    try:
        link = accounts.find_link(token, LinkPurpose.PASSWORD)
        form = PasswordForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            user = accounts.set_password_by_link(link, form.cleaned_data["password"], address=client_address(request))
            login(request, user, backend=MODEL_BACKEND)
            messages.success(request, "Your new password is set.")
            return redirect("overview")
    except LinkUsed as refused:
        return _dead_link(request, refused)
    except ValidationError as error:
        _show(form, error)
    context = {"form": form, "user_name": link.user.username if link.user else ""}
    return render(request, "people/auth/password.html", context, status=422 if form.is_bound else 200)


@requires(Permission.READ)
@hashes_password
@sensitive_post_parameters()
def password_change(request: Request) -> HttpResponse:
    """Change one's own password; the person's other sessions end."""
    form = OwnPasswordForm(request, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            user = accounts.change_password(
                request.user,
                form.cleaned_data["password"],
                address=client_address(request),
                session_key=request.session.session_key or "",
            )
        except ValidationError as error:
            _show(form, error)
        else:
            update_session_auth_hash(request, user)  # this session continues under a new key
            accounts.remember_session(
                user,
                request.session.session_key or "",
                address=client_address(request),
                browser=browser_name(request.headers.get("User-Agent", "")),
            )
            messages.success(request, "Your password is changed. Your other sessions have ended.")
            return redirect("overview")
    return render(request, "people/auth/password_change.html", {"form": form}, status=422 if form.is_bound else 200)


def _join(request: HttpRequest, token: str, purpose: LinkPurpose, page: str) -> HttpResponse:
    try:
        link = accounts.find_link(token, purpose)
        form = JoinForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            user = accounts.join(
                link,
                username=form.cleaned_data["username"],
                name=form.cleaned_data["name"],
                password=form.cleaned_data["password"],
                address=client_address(request),
            )
            logout(request)
            login(request, user, backend=MODEL_BACKEND)
            return redirect("overview")
        if form.is_bound:  # all errors at once
            typed = {name: text for name, text in form.cleaned_data.items() if name in ACCOUNT_FIELDS}
            if errors := account_errors(**typed):
                _show(form, ValidationError(errors))
    except LinkUsed as refused:
        return _dead_link(request, refused)
    except ValidationError as error:
        _show(form, error)
    return render(request, page, _join_context(form, link), status=422 if form.is_bound else 200)


def _join_context(form: forms.Form, link: OneTimeLink) -> dict[str, Any]:
    return {"form": form, "role": Role(link.role).label, "expires_at": link.expires_at}


def _dead_link(request: HttpRequest, refused: LinkUsed) -> HttpResponse:
    return render(request, "404.html", {"title": "This link no longer works", "reason": str(refused)}, status=410)


def _show(form: forms.Form, error: ValidationError) -> None:
    """Add an action's errors to the fields that they name."""
    if not hasattr(error, "error_dict"):
        form.add_error("password", error)
        return
    for field, errors in error.error_dict.items():
        form.add_error(field if field in form.fields else None, errors)


def _safe_next(request: HttpRequest) -> str:
    """Return the path on this server that `next` names, or that of the overview.

    Only a path: Django's `redirect` takes anything else for the name of a view, and raises if that view does not exist.
    """
    target = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    plain = target[:1] == "/" != target[1:2] and len(target) <= MAX_NEXT and target.isprintable()
    return target if safe and plain else resolve_url(settings.LOGIN_REDIRECT_URL)
