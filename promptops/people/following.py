"""Changes of people that other processes made: a person's open pages here hear when their sign-in has changed."""

from django.contrib.sessions.backends.db import SessionStore

from promptops.ledger.models import AuditEntry
from promptops.live import polling
from promptops.platform import background, events

SIGN_INS_CHANGED = (
    *("user.role_changed", "user.role_followed_groups"),
    *("user.deactivated", "user.password_changed", "user.session_ended"),
)


def people_changed(since: int) -> list[int]:
    """Return the ids of the people whose role, password or sessions changed after that audit entry."""
    entries = AuditEntry.objects.filter(seq__gt=since, action__in=SIGN_INS_CHANGED)
    return [int(pk) for pk in entries.values_list("object_id", flat=True).distinct().order_by()]


async def _notify_pages(since: int, in_thread: polling.InThread) -> None:
    for person in await in_thread(people_changed, since):
        await events.tell_pages(events.USER_CHANGED, person)


polling.AFTER_ENTRIES.append(_notify_pages)


@background.hourly
def drop_expired_sessions() -> None:
    """Delete the sessions that have expired."""
    SessionStore.clear_expired()
