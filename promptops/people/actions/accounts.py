"""The verbs about people: one-time links, roles, passwords, sessions, and the record of sign-ins.

Pages and forms are in `views` and `forms`, the bound on hashing in `passwords`.
"""

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from promptops.ledger import audit
from promptops.ledger.audit import SOMEBODY, Actor
from promptops.ledger.errors import LastAdministrator, Refused, Stale
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.people import (
    audited,  # noqa: F401 -- declares the audited actions of these verbs
    new_accounts,
)
from promptops.people.enums import LinkPurpose, Role
from promptops.people.models import OneTimeLink, User, UserSession
from promptops.platform import events

UNKNOWN_NAME = "an unknown name"
UNKNOWN_BROWSER = "Unknown browser"
FAILURES_PER_ADDRESS = 50
"""Failed sign-ins from one address, in the time of a lockout, after which it may try no other name.

Many people may share an address. Five failures for one name lock that name well before (AXES_FAILURE_LIMIT)."""

LINK_LIFETIME = timedelta(days=7)
KNOWN_ADDRESS_LIFETIME = timedelta(days=30)
SEEN_EVERY = timedelta(minutes=1)
"""The precision of "last seen": at most one write a minute for each session."""
PASSWORD_LINK_LIFETIME = timedelta(hours=24)
STARTING = timedelta(minutes=10)
"""Processes that start within this time of each other each print a set-up link that works."""


class LinkUsed(Refused):
    """The one-time link is used up, expired or unknown."""

    def __init__(self) -> None:
        super().__init__("This link was used already or has expired. Ask for a new one.")


def find_link(token: str, purpose: LinkPurpose) -> OneTimeLink:
    """Return the usable link of this token. Raises LinkUsed.

    With OIDC_ONLY, only links of administrators and the set-up link are usable.
    """
    link = OneTimeLink.objects.select_related("user").filter(token_sha256=_sha256(token), purpose=purpose).first()
    if link is None or not link.usable or (settings.OIDC_ONLY and not _is_of_administrator(link)) or _is_too_late(link):
        raise LinkUsed
    return link


@transaction.atomic
def make_setup_link() -> str | None:
    """Return the token of a new link that creates the first administrator, or None if there is an administrator.

    Set-up links of more than ten minutes ago are deleted: each start prints its own.
    """
    if _administrators().exists():
        return None
    OneTimeLink.objects.filter(purpose=LinkPurpose.SETUP, created_at__lt=timezone.now() - STARTING).delete()
    return _make_link(LinkPurpose.SETUP, Role.ADMINISTRATOR, LINK_LIFETIME)[1]


@transaction.atomic
def invite(role: str, *, by: Actor) -> tuple[OneTimeLink, str]:
    """Make a link for one account with `role`. Return it and its token, which is not stored.

    Raises Refused if people join by single sign-on only.
    """
    if settings.OIDC_ONLY:
        raise Refused("People join by single sign-on only (OIDC_ONLY). Add the person to a group there.")
    link, token = _make_link(LinkPurpose.JOIN, Role(role), LINK_LIFETIME, created_by=by.user)
    audit.record("user.invited", by=by, object=link, object_name=f"link {link.pk}", after={"role": role})
    return link, token


@transaction.atomic
def withdraw_invitation(link: OneTimeLink, *, by: Actor) -> None:
    """Withdraw an unused invitation: its link stops working. Raises Stale."""
    if not OneTimeLink.objects.filter(pk=link.pk, used_at=None).update(used_at=timezone.now()):
        raise Stale("This link has already been used.")
    audit.record(
        "user.invitation_withdrawn", by=by, object=link, object_name=f"link {link.pk}", before={"role": link.role}
    )


