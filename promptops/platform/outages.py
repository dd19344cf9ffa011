"""Errors that mean an unavailable database, and the sentences about them. A bug in a statement does not belong here."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, OperationalError, connection

RETRY_SECONDS = 5
"""The value of the header `Retry-After`."""

SHORT_WAIT_MS = 250
"""The longest time that a dispensable write waits for another writer."""

# https://www.sqlite.org/rescode.html: the primary codes of errors that pass or that an operator has to repair.
LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
FULL = {sqlite3.SQLITE_FULL}
AWAY = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
# https://www.postgresql.org/docs/current/errcodes-appendix.html
PG_LOCKED = {"40001", "40P01", "55P03", "57014"}
PG_READ_ONLY = {"25006"}
PG_FULL = {"53100"}
PG_AWAY = {"08", "28", "53", "57", "58"}  # classes: connections, sign-in, resources, shutdown, operating system

SENTENCES = {
    "locked": "The database is busy with another change.",
    "read-only": "The database is read-only at the moment.",
    "full": "The disk of the database is full. Tell an administrator.",
    "away": "The database cannot be reached at the moment.",
}


def kind(error: BaseException | None) -> str | None:
    """Return how the database is unavailable ("locked", "read-only", "full", "away"), or None for another error."""
    if isinstance(error, BaseExceptionGroup):
        return next((name for each in error.exceptions if (name := kind(each))), None)
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0)  # errors of Python itself have none
        codes = {"locked": LOCKED, "read-only": READ_ONLY, "full": FULL, "away": AWAY}
        return next((name for name, those in codes.items() if code & 0xFF in those), None)
    state = getattr(cause, "sqlstate", None)
    for name, states in {"locked": PG_LOCKED, "read-only": PG_READ_ONLY, "full": PG_FULL}.items():
        if state in states:
            return name
    if state is not None and state[:2] not in PG_AWAY:  # such as a statement that is too complex
        return None
    return "away" if isinstance(error, OperationalError | InterfaceError) else None


def summary(error: BaseException | None) -> str | None:
    """Return why the database is unavailable in one line for the log, or None for another error."""
    name = kind(error)
    if name is None:
        return None
    text = str(error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error).strip()
    return f"{name}: {text.splitlines()[0] if text else type(error).__name__}"


def sentence(error: BaseException | None) -> str | None:
    """Return a sentence about the outage for a person, or None for another error."""
    name = kind(error)
    return f"{SENTENCES[name]} Try again in a moment." if name else None


@contextmanager
def short_wait(milliseconds: int = SHORT_WAIT_MS) -> Iterator[None]:
    """Let SQLite wait at most this long for another writer. PostgreSQL waits only for writers of the same row."""
    if connection.vendor != "sqlite":
        yield
        return
    connection.ensure_connection()
    connection.connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
    try:
        yield
    finally:
        if connection.connection is not None:
            usual = float(connection.settings_dict["OPTIONS"].get("timeout", 5.0))
            connection.connection.execute(f"PRAGMA busy_timeout = {int(usual * 1000)}")
