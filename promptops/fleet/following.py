"""The work of the fleet beside requests: hints to servers, writing their reports, and hints to pages.

A release reaches the servers in this order: the snapshot is swapped, its document is built, hints go out.
"""

import asyncio
import contextlib
import importlib.util
import logging
import re
import socket
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db.models import CharField, Count, Max, Subquery, Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone

import promptops
from promptops.engine.judging import OFF
from promptops.engine.live_document import InvalidDocument
from promptops.engine.snapshot import Snapshot
from promptops.fleet import connections, contents, now
from promptops.fleet.actions import levers, servers
from promptops.fleet.messages import Heartbeat, Register
from promptops.fleet.models import Server
from promptops.fleet.reports import HEARD_SECONDS, WRITE_SECONDS, Batch, reports
from promptops.fleet.standing import HEARTBEAT_SECONDS
from promptops.live import documents, polling, snapshots
from promptops.people import tokens
from promptops.platform import background, events
from promptops.platform.draining import gate
from promptops.platform.threads import DatabaseThread, in_background
from promptops.platform.waking import Signal
from promptops.runs.actions.recording import recorder

log = logging.getLogger(__name__)

PICTURE_SECONDS = 5.0
"""Between two looks at the fleet without news: servers that have become silent send none."""
SECONDS_BETWEEN_HINTS = 0.3
RETRY_SECONDS = 1.0
LEVER_SECONDS = 1.0
"""Between two looks, in memory, at whether a lever has expired."""
INSTANCE = uuid4().hex
"""Names this life of the process."""


_self_tests: dict[str, Any] = {}
"""The guard that was tested last, and whether it passed."""
_swapped, _to_write, _to_look = Signal(), Signal(), Signal()
reports.wake = _to_write.set


def _note_swap(before: Snapshot | None, after: Snapshot) -> None:
    _swapped.set()


snapshots.SWAPPED.append(_note_swap)