@transaction.atomic
def make_password_link(user: User, *, by: Actor) -> str:
    """Return the token of a new link with which `user` sets a new password. Earlier links are deleted.

    Raises Refused for deactivated people, and for people who may not sign in with a password.
    """
    user = _locked(user)
    if not user.is_active:
        raise Refused(f"{user.name} is deactivated. Reactivate them first.")
    if settings.OIDC_ONLY and user.role != Role.ADMINISTRATOR:
        raise Refused(f"{user.name} signs in by single sign-on only (OIDC_ONLY). Only administrators have passwords.")
    OneTimeLink.objects.filter(user=user, purpose=LinkPurpose.PASSWORD).delete()
    token = _make_link(LinkPurpose.PASSWORD, user.role, PASSWORD_LINK_LIFETIME, user=user, created_by=by.user)[1]
    audit.record("user.password_link_made", by=by, object=user)
    return token


def join(link: OneTimeLink, *, username: str, name: str, password: str, address: str = "") -> User:
    """Create the account of a set-up or invitation link. Raises LinkUsed, or ValidationError for the fields."""
    _refuse_used(link)
    user = User(username=User.normalize_username(username), name=name, role=link.role)
    if errors := new_accounts.account_errors(username=username, name=name, password=password):
        raise ValidationError(errors)
    user.password = _hashed(password, user)
    return _join(link, user, address)


@transaction.atomic
def _join(link: OneTimeLink, user: User, address: str) -> User:
    _use(link)
    # Locked, so that two people who choose the same name at once cannot both get it.
    LiveConfiguration.objects.select_for_update().get(pk=1)
    user.name = new_accounts.clean_name(user.name)
    user.full_clean()
    user.save()
    audit.record(
        "user.created",
        by=Actor.person(user, address),
        object=user,
        after={"username": user.username, "name": user.name, "role": user.role, "link": link.pk},
    )
    return user


def set_password_by_link(link: OneTimeLink, password: str, *, address: str = "") -> User:
    """Set the password of a password link's person. Raises LinkUsed, or ValidationError for the password."""
    if link.user is None:
        raise LinkUsed
    return _set_password_by_link(link, _hashed(password, link.user), address)


@transaction.atomic
def _set_password_by_link(link: OneTimeLink, hashed: str, address: str) -> User:
    user = User.objects.select_for_update().filter(links=link, is_active=True).first()
    if user is None:
        raise LinkUsed
    _use(link)
    return _set_password(user, hashed, address=address)


def change_password(user: User, password: str, *, address: str = "", session_key: str = "") -> User:
    """Set a signed-in person's own new password and end their other sessions. The form has checked the old one."""
    return _set_password(user, _hashed(password, user), address=address, session_key=session_key)


@transaction.atomic
def change_role(user: User, role: str, *, by: Actor, note: str = "", action: str = "user.role_changed") -> User:
    """Change a person's role; their open pages follow at once. Raises LastAdministrator."""
    user = _locked(user)
    before = user.role
    if before == role:
        raise Refused(f"{user.name} already has the role {Role(role).label.lower()}.")
    if before == Role.ADMINISTRATOR:
        _check_not_last(user)
    user.role = Role(role)
    user.save(update_fields=["role"])
    if before == Role.ADMINISTRATOR:
        _withdraw_links_of(user)
    audit.record(action, by=by, object=user, before={"role": before}, after={"role": role}, note=note)
    events.broadcast_on_commit(events.USER_CHANGED, user.pk)
    return user


@transaction.atomic
def deactivate(user: User, *, by: Actor, note: str = "") -> User:
    """Deactivate a person: their sessions, sockets and links end. Raises LastAdministrator."""
    user = _locked(user)
    if not user.is_active:
        raise Stale(f"{user.name} is already deactivated.")
    _check_not_last(user)
    user.is_active = False
    user.save(update_fields=["is_active"])
    OneTimeLink.objects.filter(user=user, used_at=None).delete()
    _withdraw_links_of(user)
    _sessions_of(user).delete()
    audit.record("user.deactivated", by=by, object=user, before={"active": True}, after={"active": False}, note=note)
    events.broadcast_on_commit(events.USER_CHANGED, user.pk)
    return user


