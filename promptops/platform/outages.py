"""Which errors mean that the database is unavailable, and how to say so. A bug in a statement is none of them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, OperationalError, connection

RETRY_SECONDS = 5
"""What `Retry-After` says to a browser."""

SHORT_WAIT_MS = 250
"""How long a write that nobody needs waits for another writer."""

# https://www.sqlite.org/rescode.html: the primary codes of what passes, or what an operator has to repair.
LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
FULL = {sqlite3.SQLITE_FULL}
AWAY = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
# https://www.postgresql.org/docs/current/errcodes-appendix.html
PG_LOCKED = {"40001", "40P01", "55P03", "57014"}
PG_READ_ONLY = {"25006"}
PG_FULL = {"53100"}
PG_AWAY = {"08", "28", "53", "57", "58"}  # classes: connections, sign-in, resources, shutdown, the system below

SENTENCES = {
    "locked": "The database is busy with another change.",
    "read-only": "The database is read-only at the moment.",
    "full": "The disk of the database is full. Tell an administrator.",
    "away": "The database cannot be reached at the moment.",
}


def kind(error: BaseException | None) -> str | None:
    """Return how the database is unavailable ("locked", "read-only", "full", "away"), or None for another error."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for each in error.exceptions if (found := kind(each))), None)
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0)  # Python's own errors, as of a text that is no UTF-8, have none
        codes = {"locked": LOCKED, "read-only": READ_ONLY, "full": FULL, "away": AWAY}
        return next((name for name, those in codes.items() if code & 0xFF in those), None)
    state = getattr(cause, "sqlstate", None)
    for name, states in {"locked": PG_LOCKED, "read-only": PG_READ_ONLY, "full": PG_FULL}.items():
        if state in states:
            return name
    if state is not None and state[:2] not in PG_AWAY:  # as of a statement that is too complex
        return None
    return "away" if isinstance(error, OperationalError | InterfaceError) else None


def summary(error: BaseException | None) -> str | None:
    """Return why the database is unavailable in one line for the log, or None for another error."""
    found = kind(error)
    if found is None:
        return None
    text = str(error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error).strip()
    return f"{found}: {text.splitlines()[0] if text else type(error).__name__}"


def sentence(error: BaseException | None) -> str | None:
    """Return what to tell a person about it, or None for another error."""
    found = kind(error)
    return f"{SENTENCES[found]} Try again in a moment." if found else None


@contextmanager
def short_wait(milliseconds: int = SHORT_WAIT_MS) -> Iterator[None]:
    """Let SQLite wait for another writer only so long. (On PostgreSQL a row waits for writers of the same row only.)"""
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
