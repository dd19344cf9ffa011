"""A release on its way to many servers: raw sockets of one client process at a real server.

Each client gets the live document with the hint, reads it as JSON and acknowledges it. Times run from the call of
publish until PromptOps has the acknowledgement, both by its own clock. All clients share one process and its processor.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp

RELEASES = {200: 40, 1_000: 8}
"""Releases that are measured, by the number of servers."""
RELEASES_OF_TWO = {200: 100}
"""The same for two processes with Redis and PostgreSQL."""
REDIS_URL = "redis://127.0.0.1:6379/0"
KEY = "a key for benchmarks that is long enough"
ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = 50
"""Servers that connect at the same time."""
SETTLE_SECONDS = 3.0
LOST_SECONDS = 30.0

Process: TypeAlias = "subprocess.Popen[str]"


def bench_fleet() -> list[dict[str, Any]]:
    """Return the times from publish until all servers have acknowledged, and the memory of a socket.

    On PostgreSQL there are two processes with Redis. Half of the servers connect to each, and the first one publishes.
    """
    if not os.environ.get("DATABASE_URL", "").startswith("postgresql"):
        return [_bench(1, *plan) for plan in RELEASES.items()]
    return [_bench(2, *plan) for plan in RELEASES_OF_TWO.items()]


def _bench(count: int, servers: int, releases: int) -> dict[str, Any]:
    started: list[Process] = []
    ports = [_free_port() for _ in range(count)]
    try:
        started.append(_start(ports[0], "-m", "benchmarks.fleet", str(servers), together=count))
        assert started[0].stdout is not None
        token = next(line.split()[1] for line in started[0].stdout if line.startswith("token "))
        started += [_start(port, "manage.py", "serve", together=count) for port in ports[1:]]
        return asyncio.run(_measure(started, ports, token, servers, releases))
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(port: int, *arguments: str, together: int) -> Process:
    env = os.environ | {
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "SECRET_KEY": KEY,
        "ALLOWED_HOSTS": "",
        "API_REQUESTS_PER_MINUTE": "1000000",
        "REDIS_URL": (os.environ.get("BENCH_REDIS_URL") or REDIS_URL) if together > 1 else "",
    }
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


async def _measure(
    processes: list[Process], ports: list[int], token: str, servers: int, releases: int
) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    publisher = processes[0]
    async with contextlib.AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(
                aiohttp.ClientSession(
                    f"http://127.0.0.1:{port}", headers=headers, connector=aiohttp.TCPConnector(limit=0)
                )
            )
            for port in ports
        ]
        for session in sessions:
            await _until_up(session)
        document = await _fetch(sessions[0])
        await asyncio.sleep(SETTLE_SECONDS)
        before, connected = _memory(processes), asyncio.Semaphore(AT_ONCE)
        tasks = [
            asyncio.create_task(_serve(sessions[number % len(sessions)], f"gpu-{number}", document, connected))
            for number in range(servers)
        ]
        started = [await asyncio.wait_for(task, 120) for task in tasks]
        await asyncio.sleep(SETTLE_SECONDS)
        kib = (_memory(processes) - before) / servers
        each, lasts, worked = [], [], _processor_seconds(processes)
        for _ in range(releases):
            publisher.send_signal(signal.SIGUSR1)
            assert publisher.stdout is not None
            times = [float(word) * 1000 for word in (await asyncio.to_thread(publisher.stdout.readline)).split()[1:]]
            assert len(times) == servers, "some servers have not acknowledged the release"
            each += times
            lasts.append(max(times))
            await asyncio.sleep(0.5)
        worked = _processor_seconds(processes) - worked
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)
    lasts.sort()
    return {
        "what": f"{servers} servers, {len(processes)} process{'es' if len(processes) > 1 else ''}",
        "releases": releases,
        "each_p50_ms": round(statistics.median(each), 1),
        "all_p50_ms": round(statistics.median(lasts), 1),
        "all_p99_ms": round(lasts[min(len(lasts) - 1, int(0.99 * len(lasts)))], 1),
        "cpu_ms_a_release": round(worked * 1000 / releases, 1),
        "KiB_a_socket": round(kib, 1),
    }


async def _serve(
    session: aiohttp.ClientSession,
    name: str,
    document: dict[str, Any],
    connecting: asyncio.Semaphore,
) -> "asyncio.Task[None]":
    """Connect and register. Return the task that follows."""
    async with connecting:
        socket = await session.ws_connect("/ws/v1/fleet", compress=0)
        facts = {
            "server": name,
            "instance": name,
            "kind": "library",
            "state": "ready",
            "filtered": True,
            "documents": True,
        }
        await socket.send_json({"type": "register", **facts, **document})
        assert (await socket.receive_json())["type"] == "registered"
    return asyncio.create_task(_follow(session, socket, document["revision"]))


async def _follow(
    session: aiohttp.ClientSession,
    socket: aiohttp.ClientWebSocketResponse,
    revision: int,
) -> None:
    runs: dict[str, Any] = {"revision": revision}

    async def beat() -> None:
        while True:
            await asyncio.sleep(10)
            if "sha256" in runs:
                await socket.send_json({"type": "heartbeat", "state": "ready", **runs})

    beating = asyncio.create_task(beat())
    try:
        async for message in socket:
            hint = json.loads(message.data)
            if hint["type"] == "revision" and hint["revision"] > runs["revision"]:
                # The answer to a heartbeat has no document, and may come just before the hint.
                runs = _content(hint["document"]) if "document" in hint else await _fetch(session)
                await socket.send_json({"type": "applied", **runs})
    finally:
        beating.cancel()


async def _fetch(session: aiohttp.ClientSession) -> dict[str, Any]:
    async with session.get("/api/v1/live") as answer:
        return _content(await answer.json())


def _content(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("revision", "epoch", "sha256")}


async def _until_up(session: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                async with session.get("/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


def _memory(processes: list[Process]) -> float:
    """Return the memory of all processes in KiB."""
    pages = sum(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) for process in processes)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def _processor_seconds(processes: list[Process]) -> float:
    """Return the time that the processes have used on processors: it says more than waiting does on a busy machine."""
    fields = [Path(f"/proc/{each.pid}/stat").read_text().rpartition(")")[2].split()[11:13] for each in processes]
    return sum(int(user) + int(system) for user, system in fields) / os.sysconf("SC_CLK_TCK")


def serve(servers: int) -> None:
    """Serve, print a token, and publish at each SIGUSR1. Print the seconds until each server has acknowledged."""
    import threading

    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django.utils import timezone

    from promptops.fleet.models import Acknowledgement
    from promptops.ledger.audit import COMMAND_LINE, Actor
    from promptops.live import snapshots as live
    from promptops.people.actions.tokens import make_token
    from promptops.people.models import User
    from promptops.prompts.actions.releases import Content, publish
    from promptops.prompts.actions.templates import create_template
    from promptops.prompts.models import Template

    user, _ = User.objects.get_or_create(username="bench", defaults={"name": "Bench", "role": "administrator"})
    by = Actor.person(user)
    name = f"bench-{time.time():.0f}"
    print("token", make_token(name, ["follow", "read"], by=by)[1], flush=True)
    if not Template.objects.filter(name="enhance").exists():
        publish(create_template("enhance", "enhance", by=by), Content("word " * 2000), by=COMMAND_LINE, expected=None)

    wanted = threading.Semaphore(0)

    def publish_when_wanted() -> None:
        while wanted.acquire():
            template, began = Template.objects.get(name="enhance"), timezone.now()
            publish(template, Content(f"{'word ' * 2000}{began}"), by=by, expected=template.live_version_id)
            rows = Acknowledgement.objects.filter(revision=live.current().revision, kind="library")
            until = time.monotonic() + LOST_SECONDS
            while rows.count() < servers and time.monotonic() < until:
                time.sleep(0.1)
            times = [(at - began).total_seconds() for at in rows.values_list("at", flat=True)]
            print("acknowledged", *times, flush=True)

    threading.Thread(target=publish_when_wanted, daemon=True).start()
    signal.signal(signal.SIGUSR1, lambda *_: wanted.release())
    call_command("serve", stdout=sys.stderr)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
