"""A test whose threads use the database in the wrong way fails itself, and not the tests after it.

- A test in a transaction (`django_db` without `transaction=True`) lets no other thread use the database. The thread
  would not see the test's rows, and a write would wait for the test's lock and then fall between two later tests.
- No thread holds a write transaction of SQLite when a test has ended, because no later test could begin.
"""

import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

import pytest

RELEASE_SECONDS = 5.0
"""The longest time that a thread may need for the transaction that it began during a test."""


class Locks:
    """Watches the connections of all threads but the main one."""

    def __init__(self) -> None:
        self._main: Any = None  # the connection of the main thread, in which tests have their transaction
        self._probe: sqlite3.Connection | None = None
        self._strangers: list[str] = []
        self._follows_commits = False

    def start(self) -> None:
        """Watch the database of the tests, which exists now. Call this in the main thread."""
        from django.db import connection, connections
        from django.db.backends.signals import connection_created

        self._main = connections[connection.alias]
        connection_created.connect(self._note)
        if connection.vendor == "sqlite":
            name = connection.settings_dict["NAME"]
            self._probe = sqlite3.connect(name, timeout=RELEASE_SECONDS, isolation_level=None)

    def fault(self, item: pytest.Item) -> str:
        """Return what the test did wrong, which has ended with all its fixtures, or an empty text."""
        strangers, self._strangers = self._strangers, []
        # Threads of a test that commits may end a moment after it. They are no fault of the next test.
        may_be_late, self._follows_commits = self._follows_commits, commits(item)
        if strangers and not may_be_late:
            return f"Use django_db(transaction=True): {strangers} used the database beside the test's transaction."
        if self._probe is not None:
            try:
                self._probe.execute("BEGIN IMMEDIATE")
                self._probe.execute("ROLLBACK")
            except sqlite3.OperationalError as error:
                threads = [thread.name for thread in threading.enumerate()]
                return f"A thread still holds a write transaction ({error}). It is one of {threads}."
        return ""

    def _note(self, **_: Any) -> None:
        """Note a thread that opens a connection beside the transaction of a test."""
        thread = threading.current_thread()
        if thread is not threading.main_thread() and self._main.in_atomic_block:
            self._strangers.append(thread.name)


def commits(item: pytest.Item) -> bool:
    """Return whether what the test writes is committed, so that its threads may use the database."""
    marker = item.get_closest_marker("django_db")
    return "transactional_db" in getattr(item, "fixturenames", ()) or bool(marker and marker.kwargs.get("transaction"))


locks = Locks()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Check after all fixtures of the test have ended. With the last test, the database of the tests has ended too."""
    yield
    if nextitem is not None and (fault := locks.fault(item)):
        pytest.fail(fault, pytrace=False)
