"""A machine for one test: a copy-on-write view of this one, with a network of its own. Nothing that it does stays.

It has no systemd. `Machine.start` starts a command with the limits that systemd or a container engine would set.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.services.server import ROOT

CHECKOUT = Path("/usr/local/src/promptops")
"""Where the machine has the checkout, which it cannot write to."""

PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")
"""The interpreter below the environment of the tests, which the machine has, too."""

PACKAGES = "/usr/local/lib/promptops-packages"
"""Where the machine has the packages that these tests run with."""

SHELL = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TERM|(?:https?|no|all|ftp)_proxy|PIP_\w+|SSL_CERT_\w+|\w+_CA_BUNDLE", re.I
)
"""The variables that a shell of the machine has: those of a login, and what leads to the network."""

BOOT = """
set -eu
umask 022
disk=$1 checkout=$2
mount -t tmpfs tmpfs "$disk"
mkdir "$disk/upper" "$disk/work" "$disk/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$disk/root"
cd "$disk/root"
mkdir -p .$3
mount --bind "$checkout" .$3
mount -o remount,bind,ro .$3
mkdir -p .$5
mount --bind "$6" .$5
for name in proc dev sys; do mount --rbind /$name ./$name; done
for name in tmp run; do mount -t tmpfs -o mode=1777 tmpfs ./$name; done
# Everybody may reach the Python that runs the tests. Only this copy gets the mode.
path=$4
while [ "$path" != / ]; do chmod a+rx ".$path"; path=$(dirname "$path"); done
echo ready
exec sleep infinity
"""

UP = """
import fcntl, socket, struct
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
"""

CONFINE = """
set -eu
mkdir -p "$1"
chown -R "$3:$3" "$1"
mount --bind "$1" "$1"
for path in $(awk '$5 != "/" && $5 !~ "^/(proc|dev|sys)" {print $5}' /proc/self/mountinfo); do
  [ "$path" = "$1" ] || mount -o remount,bind,ro "$path"
done
mount -o remount,bind,ro /
mount -t tmpfs -o mode=1777,size=64m tmpfs /tmp
cd "$2"
shift 3
exec "$@"
"""

JOIN = """
set -eu
[ -e /sys/class/net/network ] || ip link show network > /dev/null 2>&1 || {{
  ip link add network type bridge
  ip address add 10.77.0.1/24 dev network
  ip link set network up
}}
ip link add {name} type veth peer name eth0 netns {holder}
ip link set {name} master network up
nsenter --net=/proc/{holder}/ns/net sh -c \
  'ip address add {address}/24 dev eth0; ip link set lo up; ip link set eth0 up'
