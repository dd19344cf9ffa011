"""The documentation is complete and true: settings, commands, actions, events, links."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands
from fastapi.routing import APIRoute

from promptops import __version__
from promptops.alerts.kinds import KINDS as ALERTS
from promptops.alerts.kinds import AlertKind
from promptops.api.app import ROUTERS
from promptops.api.openapi import routes_of, scopes_of
from promptops.api.problems import TYPES, ProblemType
from promptops.engine import KINDS, KindSpec
from promptops.ledger import registry
from promptops.people.enums import Permission, Role, Scope
from promptops.people.permissions import TABLE
from promptops.platform import events

ROOT = settings.BASE_DIR
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")), *DOCS]
TEXT = "\n".join(path.read_text() for path in DOCS)

COMMANDS = sorted(name for name, app in get_commands().items() if app == "promptops")
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


SETTINGS = ("settings.py", "platform/environment.py")


def variables() -> list[str]:
    """Return the names that the settings module reads from the environment."""
    found = set()
    source = "\n".join((ROOT / "promptops" / path).read_text() for path in SETTINGS)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="get", value=ast.Attribute(attr="environ")), args=[name, *_]):
                pass
            case ast.Call(func=ast.Name(id="flag" | "listed" | "number" | "choice" | "secret"), args=[name, *_]):
                pass
            case ast.Subscript(value=ast.Attribute(attr="environ"), slice=name):
                pass
            case _:
                continue
        if isinstance(name, ast.Constant):
            found.add(str(name.value))
    return sorted(found)


def tracked() -> list[Path]:
    """Return the text files that git tracks or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_this_version_has_its_changes_and_is_supported() -> None:
    newest = re.findall(r"^## (?!Unreleased)(.*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert re.fullmatch(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d", newest)
    assert f"| {__version__.rpartition('.')[0]} | yes" in (ROOT / "SECURITY.md").read_text()


@pytest.mark.parametrize("name", variables())
def test_every_setting_has_a_row_in_the_table(name: str) -> None:
    rows = [line for line in (ROOT / "docs" / "configuration.md").read_text().splitlines() if line.startswith("|")]
    assert [row for row in rows if f"`{name}`" in row.split("|")[1]]


def test_the_guide_has_the_table_of_permissions() -> None:
    rows = [
        f"| {permission.label} | {' | '.join('yes' if permission in TABLE[role] else 'no' for role in Role)} |"
        for permission in Permission
    ]
    assert "\n".join(rows) in (ROOT / "docs" / "operators.md").read_text()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_provider_kind_has_its_row(kind: KindSpec) -> None:
    header = "none" if kind.embedded else f"`{kind.auth.name}: {kind.auth.prefix}<key>`"
    address, variable = (f"`{fact}`" if fact else "none" for fact in (kind.base_url, kind.key_env))
    row = f"| `{kind.name}` | {kind.label} | {address} | {variable} | {header} |"
    assert row in (ROOT / "docs" / "engine.md").read_text().splitlines()


@pytest.mark.parametrize("kind", ALERTS.values(), ids=ALERTS)
def test_every_kind_of_alert_has_its_row(kind: AlertKind) -> None:
    row = f"| `{kind.name}` | {kind.label} | {kind.when} |"
    assert row in (ROOT / "docs" / "alerts.md").read_text().splitlines()


def test_the_test_of_settings_knows_all_ways_to_read_a_setting() -> None:
    assert {"HOST", "DEBUG", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "VAR_DIR"} <= set(variables())
    source = "\n".join((ROOT / "promptops" / path).read_text() for path in SETTINGS)
    keys_of_providers = 3  # their files are looked for by name
    assert len(re.findall(r"environ\b", source)) == len(re.findall(r"environ\.get\(", source)) + keys_of_providers


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert f"manage.py {command}" in TEXT


