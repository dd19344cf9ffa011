"""The commands of docs/install.md, run on a machine of their own, from nothing to signed in."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.services.machine import CHECKOUT, PACKAGES, PYTHON, Machine, own_machine
from tests.services.server import LINK, ROOT, free_port
from tests.services.test_confined import STATE, unit_in

PAGE = (ROOT / "docs" / "install.md").read_text()
SYSTEMD = (
    "Systemd and a proxy",
    "One process",
    "Two processes",
    "nginx",
    "Caddy",
    "The first administrator",
    "Change a setting",
    "More packages",
    "Watch it",
    "Upgrade",
    "Go back",
    "Restore",
)
RUN = {"A checkout", "Compose with PostgreSQL and Redis", *SYSTEMD}
"""The sections whose commands are run below."""
WAYS = {"One process": ("8000",), "Two processes": ("8000", "8001")}
"""The sections of which a reader chooses one, with the ports of its processes."""

FRESH = """
rm -rf /etc/postgresql/* /var/lib/postgresql/* /var/lib/redis/*
! command -v pg_createcluster || LC_ALL=C pg_createcluster "$(ls /usr/lib/postgresql | tail -n 1)" main
"""
"""Undo what the copied machine has of its own. A cluster is as Debian makes it, without a locale."""

PG_CTL = "pg_ctlcluster --skip-systemctl-redirect $(ls /etc/postgresql) main"
OTHERS = {
    ("postgresql.service", "enable"): f"{PG_CTL} start",
    (
        "redis-server.service",
        "enable",
    ): "install -d -o redis /run/redis; runuser -u redis redis-server /etc/redis/redis.conf",
    ("nginx.service", "restart"): "nginx",
    ("nginx.service", "reload"): "nginx -s reload",
    ("caddy.service", "restart"): "true",  # it would ask a public authority for a certificate
}
"""What starts the units of Debian's own packages."""

END = f"""
test ! -e /run/nginx.pid || kill $(cat /run/nginx.pid)
test ! -e /run/redis/redis-server.pid || kill -KILL $(cat /run/redis/redis-server.pid)  # it would not end unsaved
test ! -e /run/postgresql/.s.PGSQL.5432 || {PG_CTL} -m immediate stop
"""

SYSTEMCTL = '#!/bin/sh\necho "$*" >> /run/systemctl\n'
USES_NETWORK = re.compile(r"apt-get |/pip (?:install|wheel) |make run")
VISIT = f"{PYTHON} -m tests.services.visit {{link}} {{address}}"
VISITOR = {"PYTHONPATH": f"{CHECKOUT}:{PACKAGES}", "PYTHONDONTWRITEBYTECODE": "1"}
METRICS = (
    'curl --fail --silent --header "Authorization: Bearer $(sed -n s/^METRICS_TOKEN=//p /var/lib/promptops/.env)" '
    "http://127.0.0.1:{port}/metrics"
)
WRITES_HERE = re.compile(r"> \.env|0600 \.env|make run")
"""Commands that write into the checkout; they run in a copy of it."""


class Block(NamedTuple):
    """Commands of the page. `way` is the way of WAYS that needs them, or empty if every way does."""

    title: str
    code: str
    is_tried: bool
    way: str


def blocks() -> list[Block]:
    """Return all blocks of commands."""
    found = []
    for section in re.split(r"^##+ ", PAGE, flags=re.M)[1:]:
        title = section.splitlines()[0]
        for before, code in re.findall(r"([^\n]*)\n+```sh\n(.*?)```", section, re.S):
            way = next((way for way in WAYS if before.lower().startswith(f"with {way.lower()}")), "")
            found.append(Block(title, code, not before.startswith("**Not tried**"), way))
    return found


def commands(title: str, way: str = "") -> list[str]:
    """Return the commands of a section that were tried, one for each, in their order."""
    return [
        command
        for block in blocks()
        for command in block.code.replace("\\\n", "").splitlines()
        if block.title == title and block.is_tried and block.way in {"", way}
    ]


def test_every_command_is_run_or_marked() -> None:
    assert PAGE.count("```") == 2 * len(blocks())
    assert {block.title for block in blocks() if block.is_tried} == RUN
    for block in blocks():
        assert block.is_tried != bool(re.search(r"\b(docker|podman)\b", block.code)), block.code


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


def test_a_shell_of_the_machine_has_no_setting_of_the_tests(machine) -> None:
    """A SECRET_KEY or an empty PUBLIC_ADDRESS would overrule the files that the page writes."""
    names = {line.partition("=")[0] for line in machine.run("env").stdout.splitlines()}
    served = machine.serve("sh -c 'env; echo ended'", cwd=CHECKOUT)
    names |= {line.partition("=")[0] for line in machine.wait_for(served, "^ended$").splitlines()}
    settings = set(re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs" / "configuration.md").read_text(), re.M))
    assert {"SECRET_KEY", "PUBLIC_ADDRESS", "VAR_DIR", "DATABASE_URL"} <= settings & set(os.environ)
    assert names & settings == set()


class Systemd:
    """A stand-in for systemd: it starts the commands of units, for each `systemctl` that the shell noted."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.titles: set[str] = set()
        """The sections whose commands were run."""

    def follow(self) -> None:
        """Do what was noted since the last time."""
        notes = self.machine.run("cat /run/systemctl 2>/dev/null || true; rm -f /run/systemctl").stdout
        for verb, *words in (line.split() for line in notes.splitlines()):
            for name in (word for word in words if word.endswith(".service")):
                if name.startswith("promptops"):
                    getattr(self, verb)(name)
                else:
                    self.machine.run(OTHERS[name, verb])

    def _unit(self, name: str) -> dict[str, list[str]]:
        """Return the lines of the unit's section Service, with those of its folder, for this instance."""
        file = re.sub("@.*", "@.service", name)
        text = self.machine.run(f"cd /etc/systemd/system; cat {file} $(ls {file}.d/* 2>/dev/null)").stdout
        instance = name.removesuffix(".service").partition("@")[2]
        return unit_in(text.replace("%i", instance) if instance else text)["Service"]

    def enable(self, name: str) -> None:
        self.start(name)

    def start(self, name: str) -> None:
        service = self._unit(name)
        started = {"user": service["User"][0], "state": STATE, "cwd": service["WorkingDirectory"][0]}
        own = dict(line.split("=", 1) for line in service.get("Environment", []))
        for line in service["ExecStart"] + service.get("ExecStartPost", []):
            command = shlex.split(line.replace("%%", "%"))
            process = self.machine.start(command, environment={"PATH": "/usr/local/bin:/usr/bin:/bin"} | own, **started)
            if service.get("Type") == ["oneshot"]:
                output, _ = process.communicate(timeout=120)
                assert process.returncode == 0, output
            else:
                self.processes[name] = process
                self.machine.wait_for(process, "PromptOps is up", 180)

    def stop(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process is not None:  # as systemd does nothing for a unit that is stopped
            process.terminate()
            assert process.wait(60) == 0

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)


def run_commands(machine: Machine, systemd: Systemd, title: str, way: str = "") -> str:
    """Run the commands of a section one by one; what they print."""
    printed = ""
    systemd.titles.add(title)
    for command in commands(title, way):
        assert not WRITES_HERE.search(command)
        printed += machine.run(command, shares_network=bool(USES_NETWORK.search(command))).stdout
        systemd.follow()
    return printed


# With downloads: about two minutes.
@pytest.mark.proof
@pytest.mark.parametrize(("way", "ports"), WAYS.items())
def test_systemd_and_a_proxy_from_nothing_to_signed_in(machine, way, ports) -> None:
    systemd = Systemd(machine)
    machine.run(FRESH)
    try:
        for title in ("Systemd and a proxy", way, "nginx"):
            run_commands(machine, systemd, title, way)
        [link] = LINK.findall(run_commands(machine, systemd, "The first administrator"))
        machine.run("echo 127.0.0.1 prompts.example.org >> /etc/hosts")
        visit = VISIT.format(link=link, address="https://prompts.example.org")
        assert machine.run(visit, **VISITOR).stdout == "signed in\n"
        if len(ports) > 1:
            for name in list(systemd.processes):
                systemd.stop(name)
                machine.run("curl --fail --silent --insecure https://prompts.example.org/readyz")
                systemd.start(name)
        run_commands(machine, systemd, "Watch it", way)  # before an upgrade made a backup
        run_commands(machine, systemd, "Change a setting", way)
        for port in ports:
            metrics = machine.run(METRICS.format(port=port)).stdout
            assert "promptops_build_info" in metrics
        for title in ("More packages", "Caddy", "Upgrade", "Go back", "Restore"):
            run_commands(machine, systemd, title, way)
        assert systemd.titles == {*SYSTEMD} - {*WAYS} | {way}
        assert len(systemd.processes) == len(ports)
        copies = machine.run(f"ls {STATE}/backup/*").stdout.split()
        assert {"manifest.json", "database.dump" if len(ports) > 1 else "database.sqlite3"} <= set(copies)
    finally:
        machine.run(END)


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
