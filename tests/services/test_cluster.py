"""The profile `cluster` of compose.yaml, started as a whole without a container engine.

Everything is read from compose.yaml and the Containerfile: the order, commands, environment, health checks and volumes.
Each service has a network of its own, in which the others have their names. IMAGES says what the images of others do.
"""

import json
import re
import shlex
import threading
import time
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from tests.services.machine import CHECKOUT, PACKAGES, PYTHON, Machine, own_machine
from tests.services.server import LINK
from tests.services.test_confined import STATE, container, in_a_container
from tests.services.test_deploy import COMPOSE, SERVICES
from tests.services.test_install import commands

SITE = "prompts.local"
"""Caddy makes a certificate of its own for such a name. For another one it asks a public authority."""

VISITOR = {"PYTHONPATH": f"{CHECKOUT}:{PACKAGES}", "PYTHONDONTWRITEBYTECODE": "1"}
PROGRAMS = "PATH=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):$PATH"
INSTALLED = {"caddy": "caddy", "redis-server": "redis-server", "pg_createcluster": "postgresql"}
IMAGES = {
    "postgres": f"""
        setpriv --reuid=postgres --regid=postgres --init-groups env {PROGRAMS} sh -euc '
        printf %s "$POSTGRES_PASSWORD" > /tmp/password
        cd /var/lib/postgresql/data
        initdb -D . --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256
        echo "host all all all scram-sha-256" >> pg_hba.conf
        echo "CREATE DATABASE \\"$POSTGRES_USER\\"" | postgres --single -D . postgres
        exec postgres -D . -c "listen_addresses=*"'
    """,
    "redis": "setpriv --reuid=redis --regid=redis --clear-groups {command} --protected-mode no",
    "caddy": "env XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config "
    "caddy run --config /etc/caddy/Caddyfile --adapter caddyfile",
}
"""What the image of another project does when it starts, by its name."""


def interpolated(value: Any, settings: dict[str, str]) -> str:
    """Return a value of the file with `${NAME:-default}` filled in, as compose does."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: settings.get(found[1]) or found[2], str(value))


def seconds(text: str) -> float:
    """Return the seconds of a time such as `5s`."""
    return float(text.removesuffix("s"))


class Cluster:
    """The services of the profile, each a process."""

    def __init__(self, machine: Machine, image: Any, settings: dict[str, str]) -> None:
        self.machine, self.image, self.settings = machine, image, settings
        self.networks: dict[str, int] = {}
        self.processes: dict[str, Any] = {}
        self.output: dict[str, list[str]] = {}
        self.healthy_after: dict[str, float] = {}

    def up(self, name: str) -> None:
        """Start a service as soon as those that it depends on are healthy; they start first."""
        needed: dict[str, set[str]] = {}
        waiting = [name]
        while waiting:
            each = waiting.pop()
            needed[each] = set(SERVICES[each].get("depends_on", ()))
            waiting += needed[each]
        for number, each in enumerate(needed, start=2):
            self.networks[each] = self.machine.join(each, number)
        order = TopologicalSorter(needed)
        order.prepare()
        while order.is_active():
            ready = order.get_ready()
            for each in ready:
                self.start(each)
            for each in ready:
                self.wait_until_healthy(each)
                order.done(each)

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of the service. For PromptOps, the file .env is part of it."""
        service = SERVICES[name]
        own = {key: interpolated(value, self.settings) for key, value in service.get("environment", {}).items()}
        if service["image"] != "promptops":
            return own
        assert service["env_file"] == [{"path": ".env", "required": False}]
        return self.image.environment | self.settings | own

    def start(self, name: str) -> None:
        service = SERVICES[name]
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            if source in COMPOSE["volumes"]:
                owner = "-o postgres" if source == "database" else ""
                self.machine.run(f"test -e {target} || install -d -m 0700 {owner} {target}")
            else:
                self.machine.run(f"install -D -m 0644 {source} {target}")
        network, environment = self.networks[name], self.environment(name)
        if service["image"] == "promptops":
            process = self.machine.start(
                self.image.command,
                user=self.image.user,
                state=STATE,
                cwd=self.image.cwd,
                environment=environment,
                network_of=network,
            )
        else:
            image = IMAGES[service["image"].split(":")[0]]
            command = image.format(command=shlex.join(service.get("command", [])))
            process = self.machine.serve(command.strip(), cwd=CHECKOUT, network_of=network, **environment)
        lines = self.output[name] = []
        threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True).start()
        self.processes[name] = process

    def wait_until_healthy(self, name: str) -> None:
        """Ask the health check of the service, at most as long as an engine does."""
        service = SERVICES[name]
        if "healthcheck" in service:
            check, (kind, *words) = service["healthcheck"], service["healthcheck"]["test"]
            command = words[0] if kind == "CMD-SHELL" else shlex.join(words)
            patience = seconds(check["interval"]) * check["retries"]
        elif service["image"] == "promptops":
            [text] = container()["HEALTHCHECK"]
            command = shlex.join(json.loads(text.partition("CMD ")[2]))
            options = dict(re.findall(r"--([\w-]+)=(\w+)", text))
            patience = seconds(options["start-period"]) + seconds(options["interval"]) * float(options["retries"])
        else:
            return
        began = time.monotonic()
        asked = f"{PROGRAMS}; if {command} > /dev/null 2>&1; then echo healthy; fi"
        own = self.environment(name)
        own.pop("PATH", None)
        cwd = Path(self.image.cwd)
        while "healthy" not in self.machine.run(asked, cwd=cwd, network_of=self.networks[name], **own).stdout:
            assert self.processes[name].poll() is None, "".join(self.output[name])
            assert time.monotonic() - began < patience, "".join(self.output[name])
            time.sleep(0.5)
        self.healthy_after[name] = round(time.monotonic() - began, 1)

    def manage(self, name: str, *arguments: str) -> str:
        """Return what `docker compose exec NAME python manage.py ...` prints."""
        process = self.machine.start(
            ["python", "manage.py", *arguments],
            user=self.image.user,
            state=STATE,
            cwd=self.image.cwd,
            environment=self.environment(name),
            network_of=self.networks[name],
        )
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    def visit(self, module: str, *arguments: str) -> str:
        return self.machine.run(f"{PYTHON} -m tests.services.{module} {shlex.join(arguments)}", **VISITOR).stdout

    def down(self) -> None:
        """Stop every service within its time, those first that depend on others."""
        for name in reversed(list(self.processes)):
            process = self.processes[name]
            process.terminate()
            code = process.wait(seconds(SERVICES[name].get("stop_grace_period", "10s")))
            assert code == 0, (name, "".join(self.output[name]))


