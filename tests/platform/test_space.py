"""SQLite's file shrinks after rows are deleted."""

import sqlite3
from contextlib import closing

import pytest
from django.db import connection
from django.utils import timezone

from promptops.platform import space
from promptops.platform.draining import gate
from promptops.runs.models import Run
from tests.factories import build_run
from tests.services.server import manage


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(space, "PAUSE", 0)
    monkeypatch.setattr(space, "LEAST_PAUSE_SECONDS", 0)
    monkeypatch.setattr(space, "KEPT_PAGES", 20)
    monkeypatch.setattr(space, "KEPT_SHARE", 0)
    monkeypatch.setattr(space, "PAGES", 50)


def fill_and_empty() -> None:
    Run.objects.bulk_create(build_run(input="a fox " * 3_000, at=timezone.now()) for _ in range(200))
    Run.objects.all().delete()


@pytest.mark.django_db(transaction=True)
def test_free_pages_are_given_back_in_steps(quick, monkeypatch):
    fill_and_empty()
    if connection.vendor != "sqlite":
        assert space.give_back() == 0
        return
    unused = space.unused_pages()
    assert unused > 500
    sleeps = []
    monkeypatch.setattr(space.time, "sleep", sleeps.append)
    freed = space.give_back()
    assert freed == unused * 4096
    assert (space.unused_pages(), len(sleeps)) == (0, -(-unused // 50))
    assert space.give_back() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL reuses its space by itself")
def test_a_server_that_stops_gives_nothing_back(quick, monkeypatch):
    fill_and_empty()
    monkeypatch.setattr(gate, "closed", True)
    assert space.give_back() == 0
    monkeypatch.setattr(gate, "closed", False)
    assert space.give_back() > 0


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL reuses its space by itself")
def test_a_new_file_can_shrink():
    assert space.can_shrink()
    assert not space.needs_rewriting()


def test_a_file_of_an_older_version_shrinks_after_the_command(tmp_path):
    path = tmp_path / "promptops.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE texts (text TEXT)")
        database.execute("INSERT INTO texts VALUES (zeroblob(1000000))")
        database.execute("DELETE FROM texts")
        database.commit()
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (0,)
    done = manage(tmp_path, "vacuum")
    assert done.returncode == 0, done.stderr
    assert "The database had 1.0 MB and has 0.0 MB now." in done.stdout
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (2,)
