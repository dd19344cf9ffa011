"""The live document of this process as bytes, made once for each snapshot, and waiting for the next one.

A swap makes the document in its own thread, before the hint of the new revision is sent. Reading it then takes neither
time nor the database. The contents of the document belong to `engine.live_document`, HTTP to `api`.
"""

import asyncio
import gzip
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from promptops.engine.live_document import InvalidDocument, document_bytes, live_document, read_live_document
from promptops.engine.snapshot import Snapshot
from promptops.live import snapshots
from promptops.live.waiting import Waiting
from promptops.platform.draining import gate
from promptops.platform.threads import in_background

log = logging.getLogger(__name__)

GZIP_LEVEL = 3
"""Level 6 takes twice as long and saves 1% of the bytes."""


@dataclass(frozen=True)
class LiveDocument:
    """The document of one snapshot. `values` is its content, `body` and `gzip` are its bytes."""

    revision: int
    epoch: str
    sha256: str
    body: bytes = field(repr=False)
    gzip: bytes = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class _Made:
    snapshot: Snapshot
    document: LiveDocument | None
    refusal: str = ""


_lock = threading.Lock()
_made: _Made | None = None
waiting = Waiting()
"""The requests that wait for a newer document."""


def current() -> LiveDocument:
    """Return the document of the current snapshot. Call it in a thread: the first call for a snapshot makes it.

    Raises InvalidDocument if the snapshot has a value that no server accepts.
    """
    return _of(snapshots.current())


async def acurrent() -> LiveDocument:
    """Return the document of the current snapshot, for async code. Reads memory only, after the first call."""
    made, snapshot = _made, snapshots.loaded_snapshot()
    if made is None or snapshot is None or made.snapshot is not snapshot:
        return await in_background(current)
    return _usable(made)


async def next_document(is_news: Callable[[LiveDocument], bool], *, seconds: float, token: int) -> LiveDocument:
    """Return the current document as soon as it is news, or after `seconds`. It reads no database meanwhile.

    Raises `waiting.TooManyWaiting`, and `waiting.Ended` when the process stops or the token is revoked.
    """
    document = await acurrent()
    if seconds <= 0 or is_news(document):
        return document
    with waiting.waiter(token) as waiter:
        ends = asyncio.get_running_loop().time() + seconds
        while True:
            waiter.rest()
            if is_news(document := await acurrent()) or not await waiter.woken_before(ends):
                return document


def _of(snapshot: Snapshot) -> LiveDocument:
    global _made
    with _lock:
        made = _made
        if made is None or made.snapshot is not snapshot:
            made = _make(snapshot)
            if _made is None or snapshot is snapshots.loaded_snapshot():  # an old snapshot replaces no newer one
                _made = made
    return _usable(made)


def _usable(made: _Made) -> LiveDocument:
    if made.document is None:
        raise InvalidDocument(made.refusal)
    return made.document


def _make(snapshot: Snapshot) -> _Made:
    try:
        values = live_document(snapshot)
        body = document_bytes(values)
        read_live_document(values)  # hand out nothing that servers refuse
    except InvalidDocument as refusal:
        log.error("Servers cannot follow revision %d: %s", snapshot.revision, refusal)
        return _Made(snapshot, None, str(refusal))
    packed = gzip.compress(body, GZIP_LEVEL, mtime=0)
    return _Made(snapshot, LiveDocument(snapshot.revision, snapshot.epoch, values["sha256"], body, packed, values))


def _swapped(before: Snapshot | None, after: Snapshot) -> None:
    """Make the document of a new snapshot, and wake those who wait for it."""
    try:
        _of(after)
    except InvalidDocument:
        pass  # it is in the log, and each reader gets the reason
    except Exception:  # a release must not fail because of it
        log.exception("The live document of revision %d could not be made.", after.revision)
    waiting.wake()


snapshots.SWAPPED.append(_swapped)
gate.when_closed.append(waiting.stop)
