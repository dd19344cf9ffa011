"""Typed events for open pages and other processes, sent when a transaction commits.

An event carries a name and a number (a revision, an audit entry's number, an id), never state: who receives it
compares the number with what it has and fetches what is newer. The database is the truth, the message a hint.
"""

import logging
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

log = logging.getLogger(__name__)

PAGES = "pages"  # the channel group of every open page

REVISION_RELEASED = "revision"  # number: the revision
AUDIT_RECORDED = "audit"  # number: the entry's number
RUN_RECORDED = "runs"  # number: the run's id
RUN_ERASED = "erased"  # number: the run's id (0: several); pages that show its text fetch again
USER_CHANGED = "user"  # number: the user's id; their sockets check what they may still do

NAMES = frozenset({REVISION_RELEASED, AUDIT_RECORDED, RUN_RECORDED, RUN_ERASED, USER_CHANGED})


def message(event: str, number: int) -> dict[str, Any]:
    """The channel-layer message of an event; `page.event` is the consumer's handler. An unknown name raises."""
    if event not in NAMES:
        raise KeyError(event)
    return {"type": "page.event", "event": event, "number": number}


def broadcast_on_commit(event: str, number: int) -> None:
    """Send the event to every open page once the transaction has committed (at once where there is none)."""
    payload = message(event, number)
    transaction.on_commit(lambda: _send(payload))


def _send(payload: dict[str, Any]) -> None:
    layer = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(PAGES, payload)
    except Exception:  # the change is committed; pages and processes catch up by themselves
        log.warning("Could not tell open pages about %s %s", payload["event"], payload["number"], exc_info=True)
