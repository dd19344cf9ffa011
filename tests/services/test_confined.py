"""The server with the limits of a container and of the systemd unit: no rights, a tree that is read-only.

There is no container engine and no systemd here: `tests.services.machine` sets the limits.
"""

import json
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from promptops.engine.providers.local import local_available
from tests.conftest import missing
from tests.services.machine import CHECKOUT, PACKAGES, PYTHON, Machine, own_machine, system_calls
from tests.services.server import LINK, ROOT, SECRET_KEY, make_database
from tests.services.test_wheel import wheel  # noqa: F401 -- a fixture

DEPLOY = ROOT / "deploy"
STATE = "/var/lib/promptops"


def container() -> dict[str, list[str]]:
    """Return the instructions of the Containerfile's last stage, by name."""
    text = (ROOT / "Containerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^([A-Z]+) +(.*)$", text, re.M):
        found.setdefault(name, []).append(value)
    return found


def unit_in(text: str) -> dict[str, dict[str, list[str]]]:
    """Return the lines of a unit for systemd, by section and name. A name may have several lines."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Return the lines of a unit of this folder."""
    return unit_in((DEPLOY / "systemd" / name).read_text())


@dataclass
class Way:
    """One way to start the server: its process, its environment and its limits."""

    command: list[str]
    environment: dict[str, str]
    cwd: str
    user: str
    state: str
    limits: dict[str, object]


def in_a_container(machine: Machine, request: pytest.FixtureRequest) -> Way:
    """Build the tree with the container's own script. Downloads are left out."""
    own = container()
    machine.run(f"sh deploy/container/tree.sh . {own['WORKDIR'][0]}")
    machine.make_environment(f"{own['WORKDIR'][0]}/.venv")
    environment = dict(pair.split("=", 1) for pair in shlex.split(own["ENV"][0]))
    environment["PATH"] = environment["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
    assert (own["VOLUME"], environment["VAR_DIR"]) == ([STATE], STATE)
    command = json.loads(own["ENTRYPOINT"][0]) + json.loads(own["CMD"][0])
    return Way(command, environment, own["WORKDIR"][0], own["USER"][0].split(":")[0], STATE, {})


def by_systemd(machine: Machine, request: pytest.FixtureRequest) -> Way:
    """Install the wheel where the unit has it, and set the limits of the unit that can be set without systemd."""
    service = unit("promptops.service")["Service"]
    command = shlex.split(service["ExecStart"][0])
    folder = str(Path(command[0]).parents[1])
    machine.make_environment(folder)
    built = request.getfixturevalue("wheel")
    shutil.copy(built, machine.path("/tmp"))
    pip = f"PYTHONPATH={PACKAGES} {PYTHON} -m pip --python {folder}/bin/python"
    machine.run(f"{pip} install --quiet --no-deps --no-index --no-compile /tmp/{built.name}")
    allowed = system_calls("@default", service["SystemCallFilter"][0])
    for denied in service["SystemCallFilter"][1:]:
        allowed -= system_calls(denied.removeprefix("~"))
    limits = {
        "calls": tuple(sorted(allowed)),
        "denies_writable_code": service["MemoryDenyWriteExecute"] == ["yes"],
    }
    cwd = service["WorkingDirectory"][0]
    return Way(command, {"PATH": "/usr/bin:/bin"}, cwd, "10002", f"{cwd}/var", limits)


# The second one is a proof: the embedded model answers, which takes 15 s of processor time.
@pytest.fixture(
    params=[
        pytest.param(in_a_container, id="container"),
        pytest.param(by_systemd, id="proof: systemd", marks=pytest.mark.proof),
    ]
)
def machine_and_way(request, tmp_path) -> Iterator[tuple[Machine, Way]]:
    with own_machine(tmp_path / "machine") as machine:
        yield machine, request.param(machine, request)


# A whole installation: 6 s.
def test_the_server_works_where_it_may_write_its_state_only(machine_and_way) -> None:
    machine, way = machine_and_way
    make_database(machine.path(way.state))
    environment = way.environment | {"SECRET_KEY": SECRET_KEY}
    started = {"user": way.user, "state": STATE, "cwd": way.cwd, "environment": environment, **way.limits}
    server = machine.start(way.command, **started)
    printed = machine.wait_for(server, "PromptOps is up", 120)
    (link,) = LINK.findall(printed)
    packages = {"PYTHONPATH": f"{CHECKOUT}:{PACKAGES}", "PYTHONDONTWRITEBYTECODE": "1"}
    assert machine.run(f"{PYTHON} -m tests.services.visit {link}", **packages).stdout == "signed in\n"
    machine.run(f"{PYTHON} deploy/container/livez.py")
    if way.limits:
        check_the_model_and_a_backup(machine, way.command, started)
    server.send_signal(signal.SIGTERM)
    output, _ = server.communicate(timeout=60)
    assert (server.returncode, "Traceback" in output) == (0, False), output


def check_the_model_and_a_backup(machine: Machine, command: list[str], started: dict) -> None:
    """A run on the embedded model, which is machine code in a process of its own, and a copy of the database."""
    if reason := local_available():
        missing(reason)
    program = [part for part in command if part != "serve"]
    token, _ = machine.start([*program, "create_token", "gpu", "--scope", "run"], **started).communicate(timeout=60)
    asked = {"model": "promptops/enhance", "messages": [{"role": "user", "content": "a fox"}], "max_tokens": 8}
    curl = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "60", "--json", json.dumps(asked)]
    curl += ["--header", f"Authorization: Bearer {token.split()[-1]}", "http://127.0.0.1:8000/v1/chat/completions"]
    assert json.loads(machine.run(shlex.join(curl)).stdout)["choices"][0]["message"]["content"]
    backup = machine.start([*program, "backup", f"{STATE}/backup/one"], **started)
    output, _ = backup.communicate(timeout=60)
    assert backup.returncode == 0, output


def test_the_health_check_fails_without_a_server(tmp_path) -> None:
    script = str(DEPLOY / "container" / "livez.py")
    done = subprocess.run(
        ["python3", script], env={"PATH": "/usr/bin:/bin", "PORT": "9"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr[:28]) == (1, "The server does not answer: ")
