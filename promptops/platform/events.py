"""Typed events for open pages and other processes, sent when a transaction commits.

An event carries a name and a number (a revision, an audit entry's number, an id), never state: who receives it
compares the number with what it has and fetches what is newer. The database is the truth, the message a hint.
"""

import asyncio
import contextlib
import hashlib
import itertools
import json
import logging
import time
import weakref
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from uuid import uuid4

import redis
import redis.asyncio
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)

PAGES = "pages"  # the channel group of every open page
RECONNECT_SECONDS = 1.0
SILENT_SECONDS = 5.0

REVISION_RELEASED = "revision"  # number: the revision
AUDIT_RECORDED = "audit"  # number: the entry's number
RUN_RECORDED = "runs"  # number: the run's id
RUN_ERASED = "erased"  # number: the run's id (0: several); pages that show its text fetch again
PRESENCE_CHANGED = "presence"  # number: the template's id; somebody opened or left its editor, or has a draft now
USER_CHANGED = "user"  # number: the user's id; their sockets check what they may still do
COMPARISON_CHANGED = "comparison"  # number: the comparison's id
RECORDING_CHANGED = "recording"  # number: how many runs are not in the database; only within a process

NAMES = frozenset(
    {
        REVISION_RELEASED,
        AUDIT_RECORDED,
        RUN_RECORDED,
        RUN_ERASED,
        PRESENCE_CHANGED,
        USER_CHANGED,
        COMPARISON_CHANGED,
        RECORDING_CHANGED,
    }
)

# Their numbers only ever grow, so that one which is not newer is no news.
GROWING = frozenset({REVISION_RELEASED, AUDIT_RECORDED, RUN_RECORDED})


def message(event: str, number: int) -> dict[str, Any]:
    """The channel-layer message of an event; `page.event` is the consumer's handler. An unknown name raises."""
    if event not in NAMES:
        raise KeyError(event)
    return {"type": "page.event", "event": event, "number": number}


def broadcast_on_commit(event: str, number: int) -> None:
    """Send the event to every open page once the transaction has committed (at once where there is none).

    Robust: what is committed stays done, whatever becomes of the news of it.
    """
    payload = message(event, number)
    transaction.on_commit(lambda: _send(payload), robust=True)


# By event loop that serves pages: the newest number that its pages got, by event that grows.
_sent: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, int]]" = weakref.WeakKeyDictionary()
BEGINNING = "beginning"
_beginnings = itertools.count(1)
_sending: set[asyncio.Task[None]] = set()
_process = uuid4().hex  # by which a process knows its own messages in Redis


def pages_are_in(loop: asyncio.AbstractEventLoop) -> None:
    """From now on, events are sent to the pages that this loop serves."""
    _sent.setdefault(loop, {})


def begin_again() -> None:
    """Forget which numbers the pages of the running loop got, so that they get the next ones, whatever they are."""
    _sent[asyncio.get_running_loop()] = {BEGINNING: next(_beginnings)}


def newest_sent() -> dict[str, int]:
    """The newest number that the running loop's pages got, by event that grows; `BEGINNING` counts the beginnings."""
    return _sent.get(asyncio.get_running_loop(), {})


async def tell_pages(event: str, number: int) -> None:
    """Send the hint to the open pages of the running loop, unless they have it: each hint is sent once."""
    sent = _sent.setdefault(asyncio.get_running_loop(), {})
    if event in GROWING:
        if number <= sent.get(event, -1):
            return
        sent[event] = number
    await get_channel_layer().group_send(PAGES, message(event, number))


def send_in_this_process(event: str, number: int) -> None:
    """Send the hint to the open pages of this process, from any thread and without a transaction."""
    _send_to_own_pages(message(event, number))


def _send(payload: dict[str, Any]) -> None:
    _send_to_own_pages(payload)
    if settings.REDIS_URL:
        _tell_other_processes(payload)


def _send_to_own_pages(payload: dict[str, Any]) -> None:
    for loop in tuple(_sent):
        # Nobody waits for it: a loop that ends meanwhile would never answer.
        with contextlib.suppress(RuntimeError):  # it is closed
            loop.call_soon_threadsafe(_send_here, payload)


def _send_here(payload: dict[str, Any]) -> None:
    task = asyncio.get_running_loop().create_task(tell_pages(payload["event"], payload["number"]))
    _sending.add(task)  # the loop itself would let go of it
    task.add_done_callback(_sending.discard)


_silent_until = 0.0


def _tell_other_processes(payload: dict[str, Any]) -> None:
    """Publish in Redis. While it is away nobody waits for it: the others look for themselves twice a second."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return
    try:
        _publisher().publish(channel(), json.dumps(payload | {"from": _process}))
    except redis.RedisError as error:
        _silent_until = time.monotonic() + SILENT_SECONDS
        log.warning("Redis could not be told (%s); other processes follow within a second.", error)


@cache
def _publisher() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.25, socket_connect_timeout=0.25)


def channel() -> str:
    """The Redis channel of this installation: two that share a Redis must not hear each other's numbers."""
    return f"promptops:{hashlib.sha256(settings.SECRET_KEY.encode()).hexdigest()[:16]}"


async def relay(hear: Callable[[str, int], Awaitable[None]]) -> None:
    """For ever: call `hear` with the event and the number of what other processes published. Only with REDIS_URL.

    Pages are always served by the layer in memory, so that a Redis that is away costs nothing but a little time.
    """
    told = False
    while settings.REDIS_URL:
        try:
            async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as server, server.pubsub() as subscription:
                await subscription.subscribe(channel())
                told = False
                async for received in subscription.listen():
                    if received["type"] == "message":
                        hint = json.loads(received["data"])
                        if hint.get("from") != _process:
                            await hear(hint["event"], hint["number"])
        except Exception as error:  # a hint that cannot be read must not end the listening
            if not told:
                log.warning("Hints of other processes cannot be heard (%s); trying again every second.", error)
                told = True
        await asyncio.sleep(RECONNECT_SECONDS)
