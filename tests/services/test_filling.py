"""The benchmark's large database, filled with few rows: it is consistent, and every page of it answers."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.postgresql import own_database
from tests.services.server import ROOT, environment, make_database

PROGRAM = """
import sys
import django; from promptops.__main__ import without_collecting; without_collecting(django.setup)
from benchmarks.big import filling, measuring, pages
filling.fill(200)
assert filling.is_filled()
from promptops.ledger import chain, parts
from promptops.ledger.models import LiveConfiguration, Release
from promptops.people.models import User
from promptops.runs.models import Attempt, Run, SafetyCheck
assert chain.first_bad_entry() is None
newest = Release.objects.first()
assert newest.revision == Release.objects.count() == LiveConfiguration.objects.get().revision
assert newest.configuration == parts.configuration()
assert Run.objects.exclude(source="comparison").count() > 150 and Attempt.objects.count() > 190
assert SafetyCheck.objects.count() == 400
if sys.argv[1:]:
    every = pages.all_pages()
    assert not pages.unmeasured(every), pages.unmeasured(every)
    first = {(page.name, *page.query): page for page in reversed(every)}
    measuring.all_pages = lambda: [*first.values()]
    print(len(measuring.measured(rounds=1)), "pages")
from promptops.ledger.audit import SYSTEM
from promptops.providers.actions.chain import ProviderFields, create_provider
create_provider(ProviderFields("one-more", "openai", "m", "http://127.0.0.1:1/v1"), by=SYSTEM)  # ids go on
"""


def fill_and_ask(folder: Path, *pages: str, **more: str) -> None:
    """Fill the database, and with the argument `pages` ask for all its pages."""
    more["ALLOWED_HOSTS"] = "testserver"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *pages],
        cwd=ROOT,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not pages or int(done.stdout.split()[0]) > 80


# About 15 s of processor time: each of some 250 pages is asked for twice.
def test_a_filled_database_is_consistent_and_all_its_pages_answer(tmp_path: Path) -> None:
    make_database(tmp_path)
    fill_and_ask(tmp_path, "pages")


@pytest.mark.parametrize(
    "pages", [pytest.param([], id="rows"), pytest.param(["pages"], id="proof: pages", marks=pytest.mark.proof)]
)
def test_postgresql_is_filled_too(tmp_path: Path, pages: list[str]) -> None:
    with own_database(has_tables=True) as url:
        fill_and_ask(tmp_path, *pages, DATABASE_URL=url)
