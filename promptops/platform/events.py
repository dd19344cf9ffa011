"""Hints to open pages and other processes, sent when a transaction commits.

A hint has the name of an event and a number (a revision, the number of an audit entry, an id), never state. A receiver
compares the number with its own and fetches newer data. The database is the truth, a message is a hint.

The socket of a page belongs to `web`, and reactions to hints of other processes belong to `live`.
"""

import asyncio
import contextlib
import hashlib
import itertools
import json
import logging
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

import redis
import redis.asyncio
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)

PAGES = "pages"  # the channel group of all open pages
SECONDS_BETWEEN_RUNS = 1.0
"""Between two hints that there are new runs: runs may come by the hundred, and each hint goes to every open page."""

RECONNECT_SECONDS = 1.0
SILENT_SECONDS = 5.0
PING_SECONDS = 5.0
"""Without a hint for this long, the process asks Redis for a sign of life, and gives up after the same time again."""

REVISION_RELEASED = "revision"  # number: the revision
AUDIT_RECORDED = "audit"  # number: the entry's number
RUN_RECORDED = "runs"  # number: the run's id
RUN_ERASED = "erased"  # number: the run's id (0: several); pages that show its text fetch it again
PRESENCE_CHANGED = "presence"  # number: the template's id; somebody opened or left its editor, or has a draft now
USER_CHANGED = "user"  # number: the user's id; their sockets check the permissions again
COMPARISON_CHANGED = "comparison"  # number: the comparison's id
RECORDING_CHANGED = "recording"  # number: runs that are not in the database yet; sent only within a process
FLEET_CHANGED = "fleet"  # number: 0; a server came, left, switched, refused, drifted or fell silent, or Redis did

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
        FLEET_CHANGED,
    }
)

GROWING = frozenset({REVISION_RELEASED, AUDIT_RECORDED, RUN_RECORDED})
"""Events whose numbers only grow within an epoch. A hint with a number that is not newer is dropped."""


def message(event: str, number: int) -> dict[str, Any]:
    """Return the channel-layer message of an event, for the consumer's handler `page.event`. Raises KeyError."""
    if event not in NAMES:
        raise KeyError(event)
    return {"type": "page.event", "event": event, "number": number}


def broadcast_on_commit(event: str, number: int) -> None:
    """Send a hint to all open pages when the transaction commits, or at once outside a transaction.

    Robust: an error while sending cannot undo the commit.
    """
    payload = message(event, number)
    transaction.on_commit(lambda: _send(payload), robust=True)


@dataclass
class Pace:
    """The pace of hints about runs in one event loop, in seconds of its clock."""

    until: float = 0.0  # no hint is sent before
    held: int | None = None  # the newest number that waits for this moment


_paces: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Pace]" = weakref.WeakKeyDictionary()

# By event loop that serves pages: the newest number that its pages got of each event in GROWING.
_sent: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, int]]" = weakref.WeakKeyDictionary()
BEGINNING = "beginning"
_beginnings = itertools.count(1)
_sending: set[asyncio.Task[None]] = set()
_process = uuid4().hex  # identifies the messages of this process in Redis


def pages_are_in(loop: asyncio.AbstractEventLoop) -> None:
    """Send hints to the pages that this loop serves, from now on."""
    _sent.setdefault(loop, {})


def begin_again() -> None:
    """Forget which numbers the pages of the running loop got, so that the next hints are sent in any case."""
    loop = asyncio.get_running_loop()
    _sent[loop] = {BEGINNING: next(_beginnings)}
    if loop in _paces:
        _paces[loop].held = None


def newest_sent() -> dict[str, int]:
    """Return the newest number that the running loop's pages got of each growing event. `BEGINNING` counts restarts."""
    return _sent.get(asyncio.get_running_loop(), {})


async def tell_pages(event: str, number: int) -> None:
    """Send a hint to the open pages of the running loop, unless they have got it.

    A hint about runs goes out at once, and then the newest one after `SECONDS_BETWEEN_RUNS`.
    """
    loop = asyncio.get_running_loop()
    sent = _sent.setdefault(loop, {})
    if event in GROWING:
        if number <= sent.get(event, -1):
            return
        if event == RUN_RECORDED and _holds(loop, number):
            return
        sent[event] = number
    await get_channel_layer().group_send(PAGES, message(event, number))


