"""A PostgreSQL server of a test's own, which the test may stop, freeze or break."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.conftest import missing
from tests.services.server import free_port


class PostgreSQL:
    """A running server with one database; `url` is what DATABASE_URL takes."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def signal(self, number: int) -> None:
        """Send a signal to the server and all processes that it has started."""
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        for pid in [self.process.pid, *map(int, listed.stdout.split())]:
            os.kill(pid, number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server takes connections, as its system does for it, and answers nothing."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)


def _program(name: str) -> str:
    newest = max(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), default=None)
    program = str(newest) if newest else shutil.which(name)
    if program is None:
        missing(f"the program {name} of PostgreSQL is not installed")
    return str(program)


@contextmanager
def own_postgresql() -> Iterator[PostgreSQL]:
    """A server on a free port, in a folder that is gone afterwards."""
    initdb, postgres = _program("initdb"), _program("postgres")
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="promptops-postgresql-"))
    port = free_port()
    try:
        if user:
            shutil.chown(folder, user)
        options = ["-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(
            [initdb, "-D", folder / "data", *options], user=user, cwd=folder, check=True, capture_output=True
        )
        options = ["-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-F"]
        process = subprocess.Popen([postgres, *options], user=user, cwd=folder, stderr=subprocess.DEVNULL)
        server = PostgreSQL(process, port)
        try:
            _wait_for(server)
            yield server
        finally:
            server.signal(signal.SIGCONT)
            process.send_signal(signal.SIGQUIT)  # at once
            process.wait(10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(server: PostgreSQL) -> None:
    for _ in range(100):
        try:
            psycopg.connect(server.url, connect_timeout=1).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise AssertionError("The test's own PostgreSQL did not start")
