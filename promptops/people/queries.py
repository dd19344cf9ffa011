"""People, their sessions, open invitations and tokens, as pages show them. Changing them is in `actions`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from promptops.ledger.models import AuditEntry
from promptops.people.enums import NAME_TAKEN, LinkPurpose, Role
from promptops.people.models import Identity, OneTimeLink, SecondStep, Token, User, UserSession


@dataclass(frozen=True)
class PersonRow:
    """One row of the People page. `last_administrator`: no other active person is an administrator."""

    pk: int
    name: str
    username: str
    role: str
    is_active: bool
    joined_at: datetime
    last_sign_in: datetime | None
    last_administrator: bool


def listed(search: str = "") -> list[PersonRow]:
    """Return the people with `search` in a name, in any case; active people first, then by name, in one query."""
    part = search.casefold()
    people = sorted(User.objects.all(), key=lambda user: (not user.is_active, user.name.casefold(), user.pk))
    administrators = [user.pk for user in people if user.is_active and user.role == Role.ADMINISTRATOR]
    return [
        PersonRow(
            pk=user.pk,
            name=user.name,
            username=user.username,
            role=user.role,
            is_active=user.is_active,
            joined_at=user.joined_at,
            last_sign_in=user.last_login,
            last_administrator=administrators == [user.pk],
        )
        for user in people
        if part in user.name.casefold() or part in user.username.casefold()
    ]


def second_step(user: User) -> SecondStep | None:
    """Return a person's second step, with `codes_left`, the number of unused recovery codes, or None."""
    unused = Count("recovery_codes", filter=Q(recovery_codes__used_at=None))
    return SecondStep.objects.filter(user=user).annotate(codes_left=unused).first()


def identity(user: User) -> Identity | None:
    """Return a person's account at the identity provider, or None."""
    return Identity.objects.filter(user=user).first()


def refused_subject(user: User) -> str:
    """Return the subject that was refused last because this person's user name is taken, or ""."""
    refusals = AuditEntry.objects.filter(action="user.sign_on_refused", object_type="user", object_id=str(user.pk))
    entry = refusals.filter(after__reason=NAME_TAKEN).order_by("-seq").first()
    return str((entry.after or {}).get("subject", "")) if entry else ""


def sessions(user: User) -> QuerySet[UserSession]:
    """Return the sessions of a person that have not expired, the one used last first."""
    return user.sessions.filter(session__expire_date__gt=timezone.now())


def invitations() -> QuerySet[OneTimeLink]:
    """Return the invitations that still work, newest first."""
    return (
        OneTimeLink.objects.filter(purpose=LinkPurpose.JOIN, used_at=None, expires_at__gt=timezone.now())
        .select_related("created_by")
        .order_by("-id")
    )


def roles_of_sessions(keys: list[str]) -> dict[str, str]:
    """Return the role of each session's person, by the session's key, in one query; ended sessions are left out."""
    sessions = UserSession.objects.filter(
        session_id__in=keys, session__expire_date__gt=timezone.now(), user__is_active=True
    )
    return dict(sessions.values_list("session_id", "user__role"))


def people_of_sessions(keys: Iterable[str]) -> dict[str, User]:
    """Return the person of each session, by the session's key, in two queries.

    A session that has ended, of a deactivated person, or from before a change of the password is left out.
    """
    found = Session.objects.filter(session_key__in=set(keys), expire_date__gt=timezone.now())
    sessions = {session.session_key: session.get_decoded() for session in found}
    users = User.objects.filter(pk__in={data[SESSION_KEY] for data in sessions.values() if SESSION_KEY in data})
    by_id = {str(user.pk): user for user in users.filter(is_active=True)}
    return {
        key: user
        for key, data in sessions.items()
        if (user := by_id.get(data.get(SESSION_KEY, ""))) and _knows(user, data.get(HASH_SESSION_KEY, ""))
    }


def _knows(user: User, session_hash: str) -> bool:
    """Return whether the session began with the person's password, as `django.contrib.auth.get_user` does.

    That function would give the session a new key, without a cookie for it.
    """
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(session_hash, value) for value in hashes)


@dataclass(frozen=True)
class TokenRow:
    """One row of the Tokens page. `warnings` are sentences about a usable token."""

    token: Token
    state: str
    is_usable: bool
    is_rotated: bool
    warnings: list[str]

    @property
    def words(self) -> str:
        """Return the name; of two usable tokens with one name, it says which is the older one."""
        return words_of(self.token, self.is_rotated)


MOST_LISTED = 2_000
EXPIRES_SOON = timedelta(days=14)
UNUSED_AFTER = timedelta(days=7)


def tokens(now: datetime) -> list[TokenRow]:
    """Return the tokens, usable ones first, then by name, the newest of a name first; in one query."""
    rows = list(Token.objects.select_related("made_by").order_by("-pk")[:MOST_LISTED])
    newer = {row.replaces_id: row for row in rows if row.replaces_id}
    listed = [
        TokenRow(row, _state(row, now), row.is_usable(now), row.pk in newer, _warnings(row, now, newer.get(row.pk)))
        for row in rows
    ]
    return sorted(listed, key=lambda row: (not row.is_usable, row.token.name.casefold()))


def words_of(token: Token, is_rotated: bool) -> str:
    """Return the name of a token for buttons and panels: two usable tokens may have one name."""
    return f"the older {token.name}" if is_rotated else token.name


def is_rotated(token: Token) -> bool:
    """Return whether a newer token replaces this one."""
    return Token.objects.filter(replaces=token).exists()


def _state(token: Token, now: datetime) -> str:
    if token.revoked_at:
        return "revoked"
    return "usable" if token.is_usable(now) else "expired"


def _warnings(token: Token, now: datetime, newer: Token | None) -> list[str]:
    if not token.is_usable(now):
        return []
    warnings = []
    if token.made_by and not token.made_by.is_active:
        warnings.append(f"{token.made_by.name}, who made it, is deactivated. The token still works.")
    if newer and newer.is_usable(now):
        warnings.append("It was rotated. Move its machines to the new token before it expires.")
    elif newer:
        warnings.append(
            "It was rotated, but the new token no longer works. Make another token before this one expires."
        )
    elif token.expires_at and token.expires_at - now < min(EXPIRES_SOON, (token.expires_at - token.made_at) / 2):
        warnings.append("It expires soon. Rotate it.")
    if token.last_used_at is None and token.made_at < now - UNUSED_AFTER:
        warnings.append("It was never used. Revoke it if nobody needs it.")
    return warnings