async def tell_epoch(epoch: str) -> None:
    """Tell the sockets of the running loop's pages which line of history their numbers belong to from now on."""
    await get_channel_layer().group_send(PAGES, {"type": "page.epoch", "epoch": epoch})


def _holds(loop: asyncio.AbstractEventLoop, number: int) -> bool:
    """Return whether a hint about runs has to wait, and send its number later if so."""
    pace = _paces.setdefault(loop, Pace())
    if loop.time() >= pace.until:
        pace.until = loop.time() + SECONDS_BETWEEN_RUNS
        return False
    if pace.held is None:
        loop.call_at(pace.until, _release, pace)
    pace.held = max(number, pace.held or 0)
    return True


def _release(pace: Pace) -> None:
    if pace.held is not None:
        number, pace.held = pace.held, None
        _send_here(message(RUN_RECORDED, number))


def send_in_this_process(event: str, number: int) -> None:
    """Send a hint to the open pages of this process, from any thread and without a transaction."""
    _send_to_own_pages(message(event, number))


def _send(payload: dict[str, Any]) -> None:
    _send_to_own_pages(payload)
    if settings.REDIS_URL:
        _tell_other_processes(payload)


def _send_to_own_pages(payload: dict[str, Any]) -> None:
    for loop in tuple(_sent):
        # Without waiting, because a loop that ends now would never answer.
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_send_here, payload)


def _send_here(payload: dict[str, Any]) -> None:
    task = asyncio.get_running_loop().create_task(tell_pages(payload["event"], payload["number"]))
    _sending.add(task)  # the loop itself holds only a weak reference
    task.add_done_callback(_sending.discard)


_silent_until = 0.0
_is_deaf = False  # no hints of other processes come


def is_redis_lost() -> bool:
    """Return whether hints between processes fail. Then processes find releases by comparing numbers."""
    return bool(settings.REDIS_URL) and (_is_deaf or time.monotonic() < _silent_until)


def _tell_other_processes(payload: dict[str, Any]) -> None:
    """Publish in Redis. While Redis is unavailable, skip it: other processes look at the database twice a second."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return
    try:
        _publisher().publish(channel(), json.dumps(payload | {"from": _process}))
    except redis.RedisError as error:
        _silent_until = time.monotonic() + SILENT_SECONDS
        log.warning("Redis is unavailable (%s). Other processes follow within a second.", error)


@cache
def _publisher() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.25, socket_connect_timeout=0.25)


def channel() -> str:
    """Return the Redis channel of this installation. Two installations may share a Redis without mixing their hints."""
    return f"promptops:{hashlib.sha256(settings.SECRET_KEY.encode()).hexdigest()[:16]}"


async def relay(hear: Callable[[str, int], Awaitable[None]]) -> None:
    """Call `hear` for ever with event and number of each hint of another process. Return at once without REDIS_URL.

    Pages always use the channel layer in memory, so an unavailable Redis only delays hints.
    """
    global _silent_until
    while settings.REDIS_URL:
        try:
            async with _subscriber() as server, server.pubsub() as subscription:
                await subscription.subscribe(channel())
                _silent_until = 0.0
                await _set_deaf(False)
                async for hint in _hints(subscription):
                    await hear(hint["event"], hint["number"])
        except Exception as error:  # an invalid hint must not end the listening
            if not _is_deaf:
                log.warning("Redis is unavailable for hints of other processes (%s). Retrying every second.", error)
            await _set_deaf(True)
        await asyncio.sleep(RECONNECT_SECONDS)


def _subscriber() -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=PING_SECONDS)


async def _hints(subscription: Any) -> AsyncIterator[dict[str, Any]]:
    """Yield the hints of other processes. Raises an error if Redis gives no sign of life.

    A host that is cut off ends no connection, so without pings the process would wait for ever.
    """
    is_asked = False
    while True:
        received = await subscription.get_message(timeout=PING_SECONDS)
        if received is None:
            if is_asked:
                raise redis.TimeoutError(f"no answer within {PING_SECONDS} s")
            await subscription.ping()
            is_asked = True
            continue
        is_asked = False
        if received["type"] == "message":
            hint = json.loads(received["data"])
            if hint.get("from") != _process:
                yield hint


async def _set_deaf(is_deaf: bool) -> None:
    """Note whether hints come, and let open pages show it."""
    global _is_deaf
    if is_deaf != _is_deaf:
        _is_deaf = is_deaf
        await tell_pages(FLEET_CHANGED, 0)