@transaction.atomic
def reactivate(user: User, *, by: Actor, note: str = "") -> User:
    """Reactivate a deactivated person with the role they had."""
    if not User.objects.filter(pk=user.pk, is_active=False).update(is_active=True):
        raise Stale(f"{user.name} is already active.")
    user.refresh_from_db()
    audit.record("user.reactivated", by=by, object=user, before={"active": False}, after={"active": True}, note=note)
    return user


@transaction.atomic
def record_sign_in(user: User, *, address: str, session_key: str = "", browser: str = "") -> None:
    """Record that a person signed in, and in which session."""
    audit.record("user.signed_in", by=Actor.person(user, address), object=user)
    if session_key:
        remember_session(user, session_key, address=address, browser=browser)


@transaction.atomic
def record_sign_out(user: User, *, address: str) -> None:
    """Record that a person signed out."""
    audit.record("user.signed_out", by=Actor.person(user, address), object=user)
    events.broadcast_on_commit(events.USER_CHANGED, user.pk)


def remember_session(user: User, session_key: str, *, address: str, browser: str) -> None:
    """List this session, which Django has just made, among the person's sessions."""
    UserSession.objects.update_or_create(
        session_id=session_key, defaults={"user": user, "address": address, "browser": browser or UNKNOWN_BROWSER}
    )


def session_seen(session_key: str, *, address: str) -> None:
    """Record when and from where a session was last used, at most once in SEEN_EVERY."""
    now = timezone.now()
    UserSession.objects.filter(session_id=session_key, seen_at__lt=now - SEEN_EVERY).update(
        seen_at=now, address=address
    )


@transaction.atomic
def end_session(session: UserSession, *, by: Actor) -> None:
    """End one session: its pages go to the sign-in page at once. Drafts stay. Raises Stale if it has ended."""
    deleted, _ = Session.objects.filter(pk=session.session_id).delete()
    if not deleted:
        raise Stale("This session has already ended.")
    _record_end(session, by)


@transaction.atomic
def end_sessions(user: User, *, by: Actor, session_key: str = "") -> int:
    """End all sessions of a person except `session_key`, and return how many there were."""
    ended = list(user.sessions.select_for_update().exclude(session_id=session_key).select_related("user"))
    Session.objects.filter(pk__in=[session.session_id for session in ended]).delete()
    for session in ended:
        _record_end(session, by)
    return len(ended)


@transaction.atomic
def record_failed_sign_in(username: str, *, address: str) -> None:
    """Record a failed sign-in. An unknown name is not stored: people type passwords into the wrong field."""
    _record_refusal("user.sign_in_failed", username, address)


@transaction.atomic
def record_lockout(username: str, *, address: str) -> None:
    """Record that a name is locked for an address, once for each lockout."""
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    known = AuditEntry.objects.filter(action="user.locked_out", address=address, at__gt=since)
    if not known.filter(object_name=_known_name(username)).exists():
        _record_refusal("user.locked_out", username, address)


def too_many_failures(username: str, address: str) -> bool:
    """Return whether too many sign-ins from this address have failed, for whatever names, to try another.

    A person who signed in from this address in the last 30 days may still try. So a stranger behind the same address
    does not lock out the people who work there; their own names have their own, lower limit.
    """
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    failed = AuditEntry.objects.filter(action="user.sign_in_failed", address=address, at__gt=since)
    if failed.count() < FAILURES_PER_ADDRESS:
        return False
    lately = timezone.now() - KNOWN_ADDRESS_LIFETIME
    known = AuditEntry.objects.filter(action="user.signed_in", address=address, at__gt=lately)
    return not known.filter(actor__in=User.objects.named(username)).exists()


def _record_refusal(action: str, username: str, address: str) -> None:
    user = User.objects.named(username).first()
    by = Actor(SOMEBODY.name, address=address)
    audit.record(action, by=by, object=user, object_name=_known_name(username))


