"""Starting on databases of older and newer versions, alone and three at once, with real processes."""

import fcntl
import gzip
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from promptops.management.commands._start import ADVISORY_LOCK
from promptops.platform.environment import secret_key
from promptops.prompts.models.templates import content_sha256
from tests.services.old_databases import BODIES
from tests.services.postgresql import own_database
from tests.services.server import (
    ROOT,
    SECRET_KEY,
    Browser,
    Server,
    environment,
    free_port,
    make_database,
    manage,
)

KEPT = ROOT / "tests" / "data" / "databases"
ENGINES = ["sqlite", "postgresql"]
KEY = {"SECRET_KEY": SECRET_KEY}
VERSIONS = ["0012", "0018", "0024", "0046", "0094"]
"""The newest migrations of the kept databases. The last one is that of the state before this release."""

NORMAL = {("sqlite", VERSIONS[0]), ("postgresql", VERSIONS[-1])}
"""The oldest state and the last release; the proof has the other ones."""

ENTRIES = "SELECT seq, sha256 FROM promptops_auditentry ORDER BY seq"


@contextmanager
def database(engine: str, folder: Path, kept: str = "", *, has_tables: bool = False) -> Iterator[str]:
    """Yield the address of a database: empty, with all its tables, or a kept one by its newest migration."""
    if engine == "sqlite":
        path = folder / "promptops.sqlite3"
        if kept:
            path.write_bytes(gzip.decompress((KEPT / f"{kept}.sqlite3.gz").read_bytes()))
        elif has_tables:
            make_database(folder)
        yield f"sqlite:///{path}"
        return
    with own_database(has_tables=has_tables) as url:
        if kept:
            with psycopg.connect(url, autocommit=True) as own:
                own.execute(gzip.decompress((KEPT / f"{kept}.postgresql.sql.gz").read_bytes()))
        yield url