@pytest.fixture
def cluster(tmp_path, request) -> Iterator[Cluster]:
    with own_machine(tmp_path / "machine") as machine:
        for program, package in INSTALLED.items():
            machine.run(f"command -v {program} || apt-get install --yes {package}", shares_network=True)
        machine.run("\n".join(commands("Compose with PostgreSQL and Redis")), cwd=Path("/srv"))
        written = dict(line.split("=", 1) for line in machine.run("cat /srv/.env").stdout.splitlines())
        image = in_a_container(machine, request)
        machine.run(
            "rm -rf /var/lib/postgresql /var/lib/promptops; mkdir -p /var/run/postgresql /var/lib/postgresql /config"
        )
        machine.run("chown postgres: /var/run/postgresql /var/lib/postgresql")
        started = Cluster(machine, image, written | {"PROMPTOPS_SITE": SITE})
        yield started
        for name, lines in started.output.items():  # pytest shows them if the test fails
            print(f"--- {name}", *lines[-30:], sep="\n")


@pytest.mark.proof
def test_the_cluster_starts_serves_and_survives_a_process(cluster) -> None:
    cluster.up("proxy")
    print("healthy after seconds:", cluster.healthy_after)
    cluster.machine.run(f"echo $(getent hosts proxy | cut -d' ' -f1) {SITE} >> /etc/hosts")
    address = f"https://{SITE}"
    ready = "curl --silent --insecure --fail --retry 20 --retry-delay 1 --retry-all-errors"
    cluster.machine.run(f"{ready} {address}/readyz")
    assert len(LINK.findall("".join(cluster.output["web-1"] + cluster.output["web-2"]))) == 2
    [link] = LINK.findall(cluster.manage("web-1", "admin_link"))
    assert link.startswith(f"{address}/setup/")
    assert cluster.visit("visit", link, address) == "signed in\n"

    token = cluster.manage("web-1", "create_token", "gpu", "--scope", "read", "--scope", "release").split()[-1]
    processes = ["http://web-1:8000", "http://web-2:8000"]
    for text, order in (("Made in one.", processes), ("Made in two.", processes[::-1])):
        taken = json.loads(cluster.visit("publish_visit", SITE, token, text, *order))
        print("live after seconds:", taken)
        assert max(taken) < 1
    cluster.manage("web-2", "backup", f"{STATE}/backup/one")

    cluster.processes.pop("web-1").kill()
    cluster.machine.run(f"curl --silent --insecure --fail {address}/sign-in/")
    for number in range(4):
        cluster.visit("publish_visit", SITE, token, f"One is dead {number}.", address)
    cluster.machine.run(f"curl --silent --insecure --fail {address}/sign-in/")
    cluster.down()
    assert "Traceback" not in "".join(cluster.output["web-2"])