def _known_name(username: str) -> str:
    return User.objects.named(username).values_list("username", flat=True).first() or UNKNOWN_NAME


def _is_of_administrator(link: OneTimeLink) -> bool:
    return (link.user.role if link.user else link.role) == Role.ADMINISTRATOR and link.purpose != LinkPurpose.JOIN


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _make_link(
    purpose: LinkPurpose, role: str, lifetime: timedelta, *, user: User | None = None, created_by: User | None = None
) -> tuple[OneTimeLink, str]:
    token = secrets.token_urlsafe(32)
    link = OneTimeLink.objects.create(
        purpose=purpose,
        token_sha256=_sha256(token),
        role=role,
        user=user,
        created_by=created_by,
        expires_at=timezone.now() + lifetime,
    )
    return link, token


def _use(link: OneTimeLink) -> None:
    """Mark the link as used. If two people try at once, one of them gets LinkUsed."""
    _refuse_used(link)
    if not _unused(link).update(used_at=timezone.now()):
        raise LinkUsed


def _refuse_used(link: OneTimeLink) -> None:
    """Raise LinkUsed if the link was used or has expired, or if somebody has set PromptOps up already."""
    if _is_too_late(link) or not _unused(link).exists():
        raise LinkUsed


def _is_too_late(link: OneTimeLink) -> bool:
    """Return True for a set-up link after somebody has set PromptOps up."""
    return link.purpose == LinkPurpose.SETUP and _administrators().exists()


def _unused(link: OneTimeLink) -> QuerySet[OneTimeLink]:
    return OneTimeLink.objects.filter(pk=link.pk, used_at=None, expires_at__gt=timezone.now())


def _withdraw_links_of(user: User) -> None:
    """Delete the unused links that a person made: a former administrator must not come back with one."""
    OneTimeLink.objects.filter(created_by=user, used_at=None).delete()


def _record_end(session: UserSession, by: Actor) -> None:
    signed_in = {
        "browser": session.browser,
        "address": session.address or "unknown address",
        "signed_in_at": session.signed_in_at.isoformat(timespec="seconds"),
    }
    audit.record("user.session_ended", by=by, object=session.user, before=signed_in)
    events.broadcast_on_commit(events.USER_CHANGED, session.user_id)


def _sessions_of(user: User, *, session_key: str = "") -> QuerySet[Session]:
    """Return Django's sessions of a person except `session_key`; deleting them deletes ours too."""
    return Session.objects.filter(
        pk__in=UserSession.objects.filter(user=user).exclude(session_id=session_key).values("session_id")
    )


def _hashed(password: str, user: User) -> str:
    """Return the hash of a password that suits the person, else raise ValidationError.

    Do not call it in a transaction: the hash may wait for its turn, and SQLite's other writers would wait too.
    """
    validate_password(password, user)
    return make_password(password)


@transaction.atomic
def _set_password(user: User, hashed: str, *, address: str, session_key: str = "") -> User:
    OneTimeLink.objects.filter(user=user, purpose=LinkPurpose.PASSWORD, used_at=None).delete()
    user.password = hashed
    user.save(update_fields=["password"])
    _sessions_of(user, session_key=session_key).delete()
    audit.record("user.password_changed", by=Actor.person(user, address), object=user)
    events.broadcast_on_commit(events.USER_CHANGED, user.pk)
    return user


def _administrators():  # type: ignore[no-untyped-def]
    return User.objects.filter(role=Role.ADMINISTRATOR, is_active=True)


def _locked(user: User) -> User:
    """Return the user's current row, locked with all administrators, so that two cannot remove each other."""
    list(_administrators().select_for_update().order_by("pk"))
    return User.objects.select_for_update().get(pk=user.pk)


def _check_not_last(user: User) -> None:
    if user.role == Role.ADMINISTRATOR and not _administrators().exclude(pk=user.pk).exists():
        raise LastAdministrator
