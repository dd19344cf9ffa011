"""The People page: roles, invitations, and links to set a new password. A link is shown once and never stored."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.ledger.errors import Refused
from promptops.people import queries
from promptops.people.actions import accounts as actions
from promptops.people.actions import second_step, sign_on
from promptops.people.enums import LinkPurpose, Permission, Role
from promptops.people.forms import RoleForm, SubjectForm
from promptops.people.models import OneTimeLink, User
from promptops.people.permissions import roles_with
from promptops.platform.pages import numbered, page
from promptops.texts.numbers import whole_number
from promptops.web import review
from promptops.web.access import actor, part_of, requires
from promptops.web.request import Request
from promptops.web.review import Change

ROLE_OF_YOURSELF = (
    "This is your own role. You lose the rights of an administrator at once, and only another administrator can "
    "restore them."
)
FOLLOWS_GROUPS = "This person's role follows the groups at the identity provider: it changes at the next sign-in there."
DEACTIVATE_YOURSELF = (
    "This is your own account. You are signed out at once; only another administrator can reactivate you."
)

PEOPLE, INVITATIONS = 25, 15
"""Rows on a page. Each person has three buttons."""


@requires(Permission.ADMINISTER)
def index(request: Request) -> HttpResponse:
    """Show the people and the open invitations; for an htmx request only these lists. `?q=` is part of a name."""
    search = request.GET.get("q", "").strip()[:100]
    context = {
        "window": numbered(queries.listed(search), whole_number(request.GET.get("page")), size=PEOPLE),
        "search": search,
        "page": page(
            queries.invitations(),
            before=whole_number(request.GET.get("before")),
            after=whole_number(request.GET.get("after")),
            size=INVITATIONS,
        ),
        "form": RoleForm(),
        "takes_invitations": not settings.OIDC_ONLY,
    }
    return render(request, "site/settings/_people.html" if request.htmx else "site/settings/people.html", context)


@requires(Permission.ADMINISTER)
@require_POST
def invite(request: Request) -> HttpResponse:
    """Make an invitation for a role and show its link, once."""
    form = RoleForm(request.POST)
    if not form.is_valid():
        return _refused(request, "Invite a person", "Choose a role.")
    try:
        link, token = actions.invite(form.cleaned_data["role"], by=actor(request))
    except Refused as refused:
        return _refused(request, "Invite a person", str(refused))
    role = Role(link.role).label.lower()
    return _show_link(
        request,
        title="Invitation",
        url=reverse("join", args=[token]),
        sentence=f"Send this link to the person who will join as {role}. It works once, within 7 days."
        " Until it is used, you can withdraw it under Open invitations.",
    )


@requires(Permission.ADMINISTER)
@require_POST
def withdraw(request: Request, pk: int) -> HttpResponse:
    """Withdraw an unused invitation."""
    link = get_object_or_404(OneTimeLink, pk=pk, purpose=LinkPurpose.JOIN)
    try:
        actions.withdraw_invitation(link, by=actor(request))
    except Refused as refused:
        return _refused(request, "Withdraw the invitation", str(refused))
    message = "The invitation is withdrawn, and its link no longer works. To undo, make a new invitation."
    return review.done(request, reverse("people"), message)


@requires(Permission.ADMINISTER)
@part_of("people")
def role(request: Request, pk: int) -> HttpResponse:
    """Show the panel with the roles of a person, then change the role."""
    person = get_object_or_404(User, pk=pk)
    form = RoleForm(request.POST or None, initial={"role": person.role})
    follows_groups = any(settings.OIDC_GROUPS.values()) and queries.identity(person) is not None
    warnings = [ROLE_OF_YOURSELF if person == request.user else "", FOLLOWS_GROUPS if follows_groups else ""]
    content: dict[str, Any] = {
        "title": f"Change the role of {person.name}",
        "confirm": "Change the role",
        "form_id": "role-form",
        "affected": "Their permissions change at once, also on their open pages.",
        "template": "site/settings/_role.html",
        "person": person,
        "form": form,
        "roles": [(role, _added_permissions(role)) for role in Role],
        "warning": " ".join(filter(None, warnings)),
    }
    if request.method != "POST":
        return review.panel(request, **content)
    if not form.is_valid():
        return review.panel(request, error="Choose a role.", **content)
    before = Role(person.role).label.lower()
    try:
        person = actions.change_role(person, form.cleaned_data["role"], by=actor(request), note=review.note(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **content)
    after = Role(person.role).label.lower()
    home = "settings" if person == request.user else "people"
    return review.done(request, reverse(home), f"{person.name} is now {after}. To undo, change it back to {before}.")


@requires(Permission.ADMINISTER)
@require_POST
def active(request: Request, pk: int) -> HttpResponse:
    """Deactivate or reactivate a person (`active` is 0 or 1)."""
    person = get_object_or_404(User, pk=pk)
    wanted = request.POST.get("active") == "1"
    word, other = ("active", "deactivated") if wanted else ("deactivated", "active")
    if wanted:
        affected = f"They can sign in again, as {Role(person.role).label.lower()}."
    else:
        affected = "This person is signed out at once and can't sign in again. Their texts stay, with their name."
    content: dict[str, Any] = {
        "title": f"{'Reactivate' if wanted else 'Deactivate'} {person.name}",
        "confirm": f"{'Reactivate' if wanted else 'Deactivate'} {person.name}",
        "form_id": "active-form",
        "changes": [Change(person.name, other, word)],
        "affected": affected,
        "warning": DEACTIVATE_YOURSELF if person == request.user else "",
        "danger": not wanted,
        "template": "_review_form.html",
        "action": reverse("people_active", args=[pk]),
        "values": [("active", int(wanted))],
    }
    if not review.confirmed(request):
        return review.panel(request, **content)
    change, undo = (actions.reactivate, "deactivate") if wanted else (actions.deactivate, "reactivate")
    try:
        change(person, by=actor(request), note=review.note(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **content)
    return review.done(request, reverse("people"), f"{person.name} is {word}. To undo, {undo} them.")


@requires(Permission.ADMINISTER)
@require_POST
def password_link(request: Request, pk: int) -> HttpResponse:
    """Make a link with which a person sets a new password, and show it once."""
    person = get_object_or_404(User, pk=pk)
    try:
        token = actions.make_password_link(person, by=actor(request))
    except Refused as refused:
        return _refused(request, f"Password link for {person.name}", str(refused))
    return _show_link(
        request,
        title=f"Password link for {person.name}",
        url=reverse("password_by_link", args=[token]),
        sentence=f"Send this link to {person.name} ({person.username}) to set a new password. It works once, "
        "within 24 hours, and replaces earlier links. The current password works until a new one is set.",
    )


@requires(Permission.ADMINISTER)
@require_POST
def link(request: Request, pk: int) -> HttpResponse:
    """Link a person to an account at the identity provider."""
    person = get_object_or_404(User, pk=pk)
    form = SubjectForm(request.POST)
    if not form.is_valid():
        return _refused(request, f"Link {person.name}", " ".join(map(str, form.errors["subject"])))
    content: dict[str, Any] = {
        "title": f"Link {person.name}",
        "confirm": f"Link {person.name}",
        "form_id": "link-form",
        "changes": [Change("Subject", "none", form.cleaned_data["subject"])],
        "affected": f"The account with this subject at the identity provider signs in as {person.name} from now on. "
        "Check there that it belongs to this person.",
        "template": "_review_form.html",
        "action": reverse("people_link", args=[pk]),
        "values": [("subject", form.cleaned_data["subject"])],
    }
    if not review.confirmed(request):
        return review.panel(request, **content)
    try:
        sign_on.link_identity(person, form.cleaned_data["subject"], by=actor(request), note=review.note(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **content)
    return review.done(request, reverse("people_sessions", args=[pk]), f"{person.name} is linked.")


@requires(Permission.ADMINISTER)
@require_POST
def unlink(request: Request, pk: int) -> HttpResponse:
    """Remove a person's link to an account at the identity provider."""
    person = get_object_or_404(User, pk=pk)
    content: dict[str, Any] = {
        "title": f"Remove the link of {person.name}",
        "confirm": "Remove the link",
        "form_id": "unlink-form",
        "affected": "This person's sessions end, and they can no longer sign in by single sign-on.",
        "danger": True,
        "template": "_review_form.html",
        "action": reverse("people_unlink", args=[pk]),
    }
    return _applied(request, person, content, sign_on.unlink_identity, f"The link of {person.name} is removed.")


