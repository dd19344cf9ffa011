"""People and pending invitations as the People page shows them."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from promptops.people.enums import LinkPurpose, Role
from promptops.people.models import OneTimeLink, User, UserSession


@dataclass(frozen=True)
class PersonRow:
    """One person of the list. `last_administrator`: nobody else could run the place."""

    pk: int
    name: str
    username: str
    role: str
    is_active: bool
    joined_at: datetime
    last_sign_in: datetime | None
    last_administrator: bool


def listed() -> list[PersonRow]:
    """Everybody, active people first, then by name, in one query."""
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
    ]


def sessions(user: User) -> QuerySet[UserSession]:
    """Where a person is signed in, the one used last first; what has expired is not there."""
    return user.sessions.filter(session__expire_date__gt=timezone.now())


def invitations() -> QuerySet[OneTimeLink]:
    """Invitations that still work, newest first."""
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
