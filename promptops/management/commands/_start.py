"""Guards of the start: one process at a time prepares a database, and older code refuses a newer database."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

ADVISORY_LOCK = int.from_bytes(b"PromptOp", "big")
"""PostgreSQL's advisory locks are numbers of 64 bits, one space for each database."""

POLL_SECONDS = 0.1


@contextmanager
def start_lock(connection: BaseDatabaseWrapper, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of the database's start; wait, and say so, while another process holds it.

    The system frees the lock of a process that dies. Raises OperationalError if the database cannot be reached.
    """
    hold = _file_lock if connection.vendor == "sqlite" else _advisory_lock
    with hold(connection) as acquire:
        if not acquire():
            say("Another PromptOps process is preparing this database. Waiting for it.")
            while not acquire():  # not one long wait: the database may cancel a long statement
                time.sleep(POLL_SECONDS)
        yield


@contextmanager
def _file_lock(connection: BaseDatabaseWrapper) -> Iterator[Callable[[], bool]]:
    """Yield a function that tries to lock an empty file beside SQLite's; a locked database could not be migrated."""
    path = f"{connection.settings_dict['NAME']}.start-lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise OperationalError(f"{path}: {error.strerror}") from None

    def acquire() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        yield acquire
    finally:
        os.close(descriptor)


@contextmanager
def _advisory_lock(connection: BaseDatabaseWrapper) -> Iterator[Callable[[], bool]]:
    """Yield a function that tries the advisory lock, on a connection that no failed migration can break."""
    own = connection.copy()
    own.settings_dict["OPTIONS"].pop("pool", None)  # closing must end the session, and with it the lock

    def acquire() -> bool:
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK])
            return bool(cursor.fetchone()[0])

    try:
        yield acquire
    finally:
        own.close()


def refuse_newer_database(connection: BaseDatabaseWrapper) -> None:
    """Raise CommandError if the database has migrations of PromptOps that this code does not know."""
    loader = MigrationLoader(connection)
    unknown = sorted(
        name
        for app, name in loader.applied_migrations
        if app == "promptops" and (app, name) not in loader.disk_migrations
    )
    if unknown:
        raise CommandError(
            f"A newer PromptOps has upgraded this database (unknown migration: {unknown[-1]}). "
            "Start that version, or restore the backup from before the upgrade."
        )
