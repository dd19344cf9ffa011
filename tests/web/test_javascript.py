"""The modules in static/js: how pages load them, and their own tests (tests/js), which Node runs."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import which

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.templatetags.static import static

from promptops.texts.formats import relative_time
from tests.conftest import missing

MODULES = settings.BASE_DIR / "static" / "js"
NAMES = sorted(path.name for path in MODULES.glob("*.js"))
TESTS = sorted((settings.BASE_DIR / "tests" / "js").glob("*.test.mjs"))
IMPORTED = re.compile(r'^import .* from "\./([\w.]+)";$', re.MULTILINE)


def node(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Node at the root of the project. Skip the test if Node is missing, unless all services are required."""
    program = which("node")
    if not program:
        missing("node is not installed")
    return subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, timeout=120, cwd=settings.BASE_DIR
    )


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name.partition(".")[0])
def test_pure_modules(path: Path) -> None:
    result = node("--test", path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"tests [1-9]", result.stdout), "Node found no test"


def test_modules_do_nothing_on_import() -> None:
    """Node has no document, so a module that uses it during import fails."""
    script = "".join(f'await import("./static/js/{name}");' for name in NAMES if name != "main.js")
    result = node("--input-type=module", "--eval", script)
    assert result.returncode == 0, result.stderr


def test_the_browser_has_the_same_rule_for_relative_times_as_the_server() -> None:
    borders = [45, 90, 44 * 60, 45 * 60, 5400, 9000, 21 * 3600, 22 * 3600, 36 * 3600, 29 * 86400]
    ages = [sign * (border + step) for border in borders for step in (-1, 1) for sign in (-1, 1)]
    result = node(
        "--input-type=module",
        "--eval",
        'import { relativeTime } from "./static/js/format.js";'
        f'console.log({ages}.map((age) => relativeTime(-age * 1000, 0)).join("|"))',
    )
    now = datetime(2026, 11, 22, 14, 32, 5, tzinfo=UTC)
    assert result.stdout.strip().split("|") == [relative_time(now - timedelta(seconds=age), now) for age in ages]


def test_pages_load_all_modules_at_once() -> None:
    html = render_to_string("404.html")
    assert re.findall(r"<link rel=modulepreload href=([^ >]+)>", html) == [static(f"js/{name}") for name in NAMES]
    assert f'<script src="{static("js/main.js")}" type="module"></script>' in html


def test_every_module_is_reached_from_main() -> None:
    reached: set[str] = set()
    waiting = ["main.js"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += IMPORTED.findall((MODULES / name).read_text())
    assert sorted(reached) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_modules_describe_themselves_and_fit_the_line(name: str) -> None:
    lines = (MODULES / name).read_text().splitlines()
    assert lines[0].startswith("// ")
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120] == []
