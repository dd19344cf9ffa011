"""The verbs of single sign-on: accounts, roles and links of people whom an identity provider vouches for.

The protocol is in `openid`, the pages in `views.sign_on`.
"""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.ledger import audit
from promptops.ledger.audit import SOMEBODY, SYSTEM, Actor
from promptops.ledger.errors import LastAdministrator, Refused, Stale
from promptops.ledger.models import LiveConfiguration
from promptops.people import (
    audited,  # noqa: F401 -- declares the audited actions of these verbs
    new_accounts,
)
from promptops.people.actions import accounts
from promptops.people.enums import NAME_TAKEN, Role
from promptops.people.models import Identity, User, canonical_username
from promptops.people.openid import SignedOn

MOST_CHARACTERS = 100  # of a name


class SignOnRefused(Refused):
    """The provider vouches for this person, but the person may not sign in here. The message is for them."""

    def __init__(self, reason: str, sentence: str, user: User | None = None) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.user = user


def role_of(groups: frozenset[str]) -> Role | None:
    """Return the highest role of the groups, or the default role, or None."""
    for role in reversed(Role):
        if groups & set(settings.OIDC_GROUPS[role]):
            return role
    return Role(settings.OIDC_DEFAULT_ROLE) if settings.OIDC_DEFAULT_ROLE else None


def person_of(signed_on: SignedOn, *, address: str = "") -> User:
    """Return the person who signed on, with the role of their groups; a new person gets an account.

    Raises SignOnRefused, which the audit records. A person without a role loses their sessions.
    """
    try:
        return _person_of(signed_on, address)
    except SignOnRefused as refused:
        record_refusal(refused.reason, address=address, user=refused.user, subject=signed_on.subject)
        raise


@transaction.atomic
def _person_of(signed_on: SignedOn, address: str) -> User:
    # Locked, so that two first sign-ins at once make one account.
    LiveConfiguration.objects.select_for_update().get(pk=1)
    identity = _identities(signed_on).first()
    user = identity.user if identity else None
    if user and not user.is_active:
        raise SignOnRefused("deactivated", "Your account is deactivated. Ask an administrator to reactivate it.", user)
    role = role_of(signed_on.groups)
    if role is None:
        raise SignOnRefused(
            "no group has a role",
            "None of your groups has a role in PromptOps. Ask an administrator to add you to a group that has one.",
            user,
        )
    if user is None:
        return _create(signed_on, role, address)
    # Without groups in the settings, administrators decide about roles on the People page.
    if any(settings.OIDC_GROUPS.values()) and user.role != role:
        try:
            by = Actor(SYSTEM.name, address=address)
            user = accounts.change_role(user, role, by=by, action="user.role_followed_groups")
        except LastAdministrator:
            raise SignOnRefused(
                "the last administrator",
                "Your groups no longer make you an administrator, but you are the last one. Ask for your group back, "
                "or set a password with the command admin_link and make another person an administrator.",
                user,
            ) from None
    return user


def _identities(signed_on: SignedOn) -> Any:
    found = Identity.objects.filter(issuer=signed_on.issuer, subject=signed_on.subject)
    return found.select_related("user")


def _create(signed_on: SignedOn, role: Role, address: str) -> User:
    claims = signed_on.claims
    typed = [str(claims.get(claim) or "") for claim in ("preferred_username", "email", "sub")]
    username = next(filter(None, map(canonical_username, typed)), "")
    if not username:
        raise SignOnRefused(
            "no usable user name",
            "Your account has no user name that PromptOps can use (a-z, 0-9 and @ . + - _). Ask an administrator.",
        )
    if taken := User.objects.named(username).first():
        raise SignOnRefused(
            NAME_TAKEN,
            f"PromptOps already has an account named {username}. If it is yours, ask an administrator to link it to "
            "your sign-in. If not, ask for another user name.",
            taken,
        )
    user = User(username=username, name=_name(str(claims.get("name") or ""), username), role=role)
    user.set_unusable_password()
    user.full_clean()
    user.save()
    Identity.objects.create(user=user, issuer=signed_on.issuer, subject=signed_on.subject)
    audit.record(
        "user.signed_on_first",
        by=Actor.person(user, address),
        object=user,
        after={"username": username, "name": user.name, "role": role, "subject": signed_on.subject},
    )
    return user


def _name(name: str, username: str) -> str:
    """Return a name that nobody else has: people with equal names get the user name behind it."""
    behind = f" ({username})"
    with_username = name[: MOST_CHARACTERS - len(behind)] + behind if name.strip() else ""
    for wanted in (name, with_username, username, f"Person {username}"):
        try:
            return new_accounts.clean_name(wanted[:MOST_CHARACTERS])
        except ValidationError:
            continue
    raise SignOnRefused("no usable name", "Your account has no name that PromptOps can show. Ask an administrator.")


@transaction.atomic
def record_refusal(reason: str, *, address: str, user: User | None = None, subject: str = "") -> None:
    """Record that single sign-on refused somebody, and why. The sessions of a linked person end.

    `user` is the person whom the account is linked to, or whose user name it has.
    """
    audit.record(
        "user.sign_on_refused",
        by=Actor(SOMEBODY.name, address=address),
        object=user,
        object_name=user.name if user else accounts.UNKNOWN_NAME,
        after={"reason": reason} | ({"subject": subject} if subject else {}),
    )
    if user and Identity.objects.filter(user=user, subject=subject).exists():
        accounts.end_sessions(user, by=Actor(SYSTEM.name, address=address))


@transaction.atomic
def record_sign_on(user: User, *, address: str, session_key: str, browser: str) -> None:
    """Record that a person signed in by single sign-on, and in which session."""
    audit.record("user.signed_on", by=Actor.person(user, address), object=user)
    accounts.remember_session(user, session_key, address=address, browser=browser)


@transaction.atomic
def link_identity(user: User, subject: str, *, by: Actor, note: str = "") -> Identity:
    """Let the provider's account `subject` sign in as this person. Raises Refused."""
    subject = subject.strip()
    if not settings.OIDC_ISSUER:
        raise Refused("Single sign-on is not set up. Set OIDC_ISSUER first.")
    if not 0 < len(subject) <= 255 or not subject.isprintable():
        raise Refused("Enter the subject of the account, as the identity provider shows it.")
    user = User.objects.select_for_update().get(pk=user.pk)
    if Identity.objects.filter(user=user).exists():
        raise Refused(f"{user.name} is linked already. Remove that link first.")
    issuer = settings.OIDC_ISSUER.rstrip("/")
    if other := Identity.objects.filter(issuer=issuer, subject=subject).select_related("user").first():
        raise Refused(f"This account is linked to {other.user.name}. Remove that link first.")
    identity = Identity.objects.create(user=user, issuer=issuer, subject=subject)
    audit.record("user.identity_linked", by=by, object=user, after={"issuer": issuer, "subject": subject}, note=note)
    return identity


@transaction.atomic
def unlink_identity(user: User, *, by: Actor, note: str = "") -> None:
    """Remove a person's link to the provider's account, and end their sessions. Raises Stale."""
    identity = Identity.objects.select_for_update().filter(user=user).first()
    if identity is None:
        raise Stale(f"{user.name} is not linked.")
    before = {"issuer": identity.issuer, "subject": identity.subject}
    identity.delete()
    audit.record("user.identity_unlinked", by=by, object=user, before=before, note=note)
    accounts.end_sessions(user, by=by)
