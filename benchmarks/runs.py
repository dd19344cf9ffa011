"""Runs over the sockets of 64 open editors at once, against an instant provider, while a reader asks for pages.

The server is `manage.py serve` in a process of its own, on an empty database; the provider and the 64 editors have
processes of their own, too. The safety filter is enforced. Each editor starts its next run when the last one has ended.
All processes share the machine, so the processor time of each is reported, in milliseconds for each run.
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
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

PEOPLE, PAGES_EACH = 8, 8
WARM_SECONDS, SECONDS = 4.0, 20.0
PAUSE_SECONDS = 0.05
"""Between two pages of the reader, so that it is a reader and not a flood."""

ROOT = Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")


def bench_runs() -> list[dict[str, Any]]:
    """Return one row: runs a second, processor time, runs that have ended and that are recorded, and times of pages."""
    # A developer's .env decides nothing, nor does the folder of other parts.
    empty = dict.fromkeys(("SECRET_KEY", "ALLOWED_HOSTS", "BEHIND_PROXY", "DEBUG", "REDIS_URL"), "")
    with tempfile.TemporaryDirectory(prefix="promptops-runs-") as folder:
        port = _free_port()
        env = (
            os.environ | empty | {"VAR_DIR": folder, "PORT": str(port), "DJANGO_SETTINGS_MODULE": "promptops.settings"}
        )
        upstream = _started(["-m", "benchmarks.upstream"], env)
        started = [upstream]
        try:
            assert upstream.stdout
            prepared = _started(["-m", "benchmarks.runs", "prepare", upstream.stdout.readline().strip()], env)
            sessions, _ = prepared.communicate()
            assert prepared.returncode == 0
            started.append(server := _started(["manage.py", "serve"], env))
            assert server.stdout
            while "PromptOps is up" not in (line := server.stdout.readline()):
                assert line, "the server ended"
            started.append(editors := _started(["-m", "benchmarks.runs", "edit", str(port)], env))
            return [_measured(env, json.loads(sessions), server, upstream, editors)]
        finally:
            for process in started:
                process.terminate()
                process.wait()


def _started(arguments: list[str], env: dict[str, str]) -> "subprocess.Popen[str]":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=env, text=True, **pipes)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _measured(env: dict[str, str], sessions: list[str], *processes: "subprocess.Popen[str]") -> dict[str, Any]:
    """Start the editors, the last of the processes, and read pages meanwhile."""
    editors = processes[-1]
    assert editors.stdin
    assert editors.stdout
    client = HTTPConnection("127.0.0.1", int(env["PORT"]), timeout=60)
    paths = ["/", "/runs/", "/prompts/enhance/"]
    for path in paths * 3:  # compiles their templates
        _get(client, path, sessions[0])
    print(json.dumps(sessions), file=editors.stdin, flush=True)
    assert editors.stdout.readline() == "warm\n"
    paths[2] = f"/runs/{_counted('newest', env)}/"
    began, used, own = time.perf_counter(), list(map(_cpu_seconds, processes)), time.process_time()
    taken = []
    while time.perf_counter() - began < SECONDS:
        taken.append(_get(client, paths[len(taken) % len(paths)], sessions[0]))
        time.sleep(PAUSE_SECONDS)
    used = [_cpu_seconds(process) - before for process, before in zip(processes, used, strict=True)]
    own = time.process_time() - own
    shown = json.loads(editors.communicate("stop\n")[0])
    runs = shown.pop("runs")
    cuts = statistics.quantiles(taken, n=20, method="inclusive")
    names = ("server", "provider", "editors", "reader")
    cpu = {f"{name}_cpu_ms": round(1000 * each / runs, 2) for name, each in zip(names, [*used, own], strict=True)}
    return {
        "runs_per_s": round(runs / shown.pop("seconds"), 1),
        **cpu,
        **shown,
        "recorded": _counted("runs", env),
        "pages": len(taken),
        "page_p50_ms": round(cuts[9]),
        "page_p95_ms": round(cuts[18]),
        "page_max_ms": round(max(taken)),
    }


def _counted(what: str, env: dict[str, str]) -> int:
    command = [sys.executable, "-m", "benchmarks.runs", "count", what]
    return int(subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, check=True).stdout)


def _get(client: HTTPConnection, path: str, session: str) -> float:
    """Return the milliseconds that the page took."""
    began = time.perf_counter()
    client.request("GET", path, headers={"Cookie": f"sessionid={session}"})
    answer = client.getresponse()
    answer.read()
    assert answer.status == 200, (path, answer.status)
    return (time.perf_counter() - began) * 1000


def _cpu_seconds(process: "subprocess.Popen[str]") -> float:
    """Return the processor time of the process, in user and system mode."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def edit(port: int, sessions: list[str]) -> dict[str, Any]:
    """Keep a run in progress in each open editor until a line arrives; return what was shown after the warm-up."""
    import aiohttp

    from promptops.engine.operations import OPERATIONS

    wanted = {"action": "run", "template": "enhance", "what": "editor", "where": "chain"}
    editor = {"body": OPERATIONS["enhance"].default_text, "temperature": "", "max_tokens": "", "model": "", "base": ""}
    address = f"http://127.0.0.1:{port}"
    taken: list[float] = []
    failed: list[str] = []
    ended = asyncio.Event()
    total = 0

    async def page(session: str, number: int) -> None:
        nonlocal total
        headers = {"Cookie": f"sessionid={session}", "Origin": address}
        async with aiohttp.ClientSession(headers=headers) as browser, browser.ws_connect(f"{address}/ws/") as open_page:
            await open_page.send_str(json.dumps({"action": "here", "template": "enhance", "shown": {}}))
            while not ended.is_set():
                total += 1
                text = f"a fox in the snow, number {number}.{total}, slowly from the left"
                began = time.perf_counter()
                await open_page.send_str(json.dumps(wanted | editor | {"input": text}))
                while not _is_end(answer := await open_page.receive_str(timeout=60)):
                    pass
                taken.append((time.perf_counter() - began) * 1000)
                if "A red fox." not in answer:
                    failed.append(answer)

    pages = [asyncio.create_task(page(key, n)) for n, key in enumerate(sessions * PAGES_EACH)]
    await asyncio.sleep(WARM_SECONDS)
    before, began = len(taken), time.perf_counter()
    print("warm", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    seconds, measured = time.perf_counter() - began, taken[before:]
    ended.set()
    await asyncio.gather(*pages)
    assert not failed, failed[0]
    cuts = statistics.quantiles(measured, n=20, method="inclusive")
    times = {"run_p50_ms": round(cuts[9]), "run_p95_ms": round(cuts[18])}
    return {"runs": len(measured), "seconds": seconds, **times, "finished": len(taken)}


def _is_end(message: str) -> bool:
    """Return whether this message of a page shows the end of a run, or its refusal."""
    return "_toast" in message or ("<article" in message and "data-running" not in message)


def prepare(upstream_port: str) -> list[str]:
    """Fill the database; return the session of each person."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django.test import Client

    from promptops.engine.operations import OPERATIONS
    from promptops.ledger.audit import Actor
    from promptops.people.models import User
    from promptops.prompts.actions.releases import Content, publish
    from promptops.prompts.actions.templates import create_template
    from promptops.providers.actions.chain import ProviderFields, create_provider
    from promptops.runs.enums import SafetyMode
    from promptops.safety.actions.filter_settings import change_safety
    from promptops.safety.earlier import SafetyChange
    from promptops.safety.models import SafetySettings

    sessions = []
    for number in range(PEOPLE):
        person = User.objects.create(username=f"person{number}", name=f"Person {number}", role="administrator")
        client = Client()
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        sessions.append(client.cookies["sessionid"].value)
    by = Actor.person(person)
    publish(
        create_template("enhance", "enhance", by=by), Content(OPERATIONS["enhance"].default_text), by=by, expected=None
    )
    url = f"http://127.0.0.1:{upstream_port}/0/v1"
    create_provider(ProviderFields("instant", "openai", "m", url), by=by)
    expected = SafetySettings.objects.get(pk=1).changed_revision
    change_safety(SafetyChange(mode=SafetyMode.ENFORCE), by=by, expected=expected)
    return sessions


def count(what: str) -> int:
    """Return the number of recorded runs, or the id of the newest one."""
    import django

    django.setup()
    from promptops.runs.models import Run

    return Run.objects.latest("id").pk if what == "newest" else Run.objects.count()


if __name__ == "__main__":
    match sys.argv[1]:
        case "prepare":
            print(json.dumps(prepare(sys.argv[2])))
        case "edit":
            print(json.dumps(asyncio.run(edit(int(sys.argv[2]), json.loads(sys.stdin.readline())))))
        case "count":
            print(count(sys.argv[2]))