echo {address} {name} >> /etc/hosts
"""

LIMITS = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if {denies_writable_code}:
    assert libc.prctl(65, 1, 0, 0, 0) == 0, "prctl(PR_SET_MDWE)"
calls = {calls}
if calls:
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(0x00050001))  # EPERM
    for name in calls:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            assert seccomp.seccomp_rule_add(context, 0x7FFF0000, number, 0) == 0, name
    assert seccomp.seccomp_load(context) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


def shell_environment() -> dict[str, str]:
    """Return the environment of a login shell, without the settings that the tests run with.

    A setting of the tests, such as SECRET_KEY, would overrule the file `.env` and the secret key of the machine.
    """
    return {name: value for name, value in os.environ.items() if SHELL.fullmatch(name)}


class Machine:
    """A running machine. `run` runs a shell command in it as root, `start` starts a confined process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._disk = folder
        purelib = sysconfig.get_path("purelib")
        self._started: list[subprocess.Popen[str]] = []
        arguments = [str(folder), str(ROOT), str(CHECKOUT), sys.base_prefix, PACKAGES, purelib]
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", BOOT, "sh", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != "ready\n":
            missing(f"no copy of this machine can be made: {self._holder.stderr.read().strip()[-200:]}")

    def _enter(self, *, shares_network: bool, network_of: int = 0) -> list[str]:
        network = [] if shares_network else [f"--net=/proc/{network_of or self._holder.pid}/ns/net"]
        return ["nsenter", "--target", str(self._holder.pid), "--mount", *network, "chroot", str(self._disk / "root")]

    def join(self, name: str, number: int) -> int:
        """Make a network of its own for a service, as a container has, and return the process that holds it.

        All services reach each other, and the machine reaches all of them, by their names.
        """
        holder = subprocess.Popen(
            [*self._enter(shares_network=False), "unshare", "--net", "sleep", "infinity"], text=True
        )
        self._started.append(holder)
        until = time.monotonic() + 10
        while os.readlink(f"/proc/{holder.pid}/ns/net") in {
            os.readlink(f"/proc/{pid}/ns/net") for pid in (os.getpid(), self._holder.pid)
        }:
            assert time.monotonic() < until
            time.sleep(0.01)
        self.run(JOIN.format(name=name, holder=holder.pid, address=f"10.77.0.{number}"))
        return holder.pid

    def run(
        self, command: str, *, cwd: Path = CHECKOUT, shares_network: bool = False, network_of: int = 0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the shell to its end. It fails the test unless its exit code is 0."""
        done = subprocess.run(
            [
                *self._enter(shares_network=shares_network, network_of=network_of),
                *("bash", "-euc", f"umask 022; cd {cwd}\n{command}"),
            ],
            env=shell_environment() | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done

    def start(
        self,
        command: list[str],
        *,
        user: str,
        state: str,
        cwd: str,
        environment: dict[str, str],
        denies_writable_code: bool = False,
        calls: tuple[str, ...] = (),
        network_of: int = 0,
    ) -> "subprocess.Popen[str]":
        """Start a process that can write to its folder of state and to an empty /tmp only.

        `calls` are the only system calls that it may use; none given allows all. It has no capability.
        """
        limits = LIMITS.format(denies_writable_code=denies_writable_code, calls=json.dumps(calls))
        drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
        drop += ["--bounding-set=-all", "--inh-caps=-all"]
        clean = ["env", "-i", *(f"{name}={value}" for name, value in environment.items())]
        launch = [PYTHON, "-I", "-c", limits, *command]
        confined = ["unshare", "--mount", "sh", "-c", CONFINE, "sh", state, cwd, user, *drop, *clean, *launch]
        process = subprocess.Popen(
            [*self._enter(shares_network=False, network_of=network_of), *confined],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._started.append(process)
        return process

    def serve(self, command: str, *, cwd: Path, network_of: int = 0, **more: str) -> "subprocess.Popen[str]":
        """Start a command of the shell as root, with the network of a service or of this machine."""
        process = subprocess.Popen(
            [
                *self._enter(shares_network=not network_of, network_of=network_of),
                *("bash", "-euc", f"umask 022; cd {cwd}\nexec {command}"),
            ],
            env=shell_environment() | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def make_environment(self, folder: str) -> None:
        """Make a virtual environment with the packages that these tests run with, in place of a download."""
        self.run(f"{PYTHON} -m venv --without-pip {folder}")
        self.run(f"echo {PACKAGES} > $(echo {folder}/lib/python3*/site-packages)/tests.pth")

    def wait_for(self, process: "subprocess.Popen[str]", pattern: str, seconds: float = 60) -> str:
        """Return what the process prints, up to a line with the pattern."""
        assert process.stdout is not None
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        printed = ""
        try:
            for line in process.stdout:
                printed += line
                if re.search(pattern, line):
                    return printed
        finally:
            timer.cancel()
        raise AssertionError(f"no {pattern!r} in: {printed}")

    def path(self, inside: str | Path) -> Path:
        """Return where this machine sees a file of the other one; it is no place to write to."""
        return Path(f"/proc/{self._holder.pid}/root") / str(self._disk / "root").lstrip("/") / str(inside).lstrip("/")

    def end(self) -> None:
        for process in [*self._started, self._holder]:
            if process.poll() is None:
                process.kill()
            process.wait(10)
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


@contextmanager
def own_machine(folder: Path) -> Iterator[Machine]:
    """Yield a machine, or skip the test where none can be made."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("only root can make a copy of this machine")
    machine = Machine(folder)
    try:
        machine.run(f"{PYTHON} - <<'END'\n{UP}\nEND")
        yield machine
    finally:
        machine.end()


def system_calls(*groups: str) -> set[str]:
    """Return the names of the system calls in systemd's groups, such as @system-service."""
    found = set()
    for group in groups:
        text = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
        for line in text.stdout.splitlines()[1:]:
            name = line.split("#")[0].strip()
            if name.startswith("@"):
                found |= system_calls(name)
            elif name:
                found.add(name)
    return found