def process_name() -> str:
    """Return the name of this process in the fleet: host and port, as it stays over restarts."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:80].strip(".-") or "promptops"
    return f"{host}:{settings.PORT}"


@background.task
async def follow_releases() -> None:
    """Send each revision to the servers, and report that this process runs it."""
    own: Server | None = None
    hinted: tuple[str, int] | None = None
    _swapped.hear()
    try:
        while True:
            try:
                # Made in the thread of the swap, before the hint: all servers fetch it at once.
                document = await documents.acurrent()
                contents.remember(document.epoch, document.revision, document.sha256)
                if hinted != (document.epoch, document.revision):
                    await connections.hint_all(document.revision, document.epoch, document.body)
                    hinted = document.epoch, document.revision
                own = await _report_own(own, document)
                reports.settle(now=timezone.now())
            except InvalidDocument:
                pass  # servers keep what they run, and the log has the reason
            except Exception:
                log.exception("The newest revision cannot be sent to the servers. Retrying.")
                await asyncio.sleep(RETRY_SECONDS)
            await _swapped.wait(HEARTBEAT_SECONDS)
    finally:
        _swapped.forget_loop()
        if own is not None:
            reports.leave(own, now=timezone.now())


async def _report_own(own: Server | None, document: "documents.LiveDocument") -> Server:
    """Report what this process runs, as a server does."""
    is_filtered = await in_background(_judges_texts)
    runs: dict[str, Any] = {
        "revision": document.revision,
        "epoch": document.epoch,
        "sha256": document.sha256,
        "state": "ready",
        "runs_a_minute": float(recorder.rate.a_minute()),
    }
    if own is None:
        register = Register(
            server=process_name(),
            instance=INSTANCE,
            kind="process",
            version=promptops.__version__,
            filtered=is_filtered,
            **runs,
        )
        return reports.register(register, now=timezone.now(), is_process=True)
    if own.is_filtered != is_filtered:
        reports.filters(own, is_filtered, now=timezone.now())
    reports.hear(own, Heartbeat(**runs), now=timezone.now())
    return own


def _judges_texts() -> bool:
    """Return whether this process judges texts as soon as the filter is on. Loads the model only while it is on."""
    safety = snapshots.current().safety
    if safety.mode == OFF:
        return importlib.util.find_spec("fasttext") is not None
    if _self_tests.get("guard") is not safety.guard:
        _self_tests.update(guard=safety.guard, passes=not safety.guard.self_test())
    return bool(_self_tests["passes"])


@background.task
async def write_reports() -> None:
    """Write what the servers have reported: news at once, times and rates every few seconds."""
    loop = asyncio.get_running_loop()
    thread = DatabaseThread("fleet")
    heard_at = loop.time()
    _to_write.hear()
    reports.wake()  # what was reported before this task began
    try:
        while True:
            await _to_write.wait(HEARD_SECONDS)
            await asyncio.sleep(WRITE_SECONDS)
            reports.settle(now=timezone.now())
            everything = loop.time() - heard_at >= HEARD_SECONDS
            heard_at = loop.time() if everything else heard_at
            batch = reports.batch(everything=everything)
            if batch.servers or batch.acknowledgements:
                await _write(batch, thread)
            reports.drop_those_gone(now=timezone.now())
    finally:
        _to_write.forget_loop()
        thread.submit(_write_last, reports.batch(everything=True))
        await thread.close()


async def _write(batch: Batch, thread: DatabaseThread) -> None:
    try:
        await thread.run(servers.write, batch)
    except asyncio.CancelledError:
        reports.give_back(batch)
        raise
    except Exception as error:
        log.warning("Reports of servers cannot be written (%s). Trying again.", type(error).__name__)
        reports.give_back(batch)
        await asyncio.sleep(RETRY_SECONDS)
        reports.wake()
    else:
        if batch.has_news:
            _to_look.set()


def _write_last(batch: Batch) -> None:
    with contextlib.suppress(Exception):  # the process ends; the servers connect to another one
        if batch.servers or batch.acknowledgements:
            servers.write(batch)


@background.task
async def keep_picture() -> None:
    """Read the fleet after news, and every few seconds, and tell open pages if they show something else now."""
    _to_look.hear()
    try:
        while True:
            try:
                if await in_background(now.refresh):
                    await events.tell_pages(events.FLEET_CHANGED, 0)
            except Exception:
                log.warning("The fleet cannot be read. Trying again.", exc_info=True)
            await asyncio.sleep(SECONDS_BETWEEN_HINTS)
            await _to_look.wait(PICTURE_SECONDS)
    finally:
        _to_look.forget_loop()


@background.task
async def watch_connections() -> None:
    """Close the sockets of servers that have become silent, of tokens that end, and all when the process stops."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def start(coroutine: Any) -> None:
        task = loop.create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def end_token(token_id: int) -> None:
        loop.call_soon_threadsafe(
            lambda: start(connections.end_those_of_token(token_id, "This token was revoked or changed."))
        )

    def end_all() -> None:
        loop.call_soon_threadsafe(
            lambda: start(connections.end_all(connections.RESTARTING, "PromptOps restarts. Connect again in a moment."))
        )

    tokens.REVOKED.append(end_token)
    gate.when_closed.append(end_all)
    try:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS / 2)
            await connections.end_silent(timezone.now())
    finally:
        tokens.REVOKED.remove(end_token)
        gate.when_closed.remove(end_all)


@background.task
async def end_levers() -> None:
    """End levers that have expired, for ever. One of all processes ends each, by a release."""
    is_failing = False
    while True:
        snapshot = snapshots.loaded_snapshot()
        if snapshot and any(not lever.holds(timezone.now()) for lever in snapshot.levers):
            try:
                await in_background(levers.end_expired)
                is_failing = False
            except Exception as error:  # the lever no longer holds, whether its end is released or not
                if not is_failing:
                    log.error("The end of a lever could not be released (%s). Retrying.", type(error).__name__)
                is_failing = True
        await asyncio.sleep(LEVER_SECONDS)


@background.hourly
def prune() -> None:
    """Delete what is too old or too much."""
    if deleted := servers.prune():
        log.info("Deleted %d old rows of servers and their acknowledgements.", deleted)


def _newest_change() -> Subquery:
    """Return the expression that changes whenever a server does."""
    rows = Server.objects.order_by().annotate(all=Value(1)).values("all")
    newest = Concat(Cast(Count("pk"), CharField()), Value(" "), Cast(Max("changed_at"), CharField()))
    return Subquery(rows.annotate(newest=newest).values("newest"))


async def _look(before: Any, after: Any, in_thread: polling.InThread) -> None:
    _to_look.set()


polling.watch("fleet", polling.Watch(_newest_change, lambda value: value, _look))
