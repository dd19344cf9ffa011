"""Recording runs in the order in which they ended, also when the database is unavailable at that moment.

A run then waits in memory, within bounds, and is recorded once the database is back. What a run's row holds is in
`promptops.runs.actions.runs`.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from django.db import Error, close_old_connections, connection

from promptops.platform import events, outages
from promptops.platform.threads import DatabaseThread

log = logging.getLogger(__name__)

MAX_WAITING = 1_000
MAX_WAITING_BYTES = 32 * 1024 * 1024
"""A run's texts are at most 16,000 characters typed, one prompt of 64 KiB, and an answer."""

PAGE_WAITS_SECONDS = 2.0
"""So long the page that started a run waits for its number; then it says that the run is not recorded yet."""

RETRY_SECONDS = 1.0
LOCK_WAIT_MS = 2_000
"""How long one attempt waits for another writer on SQLite: short, so that the end of the server need not wait."""

Work = Callable[[bool], int]
"""Records one run and returns its id. The flag says that an attempt has failed, which may have been committed."""


class NotRecorded(Exception):
    """The run was given up: too many wait already, or the server ends."""


@dataclass(frozen=True)
class RecordingStatus:
    """Runs of this process that are not in the database: those that wait for it, and those that were given up."""

    waiting: int = 0
    dropped: int = 0


class Recorder:
    """Records runs in threads, one after the other in each, and tries again for as long as the database is away."""

    def __init__(self) -> None:
        self._thread = DatabaseThread("runs")
        self._lock = threading.Lock()
        self._waiting = self._bytes = self._dropped = 0
        self._unavailable: set[int] = set()  # threads whose last attempt failed
        self._given_up = threading.Event()

    @property
    def status(self) -> RecordingStatus:
        """Return what is not recorded. While the database answers, nothing counts as waiting."""
        return RecordingStatus(self._waiting if self._unavailable else 0, self._dropped)

    async def record(self, work: Work, *, size: int, thread: DatabaseThread | None = None) -> int:
        """Return the id of the run that `work` records, however long that takes. `size` is its texts' bytes.

        Raises NotRecorded, and what else than an outage `work` raises.
        """
        with self._lock:
            if self._waiting >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
                self._dropped += 1
                waiting = self._waiting
                full = True
            else:
                self._waiting += 1
                self._bytes += size
                full = False
        if full:
            log.error("A run was not recorded: %d wait for the database already, and more do not fit.", waiting)
            raise NotRecorded
        try:
            return await (thread or self._thread).run(self._patiently, work)
        finally:
            with self._lock:
                self._waiting -= 1
                self._bytes -= size

    def give_up(self) -> int:
        """Stop trying, as the server ends; returns how many runs are lost with it."""
        self._given_up.set()
        lost = self.status.waiting
        if lost:
            log.error("%d runs were not recorded: the database was unavailable until the server ended.", lost)
        return lost

    def _patiently(self, work: Work) -> int:
        failed = False
        me = threading.get_ident()
        try:
            while not self._given_up.is_set():
                try:
                    with outages.short_wait(LOCK_WAIT_MS):
                        run_id = work(failed)
                    if failed:
                        log.info("The database is back: runs that waited are being recorded.")
                    return run_id
                except Error as error:
                    if outages.kind(error) is None:
                        raise
                    connection.close()
                    if not failed:
                        log.warning("A run waits to be recorded.", exc_info=error)
                    failed = True
                    self._unavailable.add(me)
                    self._tell_pages()
                    self._given_up.wait(RETRY_SECONDS)
            with self._lock:
                self._dropped += 1
            raise NotRecorded
        finally:
            if failed:
                self._unavailable.discard(me)
                self._tell_pages()
            close_old_connections()

    def _tell_pages(self) -> None:
        status = self.status
        events.send_in_this_process(events.RECORDING_CHANGED, status.waiting + status.dropped)

    @staticmethod
    def log_failure(task: "asyncio.Task[int]") -> None:
        """Log why a recording failed that nobody waits for any more; a callback of its task."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, NotRecorded):
            log.error("A run was not recorded.", exc_info=error)


recorder = Recorder()  # this process's
