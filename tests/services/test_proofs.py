"""Releases by many at once, and by processes that are killed; `make test` runs a small version of each proof."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.postgresql import own_database
from tests.services.server import ROOT, environment, make_database
from tests.services.test_housekeeping import first_on


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the address of a database with all its tables and without rows, which is gone afterwards."""
    if request.param == "sqlite":
        yield f"sqlite:///{make_database(tmp_path)}"
        return
    with own_database(has_tables=True) as url:
        yield url


def proven(database_url: str, folder: Path, *arguments: object) -> dict[str, int]:
    """What `tests.services.publishing` counted; it checks everything else itself."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.services.publishing", *map(str, arguments)],
        cwd=ROOT,
        env=environment(folder, DATABASE_URL=database_url),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    print(arguments, done.stdout)
    return dict(json.loads(done.stdout))


@first_on("postgresql")
@pytest.mark.parametrize(
    ("operators", "wins"), [(3, 4), pytest.param(20, 50, marks=pytest.mark.proof, id="proof: 20 x 50")]
)
def test_operators_who_compete_lose_no_text_and_leave_a_whole_history(database_url, tmp_path, operators, wins):
    counted = proven(database_url, tmp_path, "compete", operators, wins)
    assert counted["published"] == operators * wins
    assert counted["refused"] >= operators - 1


@first_on("sqlite")
@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.proof, id="proof: 200")])
def test_a_publisher_that_is_killed_leaves_everything_agreeing(database_url, tmp_path, kills):
    counted = proven(database_url, tmp_path, "kill", kills, 7)
    assert counted["kills"] == kills
    if kills > 100:  # the moments of death lay on both sides of the commit
        assert min(counted["published"], counted["before_the_commit"]) > 0
