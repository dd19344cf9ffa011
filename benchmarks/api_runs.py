"""Runs over HTTP from 64 machines at once, against an instant provider, while a reader asks for pages.

The server is `manage.py serve` in a process of its own, on an empty database; the provider and the machines have
processes of their own, too. The safety filter is enforced. First one machine runs alone, so that one row says what a
run takes beside the chain's own time. Then each of 64 connections starts its next run when the last one has ended: at
once in the first row, and at a steady pace of 220 runs a second for all of them in the second row.
"""

import asyncio
import json
import math
import os
import statistics
import sys
import tempfile
import time
from http.client import HTTPConnection
from typing import Any

from benchmarks import runs
from benchmarks.runs import _counted, _cpu_seconds, _free_port, _get, _started

AT_ONCE = 64
FLAT_OUT, STEADY = 0, 220
WARM_SECONDS, SECONDS = 4.0, 20.0
ALONE = 300
PAUSE_SECONDS = 0.05


def bench_api_runs() -> list[dict[str, Any]]:
    """Return a row for each pace: runs a second, what a run alone adds, recorded runs, and times of pages."""
    return [_row(pace) for pace in (FLAT_OUT, STEADY)]


def _row(pace: int) -> dict[str, Any]:
    empty = dict.fromkeys(("SECRET_KEY", "ALLOWED_HOSTS", "BEHIND_PROXY", "DEBUG", "REDIS_URL"), "")
    with tempfile.TemporaryDirectory(prefix="promptops-api-runs-") as folder:
        port = _free_port()
        env = (
            os.environ | empty | {"VAR_DIR": folder, "PORT": str(port), "DJANGO_SETTINGS_MODULE": "promptops.settings"}
        )
        started = [upstream := _started(["-m", "benchmarks.upstream"], env)]
        try:
            assert upstream.stdout
            prepared = _started(["-m", "benchmarks.api_runs", "prepare", upstream.stdout.readline().strip()], env)
            session, token = json.loads(prepared.communicate()[0])
            started.append(server := _started(["manage.py", "serve"], env))
            assert server.stdout
            while "PromptOps is up" not in (line := server.stdout.readline()):
                assert line, "the server ended"
            started.append(machines := _started(["-m", "benchmarks.api_runs", "run", str(port), token, str(pace)], env))
            return {"pace": pace or "flat out"} | _measured(env, session, server, upstream, machines)
        finally:
            for process in started:
                process.terminate()
                process.wait()


def _measured(env: dict[str, str], session: str, *processes: Any) -> dict[str, Any]:
    """Let the machines run, the last of the processes, and read pages meanwhile."""
    machines = processes[-1]
    client = HTTPConnection("127.0.0.1", int(env["PORT"]), timeout=60)
    paths = ["/", "/runs/", "/prompts/enhance/"]
    for path in paths * 3:  # compiles their templates
        _get(client, path, session)
    assert machines.stdout.readline() == "warm\n"
    began, used = time.perf_counter(), list(map(_cpu_seconds, processes))
    taken = []
    while time.perf_counter() - began < SECONDS:
        taken.append(_get(client, paths[len(taken) % len(paths)], session))
        time.sleep(PAUSE_SECONDS)
    used = [_cpu_seconds(process) - before for process, before in zip(processes, used, strict=True)]
    shown = json.loads(machines.communicate("stop\n")[0])
    count = shown.pop("runs")
    cuts = statistics.quantiles(taken, n=20, method="inclusive")
    names = ("server", "provider", "machines")
    return {
        "runs_per_s": round(count / shown.pop("seconds"), 1),
        **{f"{name}_cpu_ms": round(1000 * each / count, 2) for name, each in zip(names, used, strict=True)},
        **shown,
        "recorded": _recorded(env, shown["served"]),
        "pages": len(taken),
        "page_p50_ms": round(cuts[9]),
        "page_p95_ms": round(cuts[18]),
    }


def _recorded(env: dict[str, str], served: int) -> int:
    """Return the number of recorded runs. The answers do not wait for it, so it is counted until it is complete."""
    for _ in range(10):
        if (recorded := _counted("runs", env)) >= served:
            break
    return recorded


async def run(port: int, token: str, pace: int) -> dict[str, Any]:
    """Run alone, then on all connections until a line arrives; return the figures after the warm-up.

    A pace is the number of runs a second that all connections together start; without one they do not wait.
    """
    import aiohttp

    address = f"http://127.0.0.1:{port}/api/v1/run/enhance"
    headers = {"Authorization": f"Bearer {token}"}
    taken: list[float] = []
    ended = asyncio.Event()
    total = 0

    async def one(client: aiohttp.ClientSession) -> tuple[float, float]:
        """Return the milliseconds of a run, and those beside the calls of its chain."""
        nonlocal total
        total += 1
        text = f"a fox in the snow, number {total}, slowly from the left"
        began = time.perf_counter()
        async with client.post(address, json={"input": text}) as response:
            answer = await response.json()
        milliseconds = (time.perf_counter() - began) * 1000
        assert answer.get("content") == "A red fox.", answer
        return milliseconds, milliseconds - sum(attempt["latency_ms"] for attempt in answer["attempts"])

    async def machine(client: aiohttp.ClientSession, number: int) -> None:
        next_start = time.perf_counter() + number / (pace or math.inf)
        while not ended.is_set():
            if pace:
                await asyncio.sleep(max(0.0, next_start - time.perf_counter()))
                next_start += AT_ONCE / pace
            taken.append((await one(client))[0])

    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as client:
        alone = [(await one(client))[1] for _ in range(ALONE)][ALONE // 3 :]
        machines = [asyncio.create_task(machine(client, number)) for number in range(AT_ONCE)]
        await asyncio.sleep(WARM_SECONDS)
        before, began = len(taken), time.perf_counter()
        print("warm", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        seconds, measured = time.perf_counter() - began, taken[before:]
        ended.set()
        await asyncio.gather(*machines)
    cuts = statistics.quantiles(measured, n=20, method="inclusive")
    return {
        "runs": len(measured),
        "seconds": seconds,
        "run_p50_ms": round(cuts[9]),
        "run_p95_ms": round(cuts[18]),
        "alone_adds_p50_ms": round(statistics.median(alone), 1),
        "alone_adds_p95_ms": round(statistics.quantiles(alone, n=20)[18], 1),
        "served": total,
    }


def prepare(upstream_port: str) -> tuple[str, str]:
    """Fill the database; return a person's session and a token."""
    sessions = runs.prepare(upstream_port)
    from promptops.ledger.audit import SYSTEM
    from promptops.people.actions.tokens import make_token

    return sessions[0], make_token("machines", ["run"], by=SYSTEM)[1]


if __name__ == "__main__":
    match sys.argv[1]:
        case "prepare":
            print(json.dumps(prepare(sys.argv[2])))
        case "run":
            print(json.dumps(asyncio.run(run(int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))))
