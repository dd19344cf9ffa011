"""Benchmarks that could wait for ever."""

import subprocess
import sys
import time
from pathlib import Path

from django.urls import resolve, reverse

from benchmarks import keys
from promptops.site.context import NAV
from tests.services.server import ROOT, environment, make_database


def test_the_benchmark_of_following_takes_half_a_second_for_a_release(tmp_path: Path) -> None:
    make_database(tmp_path)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.following", "publish", "2"],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("publishing process") == done.stdout.count("other process") == 2
    print(f"2 releases: {time.monotonic() - began:.1f} s")


def test_the_benchmark_of_following_ends_when_a_hint_is_lost(tmp_path: Path) -> None:
    """Nobody publishes, so the follower never hears of a release."""
    make_database(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.following", "follow", "0.2"],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert "no release was heard of within 0.2 s" in done.stderr.lower()


def test_the_benchmark_of_keys_has_each_page_of_the_navigation() -> None:
    paths = {*keys.PAGES, *keys.TYPED, *keys.GOES.values()}
    assert {reverse(item.name) for item in NAV} <= paths
    assert all(resolve(path).url_name for path in paths)
