"""The commands of docs/install.md, run on a machine of their own, from nothing to signed in."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.machine import CHECKOUT, PACKAGES, PYTHON, Machine, own_machine
from tests.services.server import LINK, ROOT, free_port
from tests.services.test_confined import STATE, unit

PAGE = (ROOT / "docs" / "install.md").read_text()
SYSTEMD = ("Systemd and a proxy", "nginx", "Caddy", "The first administrator", "Watch it", "Upgrade")
RUN = {"A checkout", "Compose with PostgreSQL and Redis", *SYSTEMD}
"""The sections whose commands are run below."""

SYSTEMCTL = '#!/bin/sh\necho "$*" >> /run/systemctl\n'
USES_NETWORK = re.compile(r"apt-get |/pip (?:install|wheel) |make run")
VISIT = f"{PYTHON} -m tests.services.visit {{link}} {{address}}"
VISITOR = {"PYTHONPATH": f"{CHECKOUT}:{PACKAGES}", "PYTHONDONTWRITEBYTECODE": "1"}
WRITES_HERE = re.compile(r"> \.env|0600 \.env|make run")
"""Commands that write into the checkout; they run in a copy of it."""


def blocks() -> list[tuple[str, str, bool]]:
    """Return each block of commands with the title of its section, and whether it was tried."""
    found = []
    for section in re.split(r"^##+ ", PAGE, flags=re.M)[1:]:
        title = section.splitlines()[0]
        for before, code in re.findall(r"([^\n]*)\n+```sh\n(.*?)```", section, re.S):
            found.append((title, code, not before.startswith("**Not tried**")))
    return found


def commands(title: str) -> list[str]:
    """Return the commands of a section that were tried, one for each, in their order."""
    return [
        command
        for section, code, is_tried in blocks()
        for command in code.replace("\\\n", "").splitlines()
        if section == title and is_tried
    ]


def test_every_command_is_run_or_marked() -> None:
    assert PAGE.count("```") == 2 * len(blocks())
    assert {title for title, _, is_tried in blocks() if is_tried} == RUN
    for _, code, is_tried in blocks():
        assert is_tried != bool(re.search(r"\b(docker|podman)\b", code)), code


def test_the_files_that_the_commands_name_are_there() -> None:
    named = set(re.findall(r"(?<![\w/])deploy/[\w./-]+", PAGE))
    assert {name for name in named if not (ROOT / name.rstrip(".")).exists()} == set()


@pytest.fixture
def machine(tmp_path) -> Iterator[Machine]:
    with own_machine(tmp_path / "machine") as made:
        made.run(
            "printf '%s' \"$SCRIPT\" > /usr/local/bin/systemctl; chmod +x /usr/local/bin/systemctl", SCRIPT=SYSTEMCTL
        )
        yield made


class Systemd:
    """A stand-in for systemd with the units: it starts the commands of `systemctl` that the shell has noted."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.server: subprocess.Popen[str] | None = None
        self.printed = ""

    def follow(self) -> None:
        """Do what was noted since the last time."""
        notes = self.machine.run("cat /run/systemctl; rm -f /run/systemctl").stdout if self._noted() else ""
        for verb, *words in (line.split() for line in notes.splitlines()):
            for name in (word for word in words if word.endswith(".service")):
                getattr(self, f"_{verb.replace('-', '_')}")(name)

    def _noted(self) -> bool:
        return "yes" in self.machine.run("test ! -e /run/systemctl || echo yes").stdout

    def _enable(self, name: str) -> None:
        self.machine.run(f"test -e /etc/systemd/system/{name}")
        self._start(name)

    def _start(self, name: str) -> None:
        service = unit(name)["Service"]
        started = {"user": service["User"][0], "state": STATE, "cwd": service["WorkingDirectory"][0]}
        for line in service["ExecStart"] + service.get("ExecStartPost", []):
            command = shlex.split(line.replace("%%", "%"))
            process = self.machine.start(command, environment={"PATH": "/usr/local/bin:/usr/bin:/bin"}, **started)
            if service.get("Type") == ["oneshot"]:
                output, _ = process.communicate(timeout=120)
                assert process.returncode == 0, output
            else:
                self.server = process
                self.printed = self.machine.wait_for(process, "PromptOps is up", 180)

    def _stop(self, name: str) -> None:
        assert self.server is not None
        self.server.terminate()
        assert self.server.wait(60) == 0

    def _restart(self, name: str) -> None:
        if name == "nginx.service":
            self.machine.run("nginx")
        else:  # Caddy would ask a public authority for a certificate
            assert name == "caddy.service"


def run_commands(machine: Machine, systemd: Systemd, title: str) -> str:
    """Run the commands of a section one by one; what they print."""
    printed = ""
    for command in commands(title):
        assert not WRITES_HERE.search(command)
        printed += machine.run(command, shares_network=bool(USES_NETWORK.search(command))).stdout
        systemd.follow()
    return printed


# With downloads: about two minutes.
@pytest.mark.proof
def test_systemd_and_a_proxy_from_nothing_to_signed_in(machine) -> None:
    systemd = Systemd(machine)
    try:
        for title in ("Systemd and a proxy", "nginx"):
            run_commands(machine, systemd, title)
        [link] = LINK.findall(run_commands(machine, systemd, "The first administrator"))
        machine.run("echo 127.0.0.1 prompts.example.org >> /etc/hosts")
        visit = VISIT.format(link=link, address="https://prompts.example.org")
        assert machine.run(visit, **VISITOR).stdout == "signed in\n"
        run_commands(machine, systemd, "Caddy")
        run_commands(machine, systemd, "Upgrade")
        run_commands(machine, systemd, "Watch it")
        assert "manifest.json" in machine.run(f"ls {STATE}/backup/*").stdout
    finally:
        machine.run("test ! -e /run/nginx.pid || kill $(cat /run/nginx.pid)")


@pytest.mark.proof
def test_a_checkout_runs(machine) -> None:
    """With downloads: about a minute. A copy of the tracked files only, as after a clone."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    names = [name for name in listed.decode().split("\0") if name and (ROOT / name).exists() and name != ".venv"]
    copied = " ".join(shlex.quote(name) for name in names if not name.startswith(("tests/", "docs/", "benchmarks/")))
    machine.run(f"mkdir /srv/checkout; cp --parents {copied} /srv/checkout")
    [command] = commands("A checkout")
    server = machine.serve(command, cwd=Path("/srv/checkout"), PORT=str(free_port()))
    try:
        [link] = LINK.findall(machine.wait_for(server, "PromptOps is up", 400))
        assert machine.run(VISIT.format(link=link, address=""), shares_network=True, **VISITOR).stdout == "signed in\n"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
    assert server.wait(60) in {0, -signal.SIGTERM}


def test_the_settings_of_the_cluster_are_written_for_their_owner_only(machine) -> None:
    machine.run("\n".join(commands("Compose with PostgreSQL and Redis")), cwd=Path("/srv"))
    assert machine.run("stat --format=%a /srv/.env").stdout == "600\n"
    assert re.fullmatch(
        r"PROMPTOPS_SITE=prompts.example.org\nPOSTGRES_PASSWORD=[0-9a-f]{48}\n", machine.run("cat /srv/.env").stdout
    )
