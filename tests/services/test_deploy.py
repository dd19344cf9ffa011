"""The files of the folder deploy fit each other, the code and docs/install.md."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from tests.conftest import missing
from tests.services.server import ROOT
from tests.services.test_confined import DEPLOY, STATE, container, unit

UNITS = sorted(path.name for path in (DEPLOY / "systemd").iterdir())
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = ("promptops", "web-1", "web-2")
GRACE_SECONDS = 20


def test_the_image_runs_without_rights_and_says_whether_it_lives():
    own = container()
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", own["USER"][0])
    (script,) = re.findall(r'CMD \["python", "(.+)"\]', own["HEALTHCHECK"][0])
    assert "/livez" in (ROOT / script).read_text()
    assert own["EXPOSE"] == ["8000"]
    text = (ROOT / "Containerfile").read_text()
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) == {"${BASE}"}
    assert re.search(r"^ARG BASE=python:3\.\d+-slim-\w+$", text, re.M)


def test_the_image_holds_what_the_server_needs_and_no_state():
    script = (DEPLOY / "container" / "tree.sh").read_text()
    copied = set(re.findall(r"^for name in (.*); do$", script, re.M)[0].split())
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_in
    assert {name for name in copied if not (ROOT / name).exists()} == set()
    assert {"var", ".env", ".git"} & let_in == set()


@pytest.mark.parametrize("name", OURS)
def test_compose_gives_a_process_its_volume_and_no_rights(name):
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True)
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == [f"state:{STATE}"]
    assert [mount.split(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert (service["image"], service["pull_policy"]) == (
        SERVICES["promptops"]["image"],
        "never",
    )  # nobody else's image
    assert int(service["stop_grace_period"].rstrip("s")) > GRACE_SECONDS + 5
    assert service["environment"]["HOST"] == "0.0.0.0"


def test_compose_starts_sqlite_alone_and_the_cluster_by_its_proxy():
    cluster = {name for name, service in SERVICES.items() if service.get("profiles") == ["cluster"]}
    assert set(SERVICES) - cluster == {"promptops"}
    assert SERVICES["promptops"]["build"]["dockerfile"] == "Containerfile"
    assert SERVICES["promptops"]["ports"] == ["127.0.0.1:8000:8000"]
    assert {name for name in cluster if "ports" in SERVICES[name]} == {"proxy"}
    reached, waiting = set(), {"proxy"}
    while waiting:
        reached |= waiting
        waiting = {other for name in waiting for other in SERVICES[name].get("depends_on", ())} - reached
    assert reached == cluster
    for service in SERVICES.values():
        for other in service.get("depends_on", ()):  # it waits until the other one is healthy
            assert "healthcheck" in SERVICES[other] or other in OURS
    processes = SERVICES["proxy"]["environment"]["PROMPTOPS_PROCESSES"].split()
    assert processes == ["web-1:8000", "web-2:8000"]
    assert SERVICES["web-1"]["environment"]["DATABASE_URL"].startswith("postgresql://")
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert {name for name in named if not name.startswith(".")} == set(COMPOSE["volumes"])


def test_backups_of_the_image_fit_the_database_of_compose():
    """pg_dump reads no server that is newer than itself; Debian 12 has version 15."""
    base = re.findall(r"^ARG BASE=\S+-(\w+)$", (ROOT / "Containerfile").read_text(), re.M)
    assert (base, SERVICES["postgresql"]["image"]) == (["bookworm"], "postgres:15-bookworm")


def test_compose_builds_with_the_base_of_the_containerfile_and_packages_of_the_project():
    text = (ROOT / "Containerfile").read_text()
    for name, value in SERVICES["promptops"]["build"]["args"].items():
        (default,) = re.findall(rf'^ARG {name}="?([^"\n]*)', text, re.M)
        assert value == f"${{{name}:-{default}}}"
    (packages,) = re.findall(r"echo 'EXTRAS=(.*)'", (ROOT / "docs" / "install.md").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert [name for name in packages.split() if f'"{name}>=' not in project] == []


@pytest.mark.parametrize("name", UNITS)
def test_systemd_knows_every_line_of_the_units(tmp_path, name):
    if not shutil.which("systemd-analyze"):
        missing("systemd-analyze is not installed")
    for each in UNITS:
        text = (DEPLOY / "systemd" / each).read_text()
        (tmp_path / each).write_text(re.sub(r"^ExecStart=/(?:opt|srv)/\S+", "ExecStart=/bin/true", text, flags=re.M))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)], capture_output=True, text=True, timeout=30
    )
    assert [line for line in done.stderr.splitlines() if "promptops" in line] == []


@pytest.mark.parametrize(("name", "most"), [("promptops.service", 15), ("promptops-follow.service", 20)])
def test_systemd_calls_the_units_safe(name, most):
    """`systemd-analyze security` gives 0 (nothing is open) to 100 tenths."""
    if not shutil.which("systemd-analyze"):
        missing("systemd-analyze is not installed")
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={most}", str(DEPLOY / "systemd" / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout.splitlines()[-1:]


def test_the_units_leave_runs_in_progress_their_time():
    assert int(unit("promptops.service")["Service"]["TimeoutStopSec"][0]) > GRACE_SECONDS + 5
    for name in ("promptops.service", "promptops-backup.service"):
        assert unit(name)["Service"]["WorkingDirectory"] == [f"/var/lib/{unit(name)['Service']['StateDirectory'][0]}"]


def test_the_parts_list_has_every_locked_package_and_is_always_the_same(tmp_path):
    subprocess.run([str(DEPLOY / "sbom.sh"), str(tmp_path / "sbom")], check=True, capture_output=True, timeout=120)
    listed = json.loads((tmp_path / "sbom").read_text())
    assert "serialNumber" not in listed
    assert "timestamp" not in listed["metadata"]
    parts = {(part["name"], part["version"]) for part in listed["components"]}
    locked = re.findall(r"^([\w.-]+)(?:\[\S+\])?==([^\s;\\]+)", (ROOT / "requirements.txt").read_text(), re.M)
    assert parts == set(locked)
