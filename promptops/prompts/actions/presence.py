"""Who has which template open. Nothing here is told in the audit: it is where people look, not what they change."""

from datetime import timedelta
from uuid import uuid4

from django.db import transaction
from django.utils import timezone

from promptops.people.models import User
from promptops.prompts.models import Presence, Template

HEARTBEAT_SECONDS = 10.0
FORGET_AFTER = timedelta(hours=1)
"""Pages of a process that was killed are forgotten then; they stop to count much sooner (`Presence.GONE_AFTER`). The
pages of one that was only stopped for a while count again with its next heartbeat."""

_process = uuid4().hex
_channels: set[str] = set()  # of the pages that this process has
_left: set[str] = set()  # of those that are gone, and still in the database


@transaction.atomic
def arrive(template: Template, *, user: User, channel: str) -> None:
    """A page of the template's editor is open; the page is known by its channel."""
    Presence.objects.filter(seen_at__lt=timezone.now() - FORGET_AFTER).delete()
    Presence.objects.update_or_create(
        channel=channel,
        defaults={"template": template, "user": user, "process": _process, "seen_at": timezone.now()},
    )
    _channels.add(channel)


def leave(channel: str) -> None:
    """That page is gone."""
    _channels.discard(channel)
    _left.add(channel)
    Presence.objects.filter(channel=channel).delete()
    _left.discard(channel)


def still_here() -> None:
    """The heartbeat: one write for all pages of this process, none where it has none."""
    if _left:  # the database was unavailable when they left
        left = set(_left)
        Presence.objects.filter(channel__in=left).delete()
        _left.difference_update(left)
    if _channels:
        Presence.objects.filter(process=_process).update(seen_at=timezone.now())
