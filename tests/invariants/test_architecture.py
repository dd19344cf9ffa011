"""The order of imports, read from the source (docs/architecture.md gives the reasons).

Features have an order, and so do the layers inside a feature. Pages may import queries and actions of all features; no
other feature imports a page.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

PACKAGE = settings.BASE_DIR / "promptops"

# A folder may import those before it. A folder that is missing here fails the test.
ORDER = [
    *("texts", "stats", "engine", "client", "platform", "ledger", "live", "people"),
    *("providers", "prompts", "runs", "safety", "compare", "fleet", "alerts", "history", "site", "api"),
]
PURE = {"engine", "texts", "stats", "client"}
FRAME = "web"  # above people, below every page; it knows no feature
TOP = {"management", "apps", "asgi", "urls", "__main__"}
# Outside the order: code reads settings through django.conf, and only Django imports the models of all features.
APART = {"settings", "migrations", "models"}

# Inside a feature, a layer may import those before it and itself. Other modules have no layer.
LAYERS = ["models", "queries", "forms", "views", "urls"]
ALIKE = {
    "actions": "queries",
    **dict.fromkeys(("changes", "exports", "previews", "merge_panel", "written", "blindness"), "forms"),
    **dict.fromkeys(("tags", "socket", "context", "fragments", "signals", "system_checks"), "views"),
}
PAGES = set(LAYERS[2:]) | {name for name, layer in ALIKE.items() if layer in LAYERS[2:]}
# The form of a version's content, which "Try it" reads too.
SHARED = {"prompts.forms"}
# Imports that climb, each with its reason.
EXCEPTIONS = {
    ("ledger.audit", "people.models"): "an annotation: who acts",
    ("ledger.actions.trail", "people.models"): "an annotation: who acts",
    ("ledger.models.releases", "prompts.content"): "the live defaults have the limits of a version's content",
    ("asgi", "urls"): "the server serves them",
}


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name below it; the package itself is ""."""
    by_name = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        by_name[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return by_name


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """Yield the absolute names that a module imports, also in functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide what is imported"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def project_imports(path: Path) -> Iterator[str]:
    """Yield the imported modules of the project, such as `people.models`. A name in a module yields the module."""
    for name in imports(path):
        if name == "promptops" or not name.startswith("promptops."):
            continue
        target = name.removeprefix("promptops.")
        while target not in MODULES:
            target, _, _ = target.rpartition(".")
        yield target


def layer(module: str) -> str:
    """Return the layer of a feature's module; "" for a module without a layer, such as `enums`."""
    name = module.split(".")[1] if "." in module else ""
    name = ALIKE.get(name, name)
    return name if name in LAYERS else ""


def is_page(module: str) -> bool:
    """Return whether a module of a feature makes pages."""
    return "." in module and module.split(".")[1] in PAGES


def refusal(importer: str, target: str) -> str | None:
    """Return why the module may not import the other, or None when it may."""
    unit, other = importer.split(".")[0], target.split(".")[0]
    if other in APART:
        return "settings come from django.conf, models from their feature, and nobody needs a migration"
    if unit == other:
        return _inside(importer, target) if unit in ORDER and unit != "engine" else None
    if (importer, target) in EXCEPTIONS:
        return None
    if other == "client":
        return None if unit in TOP else "the client is for other servers"
    if other in TOP:
        return "no module imports those that start the program"
    if unit in TOP:
        return None
    if other == FRAME:
        return None if is_page(importer) else "only pages use the frame"
    if is_page(target) and target not in SHARED:
        return "pages are linked or included by address, not imported"
    if unit == FRAME:
        return None if ORDER.index(other) <= ORDER.index("people") else "the frame knows no feature"
    if is_page(importer):
        return None
    return None if ORDER.index(other) < ORDER.index(unit) else "imports do not climb"


def _inside(importer: str, target: str) -> str | None:
    mine, others = layer(importer), layer(target)
    if not mine or not others:  # such as `enums` or `key_variables`
        return None
    return None if LAYERS.index(others) <= LAYERS.index(mine) else "imports do not climb"


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {""}))
def test_imports_do_not_climb(module: str) -> None:
    if module.split(".")[0] in APART:
        # Migrations import only validators of the fields that they make; the settings read the environment.
        targets = set(project_imports(MODULES[module])) - {"platform.environment"}
        assert all(target.split(".")[1] == "models" for target in targets)
        return
    refused = {
        f"{module} -> {target}: {why}"
        for target in project_imports(MODULES[module])
        if (why := refusal(module, target)) is not None
    }
    assert refused == set()


def test_features_form_no_circle() -> None:
    """The folders have an order, and no other feature imports a page, so there is no circle."""
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("unit", sorted({module.split(".")[0] for module in MODULES} - {""}))
def test_every_folder_is_in_the_order(unit: str) -> None:
    assert unit in {*ORDER, FRAME, *TOP, *APART}


def test_only_package_files_are_outside_folders() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == {
        *("__init__", "settings", "models"),
        *(TOP - {"management"}),
    }


@pytest.mark.parametrize(
    ("importer", "target", "allowed"),
    [
        ("prompts.views.editor", "runs.queries.figures", True),
        ("prompts.views.editor", "runs.views", False),
        ("prompts.actions.releases", "runs.models", False),
        ("runs.previews", "prompts.forms", True),
        ("people.models", "ledger.audit", True),
        ("ledger.registry", "people.models", False),
        ("ledger.audit", "models", False),
        ("live.snapshots", "ledger.models", True),
        ("web.access", "people.actions.accounts", True),
        ("web.access", "prompts.models", False),
        ("prompts.queries.search", "web.lists", False),
        ("prompts.views.editor", "web.lists", True),
        ("prompts.models.templates", "prompts.actions.releases", False),
        ("prompts.forms", "prompts.actions.releases", True),
        ("engine.chain", "platform.crypto", False),
        ("client.runs", "engine.chain", True),
        ("client.runs", "platform.crypto", False),
        ("runs.plans", "client.runs", False),
        ("management.commands.serve", "urls", False),
        ("management.commands.serve", "asgi", False),
        ("platform.crypto", "settings", False),
    ],
)
def test_the_rule_itself(importer: str, target: str, allowed: bool) -> None:
    assert (refusal(importer, target) is None) is allowed


def test_only_two_modules_import_http_clients() -> None:
    """One module calls providers and one the control room. They set all limits and map errors; tests replace them."""
    clients = {"httpx", "httpx_aiohttp", "aiohttp", "requests", "urllib3"}
    users = {module for module, path in MODULES.items() if clients & {name.split(".")[0] for name in imports(path)}}
    assert users == {"engine.http", "client.wire"}


@pytest.mark.parametrize("package", sorted(PURE))
def test_the_pure_packages_load_without_django(package: str) -> None:
    names = sorted(f"promptops.{module}" for module in MODULES if module.split(".")[0] == package)
    script = (
        "import importlib, sys\n"
        "blocked = ('django', 'channels', 'asgiref', 'daphne')\n"
        "sys.modules.update(dict.fromkeys(blocked))\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=settings.BASE_DIR, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_actions_open_transactions() -> None:
    """No page and no query opens a transaction."""
    for module, path in MODULES.items():
        if module.split(".")[0] == FRAME or is_page(module) or (layer(module) == "queries" and ".queries" in module):
            assert "django.db.transaction" not in set(imports(path)), module
