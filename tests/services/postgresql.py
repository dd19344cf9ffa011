"""The PostgreSQL server that tests use."""

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from tests.conftest import missing
from tests.services.once import made_once
from tests.services.server import SECRET_KEY, free_port, manage

SERVER = os.environ.get("TEST_POSTGRES_URL") or "postgresql://postgres@127.0.0.1:5432"


def connect() -> psycopg.Connection:
    """A connection to it; without one the test is skipped, or fails where all services are required."""
    try:
        return psycopg.connect(f"{SERVER}/postgres", connect_timeout=3, autocommit=True)
    except psycopg.OperationalError as error:
        missing(f"no PostgreSQL answers (set TEST_POSTGRES_URL): {str(error).splitlines()[0]}")
        raise  # missing() raises


@contextmanager
def own_database(*, has_tables: bool = False, prefix: str = "") -> Iterator[str]:
    """Yield the address of a database of the server, empty or with all its tables. It is dropped afterwards."""
    name = f"{prefix}promptops_{uuid.uuid4().hex[:12]}"
    with connect() as server:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(_template() if has_tables else "template1")
        )
        server.execute(statement)
        try:
            yield f"{SERVER}/{name}"
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def make_tables(url: str) -> None:
    """Give an empty database all its tables. The first call of a test run migrates it; the others read its dump."""

    def migrate(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            done = manage(Path(folder), "migrate", "--verbosity=0", DATABASE_URL=url, SECRET_KEY=SECRET_KEY)
        assert done.returncode == 0, done.stderr
        _dump("pg_dump", "--format=custom", "--no-owner", f"--file={path}", url)

    path, is_new = made_once("promptops.dump", migrate)
    if not is_new:
        _dump("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={url}", str(path))


def _dump(*command: str) -> None:
    if not shutil.which(command[0]):
        missing(f"PostgreSQL's {command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@cache
def _template() -> str:
    """Return the name of a database with all its tables, which is made once for this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    url = stack.enter_context(own_database())
    make_tables(url)
    return url.rpartition("/")[2]


class OwnPostgreSQL:
    """A PostgreSQL server of one test, which may stop and start it. Only its superuser `postgres` can connect."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs, self._folder, self.port = programs, folder, port
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def _call(self, program: str | Path, *arguments: str) -> None:
        # PostgreSQL refuses to run as root.
        switch = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*switch, str(program), *arguments]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def make(self) -> None:
        data = str(self._folder / "data")
        self._call(self._programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N")

    def copy(self, other: "OwnPostgreSQL") -> None:
        """Begin with all that the other server holds, which must have stopped."""
        self._call("cp", "-a", "--reflink=auto", str(other._folder / "data"), str(self._folder / "data"))

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self._folder} -c fsync=off"
        log = str(self._folder / "log")
        data = str(self._folder / "data")
        self._call(self._programs / "pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")

    def stop(self, mode: str = "immediate") -> None:
        self._call(self._programs / "pg_ctl", "-D", str(self._folder / "data"), "-m", mode, "-w", "stop")

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

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

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


def _new(programs: Path) -> OwnPostgreSQL:
    """Return a server without data, on a free port, in a temporary folder that goes when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="promptops-postgresql-"))  # not in a folder that only root may enter
    atexit.register(shutil.rmtree, folder, True)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    return OwnPostgreSQL(programs, folder, free_port())


@cache
def _migrated(programs: Path) -> OwnPostgreSQL:
    """Return a stopped server whose database has all its tables; made once for this process."""
    server = _new(programs)
    server.make()
    server.start()
    try:
        make_tables(server.url)
    finally:
        server.stop("fast")  # not "immediate": each copy would begin with a recovery
    return server


@contextmanager
def own_postgresql(*, has_tables: bool = True) -> Iterator[OwnPostgreSQL]:
    """A running server on a free port in a temporary folder, ended and removed afterwards."""
    programs = _programs()
    server = _new(programs)
    try:
        if has_tables:
            server.copy(_migrated(programs))
        else:
            server.make()
        server.start()
        yield server
    finally:
        if server.is_running():
            server.stop()
        server.remove()