def test_the_table_of_audited_actions_is_the_registry() -> None:
    table = "\n".join(f"| `{action.name}` | {action.when} |" for action in registry.actions())
    assert f"| action | when |\n|---|---|\n{table}\n" in (ROOT / "docs" / "audit.md").read_text()


@pytest.mark.parametrize("event", sorted(events.NAMES))
def test_every_event_is_documented(event: str) -> None:
    assert re.search(rf"^\| `{event}` \|", TEXT, re.MULTILINE)


API = (ROOT / "docs" / "api.md").read_text().splitlines()


@pytest.mark.parametrize("route", routes_of(ROUTERS), ids=lambda route: route.path)
def test_every_route_of_the_api_has_its_row(route: APIRoute) -> None:
    scopes = scopes_of(route)
    words = (
        "none" if not scopes else "any" if set(scopes) == set(Scope) else " or ".join(f"`{name}`" for name in scopes)
    )
    for method in route.methods or ():
        assert [row for row in API if row.startswith(f"| `{method} {route.path_format}` | {words} |")]


@pytest.mark.parametrize("problem", TYPES.values(), ids=TYPES)
def test_every_kind_of_problem_has_its_row(problem: ProblemType) -> None:
    assert f"| `{problem.name}` | {problem.status} | {problem.when} |" in API


def test_the_api_page_of_the_docs_has_the_table_of_scopes() -> None:
    first = API.index("| scope | opens |") + 2
    assert API[first : API.index("", first)] == [f"| `{scope.value}` | {scope.label} |" for scope in Scope]


CHANGES = [
    [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
    for line in (ROOT / "docs" / "contributing.md").read_text().splitlines()
    if re.match(r"\| [a-z]", line) and not line.startswith("| to change |")
]
FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/contributing.md"])
def test_every_file_that_contributors_are_sent_to_exists(page: str) -> None:
    named = FILE.findall((ROOT / page).read_text())
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(("change", "number", "touch", "more"), CHANGES, ids=[row[0] for row in CHANGES])
def test_the_number_of_files_to_touch_is_right(change: str, number: str, touch: str, more: str) -> None:
    assert len(set(FILE.findall(touch))) == int(number)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_on_the_pages_exist(page: Path) -> None:
    text = page.read_text()
    assert set(re.findall(r"manage\.py ([a-z_]+)", text)) <= {*COMMANDS, "help", "check", "makemigrations"}
    assert set(re.findall(r"`make ([a-z]+)", text)) | set(re.findall(r"^make ([a-z]+)", text, re.M)) <= set(TARGETS)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(<?([^)\s>]+)", text) + re.findall(r'(?:src|href)="([^"]+)"', text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize(
    "forbidden",
    [
        r"(?<![\w.])/(work|root|home)/\w",
        r"/opt/pypi",
        r"files\.pythonhosted\.org",
        r"pypi\.org",
        r"--(extra-)?index-url\s+\S",
        r"https?://\S+/simple/",
    ],
)
def test_no_file_names_this_machine_or_a_package_index(forbidden: str) -> None:
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if re.search(forbidden, line) and path != Path(__file__).resolve():
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_pip_installs_our_own_wheel_and_not_the_project_of_the_same_name() -> None:
    """The public index has a package `promptops` that is not ours."""
    by_name = re.compile(r"""promptops\[\w|pip install (?:-\S+ )*['"]?promptops(?=['"`\s])""")
    found = []
    for folder, suffix in (("promptops", "*.py"), ("templates", "*.html"), ("docs", "*.md")):
        for path in (ROOT / folder).rglob(suffix):
            found += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in by_name.finditer(path.read_text())]
    assert found == []


def test_dependencies_are_locked_with_hashes() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        pinned = re.findall(r"^([a-z0-9][\w.\-\[\]]*)==[^\n]*\\\n\s+--hash=", (ROOT / name).read_text(), re.M | re.I)
        named = re.findall(r"^([a-z0-9][\w.\-\[\]]*)\s*[=<>@]", (ROOT / name).read_text(), re.M | re.I)
        assert pinned
        assert pinned == named
