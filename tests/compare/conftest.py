"""Fixtures of the tests of comparisons."""

import pytest

from promptops.compare.actions import trials


@pytest.fixture
def quick(monkeypatch):
    """Let the runner look for trials all the time."""
    monkeypatch.setattr(trials, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(trials, "IDLE_SECONDS", 0.02)  # nothing wakes the runner in these tests
    # As in a server, a query in the event loop is an error.
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE")
