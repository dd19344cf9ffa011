"""The tests in which transactions or indexes matter, once more on PostgreSQL."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.services.postgresql import own_database
from tests.services.server import ROOT

KILLED = "tests/compare/test_trials.py::test_after_a_kill_the_next_server_continues_without_loss_or_duplicates"
SUITES = (
    *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/*/test_*_actions.py")),
    "tests/invariants/test_audited.py",
    *(f"tests/ledger/test_{name}.py" for name in ("audit_attacks", "audit_chain", "exports")),
    "tests/fleet/test_levers.py",
    "tests/fleet/test_last_good.py",
    "tests/history/test_audit_lists.py",
    "tests/live/test_snapshots.py",
    "tests/people/test_accounts.py",
    *(
        f"tests/prompts/test_{name}.py"
        for name in ("merges", "publishing_pages", "releases", "set_files", "sets", "template_pages")
    ),
    "tests/providers/test_adaptations.py",
    "tests/runs/test_batches.py",
    "tests/runs/test_run_lists.py",
    "tests/safety/test_rollback.py",
    KILLED,
)
# Slow, and about files, pages, sentences and the actions' own statements rather than transactions.
SLOW = ("without_an_entry", "bad_file", "export", "templates_there_are", "do_not_grow", "pair_comes_once")
SLOW += (
    "command_lists_the_templates",
    "registered_sentence",
    "many_versions",
    "queries_for_1_and_30",
    "hostile_folder",
    "cannot_be_imported",
)

# Slow as well, and in the proof: migrations there and back, processes of their own, and long lists.
PROOF = ("in_both_directions", "reports_missing_triggers", "another_process_publishes", "after_a_kill")
PROOF += ("all_pages_together", "test_publishing_pages", "test_template_pages", "test_sets", "test_adaptations")


@pytest.fixture
def database_url() -> Iterator[str]:
    """Yield an address whose test database has all its tables, and is gone afterwards."""
    with own_database(has_tables=True, prefix="test_") as url:
        yield url.replace("/test_", "/")  # Django's test run adds it


# Half a minute: several hundred tests, in a process and a database of their own. The proof takes a minute.
@pytest.mark.parametrize(
    ("left_out", "marked"),
    [
        pytest.param(SLOW + PROOF, "not proof", id="most"),
        pytest.param(SLOW, "", id="proof: all", marks=pytest.mark.proof),
    ],
)
def test_what_depends_on_transactions_passes_on_postgresql(
    database_url: str, left_out: tuple[str, ...], marked: str
) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "--no-header",
            # The fixture makes and drops the database. Making tables takes seconds, and for dropping pytest-django
            # would wait for connections of threads that are ending.
            "--reuse-db",
            "-k",
            f"not ({' or '.join(left_out)})",
            "-m",
            marked,
            *SUITES,
        ],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=1800,  # far above what it takes: a busy machine decides no test
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    assert " passed" in done.stdout