def rows(url: str, query: str) -> list[list[object]]:
    """Return the query's rows, read by the database's own driver."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as own:
            return [list(row) for row in own.execute(query)]
    with psycopg.connect(url) as own:
        return [list(row) for row in own.execute(query)]


def upgraded(folder: Path, url: str, *oldest: str) -> dict[str, Any]:
    """Upgrade the database in a process of its own, and return what is in it then (`upgrading` says what)."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.services.upgrading", *oldest],
        cwd=ROOT,
        env=environment(folder, DATABASE_URL=url, **KEY),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def change(url: str, statement: str) -> None:
    """Run a statement by the database's own driver."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as own, own:
            own.execute(statement)
        return
    with psycopg.connect(url) as server:
        server.execute(statement)


def test_every_kept_database_is_upgraded() -> None:
    assert {path.name for path in KEPT.glob("*.gz")} == {
        f"{kept}.{kind}.gz" for kept in VERSIONS for kind in ("sqlite3", "postgresql.sql")
    }


def of_proof(*values: str) -> Any:
    """Return a case that only the proof has."""
    return pytest.param(*values, id=f"proof: {'-'.join(values)}", marks=pytest.mark.proof)


# Django makes its models again for each migration: 3 to 10 s for each database.
@pytest.mark.parametrize(
    ("engine", "kept"),
    [(engine, kept) if (engine, kept) in NORMAL else of_proof(engine, kept) for kept in VERSIONS for engine in ENGINES],
)
def test_an_old_database_is_upgraded_and_back_with_all_it_holds(tmp_path: Path, engine: str, kept: str) -> None:
    with database(engine, tmp_path, kept) as url:
        before = rows(url, ENTRIES)
        read = upgraded(tmp_path, url, VERSIONS[-1])
        assert rows(url, ENTRIES)[: len(before)] == before
    has_comparisons, has_operations, has_hedges = kept >= "0014", kept >= "0060", kept >= "0046"
    assert len(before) == (9 if has_operations else 7)
    assert read.pop("entries") == before
    assert read.pop("head") == f"{len(before)}:{before[-1][1]}"
    newest = "Ada Lovelace changed the description of enhance" if has_operations else None
    assert read == {
        "bad": None,
        "warnings": [],
        "newest": newest or "Bo changed the description of enhance",
        "sentence": "Ada Lovelace published enhance v1",
        "live": 3,
        "versions": [[number, body] for number, body in enumerate(BODIES, start=1)],
        "hashes_fit": True,
        "runs": [[f"a fox, number {number}", f"a fox, number {number}, in color"] for number in range(4)],
        "operations": [
            ["enhance", "text", {"kind": "text"}, "p95" if has_hedges else ""],
            ["auto_extend", "list", {"kind": "text"}, ""],
            ["rewrite", "text", {"kind": "lines", "count": 3, "at_least": 1}, "250" if has_hedges else ""],
        ],
        "specs_fit": True,
        "drafts": ["Polish it in green.", "Discarded"],
        "before_merges": [[]],
        "variables": [["enhance.season", "winter"]],
        "comparisons": [["Warm or cold", "done"]] if has_comparisons else [],
        "answers": [f"{animal} by {arm}, in color" for animal in ("a fox", "a hare") for arm in (0, 1)]
        if has_comparisons
        else [],
        "answer_hashes_fit": True,
        "live_texts": {"enhance": BODIES[-1]} | ({"camera": "Answer in JSON."} if has_operations else {}),
        "failing_pages": [],
        "is_stable": True,
    }


@pytest.mark.parametrize(
    ("engine", "kept"), [("sqlite", VERSIONS[-1]), of_proof("postgresql", "0046"), of_proof("sqlite", "0012")]
)
def test_an_upgrade_renames_variables_with_names_of_inputs_in_one_release(
    tmp_path: Path, engine: str, kept: str
) -> None:
    with database(engine, tmp_path, kept) as url:
        content = {"body": "Polish {{ input }} {{ count }} times.", "temperature": 0.7, "max_tokens": None, "model": ""}
        merge = json.dumps([content | {"body": "Mine, {{ input }}.", "base": 3, "merged_with": 3}])
        sha256 = content_sha256(content)
        change(url, f"UPDATE promptops_version SET body = '{content['body']}', sha256 = '{sha256}' WHERE number = 3")
        change(url, f"UPDATE promptops_draft SET body = '{{{{ input }}}} in green.', before_merges = '{merge}'")
        change(url, "UPDATE promptops_discardeddraft SET body = '{{ count }} gone.'")
        for name in ("input", "count"):
            change(
                url,
                "INSERT INTO promptops_variable (operation, name, value, description, changed_revision) "
                f"VALUES ('enhance', '{name}', 'the {name}', '', 1)",
            )
        before = len(rows(url, ENTRIES))
        read = upgraded(tmp_path, url)
        revisions = rows(url, "SELECT revision, action FROM promptops_release ORDER BY revision")
        base = "SELECT number FROM promptops_version JOIN {0} ON {0}.base_id = promptops_version.id"
        tables = ("promptops_draft", "promptops_discardeddraft")
        bases = rows(url, " UNION ALL ".join(map(base.format, tables)))
    assert [len(read["entries"]), read["bad"], read["hashes_fit"]] == [before + 1, None, True]
    assert read["newest"] == ("PromptOps renamed variables that had the name of an input: enhance.count, enhance.input")
    assert revisions[3:] == [[4, "variable.renamed"]]
    assert read["variables"] == [
        ["enhance.count_var", "the count"],
        ["enhance.input_var", "the input"],
        ["enhance.season", "winter"],
    ]
    assert read["live"] == 4
    assert read["versions"][2:] == [[3, content["body"]], [4, "Polish {{ input_var }} {{ count_var }} times."]]
    assert read["drafts"] == ["{{ input_var }} in green.", "{{ count_var }} gone."]
    assert read["before_merges"] == [["Mine, {{ input_var }}."]]
    assert bases == [[4], [4]]


# Three starts on two cores, one of which makes all tables: 5 to 10 s.
@pytest.mark.parametrize(
    ("engine", "kept"),
    [
        pytest.param("sqlite", "", id="empty-sqlite"),
        ("postgresql", VERSIONS[-1]),
        pytest.param("postgresql", "", id="proof: empty-postgresql", marks=pytest.mark.proof),
        of_proof("postgresql", "0012"),
        of_proof("sqlite", "0012"),
    ],
)
def test_three_processes_that_start_at_once_all_come_up(tmp_path: Path, engine: str, kept: str) -> None:
    key = KEY if kept else {}  # without one, all three want to make the file of the secret key
    with ExitStack() as stack:
        url = stack.enter_context(database(engine, tmp_path, kept))
        servers = []
        for _ in range(3):
            servers.append(Server(tmp_path, DATABASE_URL=url, **key))
            stack.callback(servers[-1].kill)
        for server in servers:
            server.wait_for("PromptOps is up")
        assert [Browser(server.address).get("/sign-in/").status_code for server in servers] == [200] * 3
        for server in servers:
            assert "Warning" not in server.output
            server.kill()
        imported = ["auto_extend", "enhance", "rewrite"]  # into an empty database; the kept ones stay as they are
        if kept:
            imported = ["camera", "enhance"] if kept == VERSIONS[-1] else ["enhance"]
        assert rows(url, "SELECT name FROM promptops_template ORDER BY name") == [[name] for name in imported]
        numbers = [seq for seq, _ in rows(url, ENTRIES)]
        assert numbers == list(range(1, len(numbers) + 1))
        starter_sets = rows(url, "SELECT count(*) FROM promptops_promptset")
        assert starter_sets == [[1]]


def test_a_key_file_that_another_process_is_writing_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("SECRET_KEY")
    path = tmp_path / "secret_key"
    path.touch()
    writer = threading.Timer(0.3, path.write_text, ["another process's key, which is long enough\n"])
    writer.start()
    assert secret_key(tmp_path, "manage.py") == "another process's key, which is long enough"
    writer.join()


def held(engine: str, url: str, stack: ExitStack) -> None:
    """Hold the lock of the start, as a process that is migrating does."""
    if engine == "postgresql":
        own = stack.enter_context(psycopg.connect(url, autocommit=True))
        own.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        return
    file = stack.enter_context(open(url.removeprefix("sqlite:///") + ".start-lock", "w"))  # noqa: SIM115
    fcntl.flock(file, fcntl.LOCK_EX)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_start_on_the_last_release_waits_for_one_that_prepares_the_database(tmp_path: Path, engine: str) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(database(engine, tmp_path, VERSIONS[-1]))
        with ExitStack() as holding:
            held(engine, url, holding)
            server = Server(tmp_path, DATABASE_URL=url, **KEY)
            stack.callback(server.kill)
            server.wait_for("Another PromptOps process is preparing this database. Waiting for it.")
            applied = "SELECT count(*) FROM django_migrations WHERE app = 'promptops' AND name LIKE '0095%'"
            assert rows(url, applied) == [[0]]
        server.wait_for("PromptOps is up")
        assert rows(url, applied) == [[1]]
        assert Browser(server.address).get("/sign-in/").status_code == 200


def test_older_code_refuses_a_newer_database(tmp_path: Path) -> None:
    path = make_database(tmp_path)
    with closing(sqlite3.connect(path)) as own:
        own.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('promptops', '9999_later', '2030-01-01')"
        )
        own.commit()
        before = list(own.iterdump())
    done = manage(tmp_path, "serve", PORT=str(free_port()), **KEY)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "CommandError: A newer PromptOps has upgraded this database (unknown migration: 9999_later). "
        "Start that version, or restore the backup from before the upgrade."
    ]
    with closing(sqlite3.connect(path)) as own:
        assert list(own.iterdump()) == before
