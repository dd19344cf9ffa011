"""Two processes on one database share the hourly chores: one does them, and the other takes over."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services.postgresql import own_database
from tests.services.server import ROOT, environment, make_database

LEASE = 2.0
LONG = 2.5
"""Seconds that a chore takes: longer than a lease, so that it is renewed meanwhile."""


def first_on(engine: str) -> pytest.MarkDecorator:
    """Run the test on this database, and in the proof on the other one."""
    other = "sqlite" if engine == "postgresql" else "postgresql"
    cases = [engine, pytest.param(other, id=f"proof: {other}", marks=pytest.mark.proof)]
    return pytest.mark.parametrize("database_url", cases, indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{make_database(tmp_path)}"
        return
    with own_database(has_tables=True) as url:
        yield url


@contextmanager
def two_processes(url: str, folder: Path) -> Iterator[list["subprocess.Popen[str]"]]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.services.housekeeper", str(folder / "lines"), str(LONG), str(LEASE)],
            cwd=ROOT,
            env=environment(folder, DATABASE_URL=url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def lines(folder: Path) -> list[list[str]]:
    file = folder / "lines"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


# 7 s: two starts, a chore of 2.5 s, and a lease. Shorter leases would end on a busy machine.
@first_on("sqlite")
def test_one_process_does_the_chores_and_a_clean_end_hands_them_over(database_url, tmp_path) -> None:
    with two_processes(database_url, tmp_path) as processes:
        until(lambda: len(lines(tmp_path)) == 2)
        time.sleep(LEASE + 0.1)  # more than a lease: the other process has looked several times
        first = lines(tmp_path)
        assert [word for _, word in first] == ["began", "ended"]
        assert len({pid for pid, _ in first}) == 1
        holder = next(process for process in processes if str(process.pid) == first[0][0])
        holder.communicate("\n", timeout=120)
        until(lambda: len(lines(tmp_path)) == 3)
        assert {pid for pid, _ in lines(tmp_path)[2:]} == {str(({p.pid for p in processes} - {holder.pid}).pop())}


# 7 s, for the same reasons.
@first_on("postgresql")
def test_the_chore_of_a_killed_process_is_taken_over(database_url, tmp_path) -> None:
    with two_processes(database_url, tmp_path) as processes:
        until(lambda: len(lines(tmp_path)) == 1)
        killed = int(lines(tmp_path)[0][0])
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(lines(tmp_path)) == 3)
        other = str(({process.pid for process in processes} - {killed}).pop())
        assert lines(tmp_path) == [[str(killed), "began"], [other, "began"], [other, "ended"]]
