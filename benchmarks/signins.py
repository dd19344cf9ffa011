"""Pages while 200 people sign in at once: how long pages take without and beside them, and how the sign-ins end.

The server is `manage.py serve` in a process of its own, on an empty SQLite database; the crowd is another process. The
crowd comes from one address. Each person has an account and types the right password.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

PEOPLE = 200
PAGES = 30
PATHS = ["/", "/prompts/", "/runs/"]
PAUSE_SECONDS = 0.05
"""Between two pages of the reader, so that it is a reader and not a flood."""

PASSWORD = "a long secret of the crowd"
TOKEN = "c" * 32
ROOT = Path(__file__).resolve().parents[1]
ENDINGS = {"302": "signed in", "503": "asked to come again"}


def bench_signins() -> list[dict[str, Any]]:
    """Return the milliseconds of pages without and beside the sign-ins, and those of the sign-ins by their ending."""
    with tempfile.TemporaryDirectory(prefix="promptops-signins-") as folder:
        port = _free_port()
        # A developer's .env decides nothing, nor does a database that was named for another part.
        empty = dict.fromkeys(("SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS", "BEHIND_PROXY", "DEBUG", "REDIS_URL"), "")
        env = os.environ | empty | {"VAR_DIR": folder, "PORT": str(port)}
        env["DJANGO_SETTINGS_MODULE"] = "promptops.settings"
        prepared = _started(["-m", "benchmarks.signins", "prepare"], env)
        session, _ = prepared.communicate()
        assert prepared.returncode == 0
        server = _started(["manage.py", "serve"], env)
        crowd = _started(["-m", "benchmarks.signins", "crowd", str(port)], env)
        try:
            assert server.stdout
            while "PromptOps is up" not in (line := server.stdout.readline()):
                assert line, "the server ended"
            return asyncio.run(_measured(f"http://127.0.0.1:{port}", session.strip(), crowd))
        finally:
            for process in (server, crowd):
                process.terminate()
                process.wait()


def _started(arguments: list[str], env: dict[str, str]) -> "subprocess.Popen[str]":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=env, text=True, **pipes)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _measured(address: str, session: str, crowd: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    import httpx

    async with httpx.AsyncClient(base_url=address, cookies={"sessionid": session}, timeout=60) as client:
        for path in PATHS * 5:  # compiles their templates
            (await client.get(path)).raise_for_status()
        quiet = await _read(client)
        assert crowd.stdin
        print("go", file=crowd.stdin, flush=True)
        ended = asyncio.create_task(asyncio.to_thread(crowd.communicate))
        beside = await _read(client, until=ended)
        endings = json.loads((await ended)[0])
    rows = [_row("pages, quiet", quiet), _row("pages beside the sign-ins", beside)]
    return rows + [_row(f"sign-ins: {ENDINGS.get(code, code)}", taken) for code, taken in sorted(endings.items())]


async def _read(client: Any, until: "asyncio.Task[Any] | None" = None) -> list[float]:
    """Return the milliseconds of pages that are asked for one after the other: 30, or more until the task is done."""
    taken: list[float] = []
    while len(taken) < PAGES or not (until is None or until.done()):
        began = time.perf_counter()
        (await client.get(PATHS[len(taken) % len(PATHS)])).raise_for_status()
        taken.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(PAUSE_SECONDS)
    return taken


def _row(what: str, taken: list[float]) -> dict[str, Any]:
    return {
        "what": what,
        "count": len(taken),
        "p50_ms": round(statistics.median(taken)),
        "max_ms": round(max(taken)),
    }


def prepare() -> str:
    """Fill the database with the people who will sign in and a reader; return the key of the reader's session."""
    import django

    django.setup()
    from django.contrib.auth.hashers import make_password
    from django.core.management import call_command
    from django.test import Client

    from promptops.people.models import User

    call_command("migrate", verbosity=0)
    password = make_password(PASSWORD)  # one for all: each would take a quarter of a second
    User.objects.bulk_create(
        User(username=f"person{number}", name=f"Person {number}", password=password) for number in range(PEOPLE)
    )
    client = Client()
    reader = User.objects.create(username="reader", name="Reader", role="administrator")
    client.force_login(reader, backend="django.contrib.auth.backends.ModelBackend")
    return client.cookies["sessionid"].value


async def crowd(port: int) -> dict[str, list[float]]:
    """Sign all people in at once, and return the milliseconds that it took by the status of the answer."""

    async def sign_in(number: int) -> tuple[str, float]:
        form = {"username": f"person{number}", "password": PASSWORD, "csrfmiddlewaretoken": TOKEN}
        body = urlencode(form)
        request = (
            f"POST /sign-in/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nCookie: csrftoken={TOKEN}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request.encode())
        answer = await reader.read()
        writer.close()
        return answer.split()[1].decode(), (time.perf_counter() - began) * 1000

    endings: dict[str, list[float]] = {}
    for status, taken in await asyncio.gather(*map(sign_in, range(PEOPLE))):
        endings.setdefault(status, []).append(taken)
    return endings


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        print(prepare())
    else:
        sys.stdin.readline()
        print(json.dumps(asyncio.run(crowd(int(sys.argv[2])))))
