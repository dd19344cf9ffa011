"""Databases at older states, for tests of migrations: SQLite files that one walk from zero makes for a test run.

`python -m tests.older FOLDER` migrates the empty database of DATABASE_URL up to the newest of `KEPT`, and puts a copy
into the folder at each of them.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.services.once import made_once
from tests.services.server import ROOT, SECRET_KEY, environment

KEPT = (
    "0006_audit_indexes",
    "0024_safety_terms_revision",
    "0029_learned_adaptations",
    "0049_waiting_verdicts",
    "0052_run_filters",
    "0057_run_totals",
    "0064_input_unchanged",
    "0112_second_stage",
)
"""The migrations at which tests begin."""


def _make_kept(folder: Path) -> None:
    folder.mkdir()
    with tempfile.TemporaryDirectory(prefix="promptops-older-") as state:
        done = subprocess.run(
            [sys.executable, "-m", "tests.older", str(folder)],
            cwd=ROOT,
            env=environment(Path(state), SECRET_KEY=SECRET_KEY),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def migrate(transactional_db: None, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """`migrate("0052_run_filters")`: the models of that state, with the test's database migrated to it.

    On SQLite, the first call gives the test a copy of a kept database, which takes a moment. Migrating the test's own
    database back would take seconds, and so would migrating it forward again, which is what happens on PostgreSQL.
    """
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    from promptops.apps import ensure_single_rows

    own_name, begun = connection.settings_dict["NAME"], False

    def to(name: str) -> Any:
        nonlocal begun
        target = ("promptops", name)
        if not begun and connection.vendor == "sqlite":
            folder, _ = made_once("older", _make_kept)
            path = shutil.copy(folder / name, tmp_path / "older.sqlite3")
            connection.close()
            connection.settings_dict["NAME"] = str(path)
        else:
            MigrationExecutor(connection).migrate([target])
        apps = MigrationExecutor(connection).loader.project_state([target]).apps
        if not begun:
            ensure_single_rows(using="default", apps=apps)
        begun = True
        return apps

    yield to
    if connection.settings_dict["NAME"] != own_name:
        connection.close()
        connection.settings_dict["NAME"] = own_name
    elif begun:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes("promptops"))


def _walk(folder: Path) -> None:
    """Migrate to the newest of `KEPT`, and copy the database at each."""
    import django

    from promptops.__main__ import without_collecting

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
    without_collecting(django.setup)
    from django.core.management import call_command
    from django.core.management.commands.migrate import Command
    from django.db import connection

    class Keeping(Command):
        def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
            if action == "apply_success" and migration.app_label == "promptops" and migration.name in KEPT:
                with closing(sqlite3.connect(folder / migration.name)) as copy:
                    connection.connection.backup(copy)

    call_command(Keeping(), "promptops", KEPT[-1], verbosity=0)


if __name__ == "__main__":
    _walk(Path(sys.argv[1]))
