"""Measure what an idle server costs: the time of its start, its statements a second, the memory of an open page.

Each server is `manage.py serve` in a process of its own, on a database with data.
"""

import asyncio
import http.client
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

TEMPLATES, VERSIONS, RUNS = 200, 50, 20_000
STARTS = 5
SOCKETS = 500
WARM = 200
"""Pages that are open before the others are counted, as the first ones load code and use memory that lies idle."""
KEY = "a key for benchmarks that is long enough"
SETTLE_SECONDS = 5.0
IDLE_SECONDS = 20.0
ROOT = Path(__file__).resolve().parents[1]


def bench_start() -> list[dict[str, Any]]:
    """Return how long a start takes until the overview is answered, and the processor time that it takes."""
    with _database() as (env, session):
        times, seconds = [], []
        for _ in range(STARTS):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(_start_until_page(env, session))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return [
        {
            "what": f"start until the overview is answered, {_name_of(env)}",
            "p50_s": round(statistics.median(times), 2),
            "max_s": round(max(times), 2),
            "processor_s": round(statistics.median(seconds), 2),
        }
    ]


def bench_idle() -> list[dict[str, Any]]:
    """Return the statements a second of an idle server, and the memory of each open page."""
    with _database() as (env, session):
        server = _popen(["-m", "benchmarks.resting", "serve"], env)
        try:
            port = int(env["PORT"])
            _await_page(port, session)
            time.sleep(SETTLE_SECONDS)
            rows = [_row(server, "no page is open")]
            holding = [_hold(env, session, WARM)]
            try:
                time.sleep(SETTLE_SECONDS)
                memory = _rss(server.pid)
                holding.append(_hold(env, session, SOCKETS))
                time.sleep(2 * SETTLE_SECONDS)
                grown = _rss(server.pid) - memory  # before the server is asked, as it reads its trace for the answer
                rows.append(
                    _row(server, f"{WARM + SOCKETS} pages are open") | {"KiB_a_page": round(grown / SOCKETS, 1)}
                )
            finally:
                for clients in holding:
                    clients.kill()
                    clients.wait()
        finally:
            server.terminate()
            server.wait()
    return [{"what": f"idle, {_name_of(env)}, {row.pop('what')}", **row} for row in rows]


def _row(server: "subprocess.Popen[str]", what: str) -> dict[str, Any]:
    before = _ask(server)
    time.sleep(IDLE_SECONDS)
    sent = _ask(server) - before
    return {"what": what, "statements_a_second": round(sent / IDLE_SECONDS, 2), "KiB_a_page": "-"}


@contextmanager
def _database() -> Iterator[tuple[dict[str, str], str]]:
    """Yield the environment of a server with a database that has data, and the session of a person."""
    with tempfile.TemporaryDirectory(prefix="promptops-resting-") as folder:
        empty = dict.fromkeys(("ALLOWED_HOSTS", "BEHIND_PROXY", "DEBUG", "REDIS_URL", "HOST"), "")
        limits = {"SOCKETS_PER_PERSON": str(2 * SOCKETS), "CONNECTIONS_PER_ADDRESS": str(4 * SOCKETS)}
        env = os.environ | empty | limits | {"VAR_DIR": folder, "PORT": str(_free_port()), "SECRET_KEY": KEY}
        env["DJANGO_SETTINGS_MODULE"] = "promptops.settings"
        command = [sys.executable, "-m", "benchmarks.resting", "prepare"]
        prepared = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
        yield env, prepared.stdout.strip()


