"""`manage.py serve` and other commands in real processes, and browsers that talk to them."""

import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx

from tests.conftest import PASSWORD
from tests.services.once import made_once

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = {"name": "Ada Lovelace", "username": "ada", "password": PASSWORD, "password_again": PASSWORD}
SECRET_KEY = "a key for tests that is long enough to be accepted"
LINK = re.compile(r"https?://\S+/(?:setup|join|password)/\S+")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a fresh machine with its state in `folder`; a developer's .env decides nothing.

    Compiled modules are kept: compiling takes a fifth of a start.
    """
    empty = ("HOST", "PORT", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "DATABASE_URL", "REDIS_URL", "ALLOWED_HOSTS")
    watching = ("LOG_FORMAT", "METRICS_TOKEN", "METRICS_PORT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    unset = dict.fromkeys(
        (*empty, *watching, "BEHIND_PROXY", "DEBUG", "CSRF_TRUSTED_ORIGINS", "PYTHONDONTWRITEBYTECODE"), ""
    )
    return os.environ | unset | {"DJANGO_SETTINGS_MODULE": "promptops.settings", "VAR_DIR": str(folder)} | more


def manage(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One management command, run to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=600,  # far above what it takes: a busy machine decides no test
        check=False,
    )


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running `manage.py serve`, its output read through a pipe as it comes."""

    command = [sys.executable, "manage.py"]
    cwd = ROOT

    def __init__(self, folder: Path, **more: str) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.output = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [*self.command, "serve"],
            cwd=self.cwd,
            env=environment(folder, PORT=str(self.port), **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Where the tests themselves run in the background, a shell has turned SIGINT off for all of them.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: str, seconds: float = 120) -> str:
        """The first new line that holds the pattern; fails when the process ends or the time is over without it."""
        until = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"No {pattern!r} within {seconds} s, only: {self.output}") from None
            if line is None:
                raise AssertionError(f"Ended without {pattern!r}: {self.output}")
            if re.search(pattern, line):
                return line

    def end(self, number: int, seconds: float = 30) -> int:
        """Send the signal; the exit code. Fails when the process has not ended in time."""
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def kill(self) -> None:
        """End it whatever happens; for what it started itself, see `end`."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._reader.join(5)


def _migrate(path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="promptops-migrated-") as folder:
        done = manage(Path(folder), "migrate", "--verbosity=0", SECRET_KEY=SECRET_KEY)
        assert done.returncode == 0, done.stderr
        shutil.copy(Path(folder) / "promptops.sqlite3", path)


def make_database(folder: Path) -> Path:
    """Make an empty database with all its tables in the folder: a copy, since making the tables takes seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    made, _ = made_once("promptops.sqlite3", _migrate)
    return Path(shutil.copy(made, folder / "promptops.sqlite3"))


@contextmanager
def serving(folder: Path, *, makes_tables: bool = False, **more: str) -> Iterator[Server]:
    """A server that is up. Its output is `.output`. It finds an empty database, unless it is to make that itself."""
    database = folder / "promptops.sqlite3"
    if not (makes_tables or database.exists() or "DATABASE_URL" in more):
        make_database(folder)
    server = Server(folder, **more)
    try:
        server.wait_for("PromptOps is up")
        yield server
    finally:
        server.kill()


class Browser:
    """A person's HTTP client: cookies, and the token that forms need."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = httpx.Client(base_url=address, timeout=30)

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def post(self, path: str, data: dict[str, Any]) -> httpx.Response:
        token = {"csrfmiddlewaretoken": self.client.cookies.get("csrftoken", "")}
        return self.client.post(path, data=data | token)

    def fill(self, path: str, data: dict[str, Any]) -> httpx.Response:
        """Open the page with the form, then send it."""
        page = self.get(path)
        assert page.status_code == 200, page.text
        return self.post(path, data)

    @asynccontextmanager
    async def page(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """The socket of a page that this person has open."""
        async with (
            aiohttp.ClientSession(cookies=dict(self.client.cookies), headers={"Origin": self.address}) as session,
            session.ws_connect(f"{self.address.replace('http', 'ws')}/ws/") as page,
        ):
            yield page

    def close(self) -> None:
        self.client.close()


def administrator(server: Server) -> Browser:
    """The first administrator, made by the printed link, signed in."""
    link = LINK.search(server.output)
    assert link, server.output
    browser = Browser(server.address)
    assert browser.fill(link[0], ACCOUNT).headers["location"] == "/"
    return browser


def signed_in(server: Server) -> Browser:
    """The administrator of `administrator`, signed in at another server on the same database."""
    browser = Browser(server.address)
    answer = browser.fill("/sign-in/", {"username": ACCOUNT["username"], "password": PASSWORD})
    assert answer.headers["location"] == "/"
    return browser


async def hint(page: aiohttp.ClientWebSocketResponse, event: str, above: int = -1, seconds: float = 20) -> int:
    """The number of the page's next hint of this event that is above the given one."""
    until = time.monotonic() + seconds
    while True:
        text = await page.receive_str(timeout=max(0.01, until - time.monotonic()))
        if text.startswith("{") and (found := json.loads(text))["event"] == event and found["number"] > above:
            return found["number"]