@requires(Permission.ADMINISTER)
@require_POST
def second_step_off(request: Request, pk: int) -> HttpResponse:
    """Turn off the second step of a person who has lost the phone and the recovery codes."""
    person = get_object_or_404(User, pk=pk)
    content: dict[str, Any] = {
        "title": f"Turn off the second step of {person.name}",
        "confirm": "Turn off",
        "form_id": "second-step-form",
        "affected": "This person signs in with the password alone until they set up the second step again.",
        "danger": True,
        "template": "_review_form.html",
        "action": reverse("people_second_step_off", args=[pk]),
    }
    return _applied(request, person, content, second_step.turn_off, f"The second step of {person.name} is off.")


def _applied(
    request: Request, person: User, content: dict[str, Any], change: Callable[..., Any], result: str
) -> HttpResponse:
    """Show the panel of a change of a person's sign-in, or apply the confirmed change."""
    if not review.confirmed(request):
        return review.panel(request, **content)
    try:
        change(person, by=actor(request), note=review.note(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **content)
    return review.done(request, reverse("people_sessions", args=[person.pk]), result)


def _added_permissions(role: Role) -> str:
    """Return what a role may do beyond the roles before it, in words."""
    new = [permission for permission in Permission if roles_with(permission)[0] == role]
    return "; ".join(permission.label for permission in new)


def _show_link(request: Request, *, title: str, url: str, sentence: str) -> HttpResponse:
    """Show a one-time link in a dialog, the only place where it ever appears."""
    context = {"title": title, "link": request.build_absolute_uri(url), "sentence": sentence}
    return render(request, "site/settings/_link.html", context)


def _refused(request: Request, title: str, sentence: str) -> HttpResponse:
    return render(request, "site/settings/_refused.html", {"title": title, "error": sentence}, status=409)
