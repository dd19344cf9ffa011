"""The PostgreSQL server that tests use."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.conftest import missing
from tests.services.server import free_port

SERVER = os.environ.get("TEST_POSTGRES_URL") or "postgresql://postgres@127.0.0.1:5432"


def connect() -> psycopg.Connection:
    """A connection to it; without one the test is skipped, or fails where all services are required."""
    try:
        return psycopg.connect(f"{SERVER}/postgres", connect_timeout=3, autocommit=True)
    except psycopg.OperationalError as error:
        missing(f"no PostgreSQL answers (set TEST_POSTGRES_URL): {str(error).splitlines()[0]}")
        raise  # missing() raises


class OwnPostgreSQL:
    """A PostgreSQL server of one test, which may stop and start it. Only its superuser `postgres` can connect."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs, self._folder, self.port = programs, folder, port
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def _call(self, program: str, *arguments: str) -> None:
        # PostgreSQL refuses to run as root.
        switch = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*switch, str(self._programs / program), *arguments]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def make(self) -> None:
        self._call("initdb", "-D", str(self._folder / "data"), "-U", "postgres", "-A", "trust", "-N")

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self._call("pg_ctl", "-D", str(self._folder / "data"), "-l", log, "-o", options, "-w", "start")

    def stop(self) -> None:
        self._call("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def signal(self, number: int) -> None:
        """Send a signal to the server and all processes that it has started."""
        main = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(main)], capture_output=True, text=True, check=False)
        for pid in [main, *map(int, listed.stdout.split())]:
            os.kill(pid, number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server takes connections, as its system does for it, and answers nothing."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def is_running(self) -> bool:
        return (self._folder / "data" / "postmaster.pid").exists()


def _programs() -> Path:
    """Where initdb and pg_ctl are; the test is skipped without them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path))
    if not found:
        missing("PostgreSQL's initdb is not installed")
    return found[-1].parent


@contextmanager
def own_postgresql() -> Iterator[OwnPostgreSQL]:
    """A running server on a free port in a temporary folder, ended and removed afterwards."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="promptops-postgresql-"))  # not in a folder that only root may enter
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    server = OwnPostgreSQL(programs, folder, free_port())
    try:
        server.make()
        server.start()
        yield server
    finally:
        if server.is_running():
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
