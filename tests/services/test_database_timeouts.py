"""A PostgreSQL that hangs, or a statement that never ends, holds nobody for ever."""

import gzip
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.services.postgresql import OwnPostgreSQL, own_postgresql
from tests.services.server import ROOT, environment
from tests.services.test_upgrade import KEPT, VERSIONS

RUN = """
import sys
from django.db import connection  # the settings are all that it needs: no apps
try:
    with connection.cursor() as cursor:
        cursor.execute(sys.argv[1])
        print(cursor.fetchall())
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def database():
    with own_postgresql(has_tables=False) as running:
        yield running


def answer(database: OwnPostgreSQL, folder: Path, statement: str, options: str = "", **more: str) -> tuple[str, float]:
    """What the statement returns, or the error, in a process with our settings, and how long it took in seconds."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", RUN, statement],
        cwd=ROOT,
        env=environment(folder, DATABASE_URL=database.url + options, **more),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, time.monotonic() - began


def test_a_statement_that_takes_too_long_is_canceled(database, tmp_path) -> None:
    said, took = answer(database, tmp_path, "SELECT pg_sleep(250)", DATABASE_STATEMENT_SECONDS="1")
    assert "canceling statement due to statement timeout" in said
    assert took < 200


@pytest.mark.parametrize(
    ("options", "seconds", "limits"),
    [
        ("", "60", "('1min', '2min')"),
        ("", "0", "('0', '0')"),
        ("?options=-c%20statement_timeout%3D5s", "60", "('5s', '2min')"),  # what DATABASE_URL says goes first
    ],
)
def test_limits_of_a_session(database, tmp_path, options, seconds, limits) -> None:
    statement = "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
    said, _ = answer(database, tmp_path, statement, options, DATABASE_STATEMENT_SECONDS=seconds)
    assert said.strip() == f"[{limits}]"


# 5 s are what is tested: the limit for a connection.
def test_a_connection_that_nobody_answers_is_given_up(database, tmp_path) -> None:
    with database.frozen():
        said, took = answer(database, tmp_path, "SELECT 1")
    assert "OperationalError" in said
    assert 4 < took < 200


# 2 s of waiting for a lock, twice the limit, and the migrations since the last release: 5 s.
def test_migrations_have_no_limit(database, tmp_path) -> None:
    with psycopg.connect(database.url, autocommit=True) as own:
        own.execute(gzip.decompress((KEPT / f"{VERSIONS[-1]}.postgresql.sql.gz").read_bytes()))
    with psycopg.connect(database.url) as other:
        other.execute("LOCK TABLE promptops_run")
        migration = subprocess.Popen(
            [sys.executable, "manage.py", "migrate", "--verbosity=0"],
            cwd=ROOT,
            env=environment(tmp_path, DATABASE_URL=database.url, DATABASE_STATEMENT_SECONDS="1"),
            stderr=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + 120
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not other.execute(waiting).fetchone()[0]:
            assert time.monotonic() < until
            assert migration.poll() is None, migration.stderr.read()
            time.sleep(0.1)
        time.sleep(2)
        other.rollback()
    assert migration.wait(120) == 0, migration.stderr.read()