def prepare() -> None:
    """Fill the database, and print the key of a session."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.test import Client
    from django.utils import timezone

    from promptops.people.models import User
    from promptops.prompts.models import Template, Version
    from promptops.runs.models import Run

    settings.ALLOWED_HOSTS.append("testserver")
    call_command("migrate", verbosity=0)
    user = User.objects.filter(username="bench").first()
    if user is None:
        user = User.objects.create(username="bench", name="Bench", role="administrator")
        templates = Template.objects.bulk_create(
            Template(name=f"style-{number:03}", operation=("enhance", "auto_extend", "rewrite")[number % 3])
            for number in range(TEMPLATES)
        )
        Version.objects.bulk_create(
            Version(
                template=template, number=number, body=f"Text {number}. " * 40, author_name="Bench", sha256="0" * 64
            )
            for number in range(1, VERSIONS + 1)
            for template in templates
        )
        Run.objects.bulk_create(
            Run(
                source="preview",
                operation="enhance",
                temperature=0.7,
                max_tokens=256,
                revision=1,
                input="a fox",
                output="A fox runs.",
                status="succeeded",
                latency_ms=400.0,
                at=timezone.now() - timedelta(seconds=number),
            )
            for number in range(RUNS)
        )
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    print(client.cookies["sessionid"].value)


def serve() -> None:
    """Run `manage.py serve`, and print the number of statements so far for each line on standard input."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db.backends.signals import connection_created

    on_sqlite: list[None] = []
    trace = tempfile.TemporaryFile("w+b")  # noqa: SIM115 -- as long as the process

    def watch(connection: Any, **kwargs: Any) -> None:
        if connection.vendor == "sqlite":
            connection.connection.set_trace_callback(lambda statement: on_sqlite.append(None))
        else:
            connection.connection.pgconn.trace(trace.fileno())

    def answer() -> None:
        for _ in sys.stdin:
            content = os.pread(trace.fileno(), os.fstat(trace.fileno()).st_size, 0)
            # A line is one message: time, sender (F: this side), length, name, values.
            sent = len(re.findall(rb"^[^\t]*\tF\t\d+\t(?:Query|Execute)", content, re.M))
            print("statements", len(on_sqlite) + sent, flush=True)

    connection_created.connect(watch, weak=False)
    threading.Thread(target=answer, daemon=True).start()
    call_command("serve")


async def hold(port: int, session: str, count: int) -> None:
    """Open sockets as pages of the overview do, and keep them."""
    import aiohttp

    address = f"http://127.0.0.1:{port}"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(address, connector=connector, cookies={"sessionid": session}) as client:
        async with client.get("/") as page:
            html = await page.text()
        shown = dict(re.findall(r'data-fragment="([\w-]+)"\s+data-version="([\d-]+)"', html))
        opening = asyncio.Semaphore(10)

        async def read(opened: asyncio.Semaphore) -> None:
            async with opening:
                page = await client.ws_connect("/ws/", headers={"Origin": address})
                await page.send_json({"action": "here", "shown": shown})
                await page.receive_str(timeout=60)
            opened.release()
            async for _ in page:
                pass
            sys.exit("A socket was closed.")

        opened = asyncio.Semaphore(0)
        reading = [asyncio.create_task(read(opened)) for _ in range(count)]
        for _ in reading:
            await opened.acquire()
        print("open", flush=True)
        await asyncio.gather(*reading)


def _hold(env: dict[str, str], session: str, count: int) -> "subprocess.Popen[str]":
    clients = _popen(["-m", "benchmarks.resting", "hold", env["PORT"], session, str(count)], env)
    assert clients.stdout
    assert clients.stdout.readline() == "open\n"
    return clients


def _start_until_page(env: dict[str, str], session: str) -> float:
    began = time.perf_counter()
    server = _popen(["manage.py", "serve"], env)
    try:
        _await_page(int(env["PORT"]), session)
        return time.perf_counter() - began
    finally:
        server.terminate()
        server.communicate()


def _await_page(port: int, session: str) -> None:
    """Ask for the overview until the server answers it."""
    until = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/", headers={"Cookie": f"sessionid={session}"})
            answer = connection.getresponse()
            answer.read()
        except ConnectionRefusedError:
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.005)
        else:
            assert answer.status == 200, answer.status
            return
        finally:
            connection.close()


def _ask(server: "subprocess.Popen[str]") -> int:
    assert server.stdin
    assert server.stdout
    server.stdin.write("\n")
    server.stdin.flush()
    while not (line := server.stdout.readline()).startswith("statements "):
        assert line, "the server ended"
    return int(line.split()[1])


def _rss(pid: int) -> int:
    """Return the memory of a process in KiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]


def _popen(arguments: list[str], env: dict[str, str]) -> "subprocess.Popen[str]":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=env, text=True, **pipes)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _name_of(env: dict[str, str]) -> str:
    return "PostgreSQL" if env.get("DATABASE_URL", "").startswith("postgresql") else "SQLite"


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        asyncio.run(hold(int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
    else:
        {"prepare": prepare, "serve": serve}[sys.argv[1]]()
