"""The queue that records runs in the order in which they ended, many at once, even if the database is unavailable then.

A run then waits in memory, within limits, until the database is back. The rows of a run are built in
`promptops.runs.actions.records`.
"""

import asyncio
import logging
import threading
import weakref
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from django.db import Error, close_old_connections, connection

from promptops.engine.judged_runs import Outcome
from promptops.platform import events, outages
from promptops.platform.threads import DatabaseThread
from promptops.runs.actions.records import record_runs
from promptops.runs.plans import RunPlan, size
from promptops.runs.queries.runs import recorded_runs
from promptops.stats.rates import Rate

log = logging.getLogger(__name__)

MAX_WAITING = 1_000
MAX_WAITING_BYTES = 32 * 1024 * 1024
"""The texts of one run are at most an input of 16,000 characters, a prompt of 64 KiB, and an answer."""

PAGE_WAITS_SECONDS = 2.0
"""The time that a page waits for the number of its run, before it shows that the run is not recorded yet."""

RETRY_SECONDS = 1.0
LOCK_WAIT_MS = 2_000
"""The time that one attempt waits for another writer on SQLite. It is short, so that a shutdown does not wait."""

MAX_BATCH = 64
"""The most runs that one transaction records, so that other writers do not wait long."""


class NotRecorded(Exception):
    """The run is lost: too many runs wait already, or the server shuts down."""


@dataclass(frozen=True)
class RecordingStatus:
    """The numbers of this process's runs that wait for the database, and that are lost."""

    waiting: int = 0
    dropped: int = 0


class Waiting(NamedTuple):
    """A run that is not recorded yet. `size` is that of its texts in bytes."""

    plan: RunPlan
    outcome: Outcome
    size: int
    run_id: "Future[int]"


class Recorder:
    """Records runs in threads, in each in the order in which they ended, and retries while the database is unavailable.

    One transaction records all runs that ended while their thread was busy, so a run never waits for others.
    """

    def __init__(self) -> None:
        self._thread = DatabaseThread("runs")
        self._lock = threading.Lock()
        self._queues: weakref.WeakKeyDictionary[DatabaseThread, deque[Waiting]] = weakref.WeakKeyDictionary()
        self._waiting = self._bytes = self._dropped = 0
        self._unavailable: set[int] = set()  # threads whose last attempt failed
        self._given_up = threading.Event()
        self.rate = Rate()
        """The runs of this process that ended in the last minute."""

    @property
    def status(self) -> RecordingStatus:
        """Return how many runs are not recorded. While the database answers, no run counts as waiting."""
        return RecordingStatus(self._waiting if self._unavailable else 0, self._dropped)

    @property
    def waiting(self) -> int:
        """Return how many ended runs are not in the database yet, while it answers too."""
        return self._waiting

    @property
    def is_crowded(self) -> bool:
        """Return whether half as many runs wait as may wait, although the database answers."""
        is_half_full = self._waiting > MAX_WAITING // 2 or self._bytes > MAX_WAITING_BYTES // 2
        return is_half_full and not self._unavailable

    async def record(self, plan: RunPlan, outcome: Outcome) -> int:
        """Record an ended run in the plan's thread and return its id, however long that takes.

        The run is recorded even if the caller is canceled. Raises NotRecorded, and all errors except outages.
        """
        run = Waiting(plan, outcome, size(plan, outcome), Future())
        self.rate.add()
        run.run_id.set_running_or_notify_cancel()  # so that nobody can cancel it
        if (waiting := self._enqueue(run, plan.thread or self._thread)) is not None:
            log.error("A run was not recorded: %d runs wait for the database already, which is the limit.", waiting)
            raise NotRecorded
        return await asyncio.wrap_future(run.run_id)

    def give_up(self) -> int:
        """Stop retrying, because the server shuts down, and return the number of lost runs."""
        self._given_up.set()
        lost = self.status.waiting
        if lost:
            log.error("%d runs were not recorded: the database was unavailable until the server shut down.", lost)
        return lost

    def _enqueue(self, run: Waiting, thread: DatabaseThread) -> int | None:
        """Let the thread record the run. If too many wait already, return their number."""
        with self._lock:
            if self._waiting >= MAX_WAITING or self._bytes + run.size > MAX_WAITING_BYTES:
                self._dropped += 1
                return self._waiting
            queue = self._queues.setdefault(thread, deque())
            # Once for each run: nothing is left to do then if a batch before has taken the run.
            thread.submit(self._record_batch, queue)
            queue.append(run)
            self._waiting += 1
            self._bytes += run.size
            return None

    def _record_batch(self, queue: deque[Waiting]) -> None:
        with self._lock:
            batch = [queue.popleft() for _ in range(min(MAX_BATCH, len(queue)))]
        if not batch:
            return
        try:
            self._with_retries(batch)
        except Exception as error:
            for run in _unsettled(batch):
                self._settle(run, error)

    def _with_retries(self, batch: list[Waiting]) -> None:
        failed = False
        me = threading.get_ident()
        try:
            while not self._given_up.is_set():
                try:
                    with outages.short_wait(LOCK_WAIT_MS):
                        self._write(_unsettled(batch), failed)
                    if failed:
                        log.info("The database is available again. Waiting runs are being recorded.")
                    return
                except Error as error:
                    connection.close()
                    if outages.kind(error) is None:
                        raise
                    if not failed:
                        log.warning("A run waits to be recorded.", exc_info=error)
                    failed = True
                    self._unavailable.add(me)
                    self._tell_pages()
                    self._given_up.wait(RETRY_SECONDS)
            for run in _unsettled(batch):
                with self._lock:
                    self._dropped += 1
                self._settle(run, NotRecorded())
        finally:
            if failed:
                self._unavailable.discard(me)
                self._tell_pages()
            close_old_connections()

    def _write(self, batch: list[Waiting], failed: bool) -> None:
        """Record the runs in one transaction, or each alone if one of them is the reason why that fails.

        `failed` means that an earlier attempt failed, perhaps after its commit. Raises outages.
        """
        if failed:
            for run, run_id in zip(batch, recorded_runs([run.outcome for run in batch]), strict=True):
                if run_id is not None:
                    self._settle(run, run_id)
            batch = _unsettled(batch)
        if not batch:
            return
        try:
            ids = record_runs([(run.plan, run.outcome) for run in batch])
        except Exception as error:
            if outages.kind(error) is not None:
                raise
            if len(batch) == 1:
                self._settle(batch[0], error)
            else:
                for run in batch:
                    self._write([run], True)
        else:
            for run, recorded_id in zip(batch, ids, strict=True):
                self._settle(run, recorded_id)

    def _settle(self, run: Waiting, result: int | Exception) -> None:
        """Return the run's id to the caller of `record`, or raise the error there."""
        with self._lock:
            self._waiting -= 1
            self._bytes -= run.size
        if isinstance(result, Exception):
            run.run_id.set_exception(result)
        else:
            run.run_id.set_result(result)

    def _tell_pages(self) -> None:
        status = self.status
        events.send_in_this_process(events.RECORDING_CHANGED, status.waiting + status.dropped)

    @staticmethod
    def log_failure(task: "asyncio.Task[int]") -> None:
        """Log the error of a recording that has no caller any more. This is a callback of its task."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, NotRecorded):
            log.error("A run was not recorded.", exc_info=error)


def _unsettled(batch: list[Waiting]) -> list[Waiting]:
    return [run for run in batch if not run.run_id.done()]


recorder = Recorder()  # this process's
