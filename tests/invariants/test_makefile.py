"""The Makefile, with a Python that only logs its calls: nothing is installed or served here."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

MAKEFILE = settings.BASE_DIR / "Makefile"

# As `PYTHON` it really checks versions, and makes environments that have only a copy of itself.
FAKE_PYTHON = """#!/bin/sh
case "$1 $2" in
  "-c "*) exec {python} -c 'import sys; {lie}; exec(sys.argv[2])' "$@" ;;
  "-m venv") mkdir -p "$3/bin"; {venv} && cp "$0" "$3/bin/python" ;;
  "-m pip") echo "pip $*" >> log; {pip} ;;
  *) echo "$* on ${{HOST:-}}:${{PORT:-}}" >> log ;;
esac
"""


class Checkout:
    """A folder with the Makefile, as after `git clone`."""

    def __init__(self, folder: Path, lie: str = "pass", venv: str = "true", pip: str = "true") -> None:
        self.folder = folder
        shutil.copy(MAKEFILE, folder)
        for name in ("requirements.txt", "requirements-dev.txt"):
            (folder / name).write_text("")
        self.python = folder / "a-python"
        self.python.write_text(FAKE_PYTHON.format(python=sys.executable, lie=lie, venv=venv, pip=pip))
        self.python.chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
        return subprocess.run(
            ["make", *arguments, f"PYTHON={self.python}"],
            cwd=self.folder,
            env=env | {"HOST": "", "PORT": ""},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def log(self) -> list[str]:
        """Return the calls since the last time: an install by its file, any other call by its arguments."""
        path = self.folder / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line.split()[-1] if line.startswith("pip") else line for line in lines]


def test_the_first_run_installs_and_the_next_one_only_serves(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    first = checkout.make("run")
    assert first.returncode == 0, first.stderr
    assert "about a minute, once" in first.stdout
    assert checkout.log() == ["requirements.txt", "manage.py serve on :"]
    second = checkout.make("run", "HOST=0.0.0.0", "PORT=9000")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert checkout.log() == ["manage.py serve on 0.0.0.0:9000"]


def test_only_locked_packages_are_installed(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.make("run")
    installed = (tmp_path / "log").read_text().splitlines()[0]
    assert "--require-hashes" in installed
    assert "--no-deps" in installed
    assert "index" not in installed


def test_new_requirements_and_a_removed_python_cause_an_install(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.make("run")
    checkout.log()
    later = (tmp_path / ".venv" / ".run").stat().st_mtime + 10
    os.utime(tmp_path / "requirements.txt", (later, later))
    checkout.make("run")
    assert checkout.log()[0] == "requirements.txt"
    os.utime(tmp_path / "requirements.txt", (0, 0))
    # A newer Python replaced the system's, so the environment's link is broken.
    (tmp_path / ".venv" / "bin" / "python").unlink()
    (tmp_path / ".venv" / "bin" / "python").symlink_to(tmp_path / "gone")
    os.utime(checkout.python, (0, 0))
    assert checkout.make("run").returncode == 0
    assert checkout.log() == ["requirements.txt", "manage.py serve on :"]


def test_make_test_installs_the_packages_of_make_run_too(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    assert checkout.make("test", "ARGS=-k fox").returncode == 0
    assert checkout.log() == ["requirements-dev.txt", "-m pytest -n 2 --dist worksteal -k fox on :"]
    checkout.make("run")
    assert checkout.log() == ["manage.py serve on :"]


def test_a_failed_install_is_retried(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, pip="test -e fixed")
    assert checkout.make("run").returncode != 0
    assert checkout.log() == ["requirements.txt"]
    (tmp_path / "fixed").touch()
    assert checkout.make("run").returncode == 0
    assert checkout.log() == ["requirements.txt", "manage.py serve on :"]


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 14, 0), (2, 7, 18)])
def test_an_unsupported_python_is_refused_and_changes_nothing(tmp_path: Path, version: tuple[int, ...]) -> None:
    name = ".".join(map(str, version))
    checkout = Checkout(tmp_path, lie=f'sys.version_info = {version}; sys.version = "{name} (main)"')
    done = checkout.make("run")
    assert done.returncode != 0
    assert re.search(rf"^PromptOps needs Python 3\.11, 3\.12 or 3\.13; \S+ is {re.escape(name)}\.", done.stderr, re.M)
    assert "make run PYTHON=python3.12" in done.stderr
    assert "Traceback" not in done.stderr
    assert checkout.log() == []
    assert not (tmp_path / ".venv").exists()


def test_a_missing_venv_module_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    done = Checkout(tmp_path, venv="false").make("run")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_a_read_only_folder_is_reported(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    # The superuser may write everywhere except on read-only file systems.
    places = [place for place in ("/sys", "/proc/sys") if Path(place).is_dir() and not os.access(place, os.W_OK)]
    if os.geteuid() != 0:
        tmp_path.chmod(0o555)
        places.insert(0, str(tmp_path))
    if not places:
        pytest.skip("every folder can be written here")
    done = checkout.make("-C", places[0], "-f", str(tmp_path / "Makefile"), ".venv/bin/python")
    tmp_path.chmod(0o755)
    assert done.returncode != 0
    assert "PromptOps cannot write to this folder; copy it to one that is yours." in done.stdout


def test_help_lists_every_target(tmp_path: Path) -> None:
    phony = re.search(r"^\.PHONY: (.*)", MAKEFILE.read_text(), re.MULTILINE)
    assert phony
    listed = re.findall(r"^  make (\w+) ", Checkout(tmp_path).make().stdout, re.MULTILINE)
    assert sorted(listed) == sorted(phony[1].split())
