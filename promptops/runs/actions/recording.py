"""The queue that records runs in the order in which they ended, even if the database is unavailable at that moment.

A run then waits in memory, within limits, until the database is back. The rows of a run are built in
`promptops.runs.actions.records`.
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
"""The texts of one run are at most an input of 16,000 characters, a prompt of 64 KiB, and an answer."""

PAGE_WAITS_SECONDS = 2.0
"""The time that a page waits for the number of its run, before it shows that the run is not recorded yet."""

RETRY_SECONDS = 1.0
LOCK_WAIT_MS = 2_000
"""The time that one attempt waits for another writer on SQLite. It is short, so that a shutdown does not wait."""

Work = Callable[[bool], int]
"""Records one run and returns its id. The flag means that an earlier attempt failed, perhaps after its commit."""


class NotRecorded(Exception):
    """The run is lost: too many runs wait already, or the server shuts down."""


@dataclass(frozen=True)
class RecordingStatus:
    """The numbers of this process's runs that wait for the database, and that are lost."""

    waiting: int = 0
    dropped: int = 0


class Recorder:
    """Records runs in threads, one after another in each, and retries while the database is unavailable."""

    def __init__(self) -> None:
        self._thread = DatabaseThread("runs")
        self._lock = threading.Lock()
        self._waiting = self._bytes = self._dropped = 0
        self._unavailable: set[int] = set()  # threads whose last attempt failed
        self._given_up = threading.Event()

    @property
    def status(self) -> RecordingStatus:
        """Return how many runs are not recorded. While the database answers, no run counts as waiting."""
        return RecordingStatus(self._waiting if self._unavailable else 0, self._dropped)

    async def record(self, work: Work, *, size: int, thread: DatabaseThread | None = None) -> int:
        """Return the id of the run that `work` records, however long that takes. `size` is in bytes of its texts.

        Raises NotRecorded, and the errors of `work` except outages.
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
            log.error("A run was not recorded: %d runs wait for the database already, which is the limit.", waiting)
            raise NotRecorded
        try:
            return await (thread or self._thread).run(self._with_retries, work)
        finally:
            with self._lock:
                self._waiting -= 1
                self._bytes -= size

    def give_up(self) -> int:
        """Stop retrying, because the server shuts down, and return the number of lost runs."""
        self._given_up.set()
        lost = self.status.waiting
        if lost:
            log.error("%d runs were not recorded: the database was unavailable until the server shut down.", lost)
        return lost

    def _with_retries(self, work: Work) -> int:
        failed = False
        me = threading.get_ident()
        try:
            while not self._given_up.is_set():
                try:
                    with outages.short_wait(LOCK_WAIT_MS):
                        run_id = work(failed)
                    if failed:
                        log.info("The database is available again. Waiting runs are being recorded.")
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
        """Log the error of a recording that has no caller any more. This is a callback of its task."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, NotRecorded):
            log.error("A run was not recorded.", exc_info=error)


recorder = Recorder()  # this process's
