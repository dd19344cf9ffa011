"""Giving space that SQLite no longer uses back to the disk, in small steps. PostgreSQL reuses its space by itself.

A file shrinks only if it was made with `auto_vacuum` (apps.py). An older file needs `manage.py vacuum` once.
"""

import os
import time

from django.db import connection

from promptops.platform.draining import gate

PAGES = 500
"""The pages (usually of 4 KiB) of one step, which is one transaction."""
KEPT_PAGES = 1_000
KEPT_SHARE = 0.05
"""Free pages that stay in the file for the next runs: this number, and at least this share of all its pages."""
PAUSE = 2.0
"""The pause after a step, in multiples of the time that the step took."""
LEAST_PAUSE_SECONDS = 0.02


def give_back() -> int:
    """Shrink the file in steps, and return by how many bytes. Ends when the server stops."""
    if not can_shrink():
        return 0
    pages = 0
    while not gate.closed and (unused := unused_pages()) > 0:
        began = time.monotonic()
        step = min(PAGES, unused)
        connection.ensure_connection()
        # Not `execute`: the statement frees one page in each step, and sqlite3 makes only the first of them.
        connection.connection.executescript(f"PRAGMA incremental_vacuum({step})")
        pages += step
        time.sleep(max(LEAST_PAUSE_SECONDS, PAUSE * (time.monotonic() - began)))
    return pages * _number("page_size") if pages else 0


def can_shrink() -> bool:
    """Return whether the database is a SQLite file that can shrink in steps."""
    return connection.vendor == "sqlite" and _number("auto_vacuum") == 2


def needs_rewriting() -> bool:
    """Return whether the database is an older SQLite file with unused pages, which it cannot give back."""
    return connection.vendor == "sqlite" and not can_shrink() and unused_pages() > 0


def unused_pages() -> int:
    """Return the number of free pages beyond those that stay in the file; 0 or less if there are none."""
    return _number("freelist_count") - max(KEPT_PAGES, int(_number("page_count") * KEPT_SHARE))


def rewrite() -> tuple[int, int]:
    """Write SQLite's file once more without unused space, so that it can shrink from then on.

    Return its size before and after, in bytes. Writers wait meanwhile. The disk needs twice that size free.
    """
    path = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        before = os.path.getsize(path)
        cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return before, os.path.getsize(path)


def _number(pragma: str) -> int:
    with connection.cursor() as cursor:
        return int(cursor.execute(f"PRAGMA {pragma}").fetchone()[0])
