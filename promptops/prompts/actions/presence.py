"""Recording which people have which template open. The audit has no entries of it, because nothing is changed."""

from datetime import timedelta
from uuid import uuid4

from django.db import transaction
from django.utils import timezone

from promptops.people.models import User
from promptops.prompts.models import Presence, Template

HEARTBEAT_SECONDS = 10.0
FORGET_AFTER = timedelta(hours=1)
"""When the pages of a killed process are deleted. They stop counting much earlier (`Presence.GONE_AFTER`). Pages of a
process that only paused count again with its next heartbeat."""

_process = uuid4().hex
_connections: dict[str, str] = {}  # page (`channel`) -> its newest connection to this process
_left: set[str] = set()  # of closed pages that are still in the database


@transaction.atomic
def arrive(template: Template, *, user: User, channel: str, connection: str = "") -> None:
    """Record that a page of the template's editor is open. Its `channel` identifies the page.

    A page that reconnects has a new `connection`. Its row moves to this process.
    """
    Presence.objects.filter(seen_at__lt=timezone.now() - FORGET_AFTER).delete()
    Presence.objects.update_or_create(
        channel=channel,
        defaults={"template": template, "user": user, "process": _process, "seen_at": timezone.now()},
    )
    _connections[channel] = connection
    _left.discard(channel)


def leave(channel: str, *, connection: str = "") -> None:
    """Record that the page is closed, unless it has another connection by now, to this process or to another."""
    if _connections.get(channel, connection) != connection:
        return
    _connections.pop(channel, None)
    _left.add(channel)
    Presence.objects.filter(channel=channel, process=_process).delete()
    _left.discard(channel)


def still_here() -> None:
    """Renew all pages of this process in one write; write nothing if it has none."""
    if _left:  # the database was unavailable when these pages closed
        left = set(_left)
        Presence.objects.filter(channel__in=left, process=_process).delete()
        _left.difference_update(left)
    if _connections:
        Presence.objects.filter(process=_process).update(seen_at=timezone.now())
