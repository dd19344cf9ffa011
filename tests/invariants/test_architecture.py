"""Who may import whom: the layers, top to bottom only, read from the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

PACKAGE = settings.BASE_DIR / "promptops"

# The layers from the top; a module may import its own layer and those below. What is not named here fails the test.
LAYERS = [
    {"asgi"},
    {"apps", "signals", "system_checks"},
    {"web", "api", "management"},
    {"background"},
    {"actions", "queries"},
    {"live_parts"},
    {"live"},
    {"guards", "key_variables", "polling"},
    {"audit"},
    {"registry", "parts"},
    {"events"},
    {"checks"},
    {"models"},
    {"permissions"},
    {"enums"},
]
RANK = {unit: rank for rank, units in enumerate(LAYERS) for unit in units}
# Pure functions that the engine may use too; they import the standard library alone.
PURE = {"percentiles"}
# Anybody may import these; they import nothing of the project but each other.
LEAVES = {
    "addresses",
    "text",
    "threads",
    "inputs",
    "ballots",
    "charts",
    "content",
    "crypto",
    "diffs",
    "draining",
    "logs",
    "measures",
    "outages",
    "merge",
    "passwords",
    "verdicts",
    *PURE,
}
# What the lower layers may know of the engine: its types, and its closed sets, of which choices are derived.
FACTS_OF_THE_ENGINE = {"engine.types", "engine.operations", "engine.providers.kinds"}
# No part of the layers: settings are read through django.conf, migrations are written by Django.
APART = {"settings", "migrations"}
# Inside one layer actions make changes and queries read: neither needs the other.
FORBIDDEN = {("queries", "actions"), ("actions", "queries"), ("api", "web"), ("management", "web")}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below it; the package itself is ""."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """The absolute names that a module imports anywhere, in functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide what is imported"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def project_imports(path: Path) -> Iterator[str]:
    """The project's modules among them, such as `models.users` (of a name in a module, that module)."""
    for name in imports(path):
        if name == "promptops" or not name.startswith("promptops."):
            continue
        target = name.removeprefix("promptops.")
        while target not in MODULES:
            target, _, _ = target.rpartition(".")
        yield target


def refusal(importer: str, target: str) -> str | None:
    """Why the module may not import the other, or None when it may."""
    unit, other = importer.split(".")[0], target.split(".")[0]
    if unit == other:
        return None
    if other in APART:
        return "settings come from django.conf, and nobody needs a migration"
    if other == "engine":
        if unit not in {"models", "permissions", "enums", *LEAVES} or target in FACTS_OF_THE_ENGINE:
            return None
        return "only the types and the closed sets of the engine"
    if unit == "engine":
        return None if other in PURE else "the engine stands alone"
    if other in LEAVES:
        return None
    if unit in LEAVES:
        return "a leaf imports nothing of the project"
    if (unit, other) in FORBIDDEN:
        return "these two do not know each other"
    return None if RANK[unit] <= RANK[other] else "imports go from top to bottom only"


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {""}))
def test_imports_go_from_top_to_bottom(module: str) -> None:
    if module.split(".")[0] in APART:
        # A migration names the validators and the choices of the fields that it makes, and nothing else.
        assert {target.split(".")[0] for target in project_imports(MODULES[module])} <= {"models", "enums"}
        return
    refused = {
        f"{module} -> {target}: {why}"
        for target in project_imports(MODULES[module])
        if (why := refusal(module, target)) is not None
    }
    assert refused == set()


@pytest.mark.parametrize("module", sorted({module.split(".")[0] for module in MODULES} - {""}))
def test_every_module_has_its_place(module: str) -> None:
    assert module in RANK or module in LEAVES or module in APART or module == "engine"


@pytest.mark.parametrize(
    ("importer", "target", "allowed"),
    [
        ("web.views.prompts", "actions.releases", True),
        ("actions.releases", "web.forms", False),
        ("models.users", "audit", False),
        ("audit", "live", False),
        ("live", "events", True),
        ("enums", "engine.types", True),
        ("enums", "engine.operations", True),
        ("models.runs", "engine.chain", False),
        ("engine.chain", "enums", False),
        ("engine.health", "percentiles", True),
        ("queries.audit", "actions.releases", False),
        ("management.commands.serve", "asgi", False),
        ("crypto", "models", False),
        ("web.views.runs", "crypto", True),
        ("web.middleware", "settings", False),
    ],
)
def test_the_rule_itself(importer: str, target: str, allowed: bool) -> None:
    assert (refusal(importer, target) is None) is allowed


def test_only_one_module_speaks_http() -> None:
    """Clients are pooled, timed and mapped to errors in one place, which tests can replace."""
    clients = {"httpx", "httpx_aiohttp", "aiohttp", "requests", "urllib3"}
    users = {module for module, path in MODULES.items() if clients & {name.split(".")[0] for name in imports(path)}}
    assert users == {"engine.http"}


def test_the_engine_does_without_django() -> None:
    """(tests/engine also loads the engine with Django blocked.)"""
    for module, path in MODULES.items():
        if module.split(".")[0] in {"engine", *PURE}:
            roots = {name.split(".")[0] for name in imports(path)}
            assert not roots & {"django", "channels", "asgiref", "daphne"}, module


def test_production_code_reads_no_data_of_tests() -> None:
    readers = [module for module, path in MODULES.items() if re.search(r"""["']tests["'/]""", path.read_text())]
    assert readers == []


def test_changes_are_made_by_actions_alone() -> None:
    """No view, query or consumer opens a transaction or writes to a table by itself."""
    for module, path in MODULES.items():
        if module.split(".")[0] in {"web", "queries", "api"}:
            assert "django.db.transaction" not in set(imports(path)), module


def test_no_line_of_a_template_is_long() -> None:
    """The formatter does not wrap lines, since it cannot know which spaces a page shows."""
    long = [
        f"{path.relative_to(settings.BASE_DIR)}:{number} has {len(line)} characters"
        for path in sorted((settings.BASE_DIR / "templates").rglob("*.html"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 120
    ]
    assert long == []
