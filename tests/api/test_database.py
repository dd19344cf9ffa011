"""The threads of the machine interface: a database that hangs keeps nobody waiting for ever."""

import threading

import pytest

from promptops.api import database
from promptops.api.problems import Problem


async def test_a_caller_does_not_wait_for_a_database_that_hangs(monkeypatch):
    monkeypatch.setattr(database, "LONGEST_SECONDS", 0.05)
    answers, is_done = threading.Event(), threading.Event()

    def change() -> None:
        answers.wait(10)
        is_done.set()

    with pytest.raises(Problem) as refusal:
        await database.in_database(change)
    assert (refusal.value.status, refusal.value.type.name) == (503, "unavailable")
    assert refusal.value.headers["Retry-After"] == "5"
    answers.set()
    assert is_done.wait(10), "a change that has begun is finished"


async def test_an_error_of_the_work_stays_that_error():
    def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await database.in_database(fail)
