"""People: roles, invitations, and links to set a new password. A link is shown once and is kept nowhere."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.ledger.errors import Refused
from promptops.people import actions, queries
from promptops.people.enums import LinkPurpose, Permission, Role
from promptops.people.forms import RoleForm
from promptops.people.models import OneTimeLink, User
from promptops.people.permissions import roles_with
from promptops.web import review
from promptops.web.access import actor, requires
from promptops.web.request import Request
from promptops.web.review import Change

ROLE_OF_YOURSELF = (
    "This is you. With another role this page, providers and settings are closed to you at once, and only another "
    "administrator can give them back."
)
DEACTIVATE_YOURSELF = "This is you. You are signed out at once, and only another administrator can let you in again."


@requires(Permission.ADMINISTER)
def index(request: Request) -> HttpResponse:
    """Everybody, and the invitations that nobody has used yet; for an htmx request only these lists."""
    context = {"people": queries.listed(), "invitations": queries.invitations(), "form": RoleForm()}
    return render(request, "site/settings/_people.html" if request.htmx else "site/settings/people.html", context)


@requires(Permission.ADMINISTER)
@require_POST
def invite(request: Request) -> HttpResponse:
    """Make an invitation for a role and show its link, this once."""
    form = RoleForm(request.POST)
    if not form.is_valid():
        return _refused(request, "Invite somebody", "Choose a role.")
    link, token = actions.invite(form.cleaned_data["role"], by=actor(request))
    role = Role(link.role).label.lower()
    return _show_link(
        request,
        title="Invitation",
        url=reverse("join", args=[token]),
        sentence=f"Send this link to the person who is to join as {role}. It works once, for 7 days.",
    )


@requires(Permission.ADMINISTER)
@require_POST
def withdraw(request: Request, pk: int) -> HttpResponse:
    """Make an unused invitation useless."""
    link = get_object_or_404(OneTimeLink, pk=pk, purpose=LinkPurpose.JOIN)
    try:
        actions.withdraw_invitation(link, by=actor(request))
    except Refused as refused:
        return _refused(request, "Withdraw the invitation", str(refused))
    return review.done(
        request, reverse("people"), "The invitation is withdrawn: its link is dead. Invite again to undo."
    )


@requires(Permission.ADMINISTER)
def role(request: Request, pk: int) -> HttpResponse:
    """Choose another role for a person: the panel with the roles, then the change."""
    person = get_object_or_404(User, pk=pk)
    form = RoleForm(request.POST or None, initial={"role": person.role})
    asked: dict[str, Any] = {
        "title": f"Change the role of {person.name}",
        "confirm": "Change the role",
        "form_id": "role-form",
        "affected": "What they may do changes at once, on pages that they have open too.",
        "template": "site/settings/_role.html",
        "person": person,
        "form": form,
        "roles": [(role, _may(role)) for role in Role],
        "warning": ROLE_OF_YOURSELF if person == request.user else "",
    }
    if request.method != "POST":
        return review.panel(request, **asked)
    if not form.is_valid():
        return review.panel(request, error="Choose a role.", **asked)
    before = Role(person.role).label.lower()
    try:
        person = actions.change_role(person, form.cleaned_data["role"], by=actor(request), note=review.note(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **asked)
    now = Role(person.role).label.lower()
    home = "settings" if person == request.user else "people"
    return review.done(request, reverse(home), f"{person.name} is {now} now. Make them {before} again to undo.")


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
        affected = "They are signed out at once and cannot sign in. What they wrote stays, with their name."
    asked: dict[str, Any] = {
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
        return review.panel(request, **asked)
    change, undo = (actions.reactivate, "Deactivate") if wanted else (actions.deactivate, "Reactivate")
    try:
        change(person, by=actor(request), note=review.note(request))
    except Refused as refused:
        return review.panel(request, error=str(refused), **asked)
    return review.done(request, reverse("people"), f"{person.name} is {word}. {undo} them to undo.")


@requires(Permission.ADMINISTER)
@require_POST
def password_link(request: Request, pk: int) -> HttpResponse:
    """Make a link with which a person sets a new password, and show it, this once."""
    person = get_object_or_404(User, pk=pk)
    try:
        token = actions.make_password_link(person, by=actor(request))
    except Refused as refused:
        return _refused(request, f"Password link for {person.name}", str(refused))
    return _show_link(
        request,
        title=f"Password link for {person.name}",
        url=reverse("password_by_link", args=[token]),
        sentence=f"Send this link to {person.name} ({person.username}) to set a new password. It works once, for "
        "24 hours; earlier ones are dead. Their present password works until then.",
    )


def _may(role: Role) -> str:
    """What a role adds to the ones before it, in words."""
    new = [permission for permission in Permission if roles_with(permission)[0] == role]
    return "; ".join(permission.label for permission in new)


def _show_link(request: Request, *, title: str, url: str, sentence: str) -> HttpResponse:
    """The dialog with a one-time link: the only place where it is ever shown."""
    context = {"title": title, "link": request.build_absolute_uri(url), "sentence": sentence}
    return render(request, "site/settings/_link.html", context)


def _refused(request: Request, title: str, sentence: str) -> HttpResponse:
    return render(request, "site/settings/_refused.html", {"title": title, "error": sentence}, status=409)
