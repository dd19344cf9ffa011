"""The pages of signing in and out, of one-time links, and of one's own password."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout, update_session_auth_hash
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from promptops.people.actions import accounts
from promptops.people.actions.accounts import LinkUsed
from promptops.people.browsers import browser_name
from promptops.people.enums import LinkPurpose, Permission, Role
from promptops.people.forms import JoinForm, OwnPasswordForm, PasswordForm, SignInForm
from promptops.people.models import OneTimeLink, User, canonical_username
from promptops.people.new_accounts import account_errors
from promptops.people.views.entering import enter, safe_next
from promptops.platform.addresses import client_address
from promptops.web.access import hashes_password, public, requires
from promptops.web.request import Request

ACCOUNT_FIELDS = ("username", "name", "password")


@public
@never_cache
@hashes_password
@sensitive_post_parameters()
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign a person in by user name and password, then go back to the page that asked for it.

    With OIDC_ONLY, only offer single sign-on.
    """
    if settings.OIDC_ONLY and request.method == "POST":
        reason = "People sign in by single sign-on here. Go to the sign-in page and use its button."
        return render(request, "403.html", {"reason": reason}, status=403)
    return _sign_in(request, is_local=False)


@public
@never_cache
@hashes_password
@sensitive_post_parameters()
def sign_in_local(request: HttpRequest) -> HttpResponse:
    """Sign an administrator in by password when OIDC_ONLY hides the form: the way back in."""
    if not settings.OIDC_ONLY:
        return redirect("sign_in")
    return _sign_in(request, is_local=True)


def _sign_in(request: HttpRequest, *, is_local: bool) -> HttpResponse:
    target = safe_next(request)
    if request.user.is_authenticated:
        return HttpResponseRedirect(target)
    typed = canonical_username(request.POST.get("username", ""))
    if typed and accounts.too_many_failures(typed, client_address(request)):
        return locked_out(request)
    form = SignInForm(request, data=request.POST or None)
    if request.method == "POST" and form.is_valid():
        if not is_local or form.get_user().role == Role.ADMINISTRATOR:
            return enter(request, form.get_user(), target)
        accounts.record_failed_sign_in(form.get_user().username, address=client_address(request))
        form.add_error(None, "Only administrators sign in with a password here. Use single sign-on.")
    status = 422 if form.is_bound else 200
    context = {
        "form": form,
        "next": target,
        "has_ended": "ended" in request.GET,
        "is_local": is_local,
        "has_form": is_local or not settings.OIDC_ONLY,
        "provider": settings.OIDC_NAME if settings.OIDC_ISSUER and not is_local else "",
        "is_set_up": bool(settings.OIDC_ISSUER) or User.objects.exists(),
    }
    return render(request, "people/auth/sign_in.html", context, status=status)


def locked_out(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Return 429: too many failures for one name from one address (django-axes calls this), or for one address."""
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    reason = f"Too many failed sign-ins. Wait {minutes} minutes, then try again."
    return render(request, "429.html", {"reason": reason}, status=429)


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
            messages.success(request, "Your new password is set.")
            return enter(request, user, reverse("overview"))
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
            return enter(request, user, reverse("overview"))
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
