"""Pages while a comparison of 4 arms on 500 inputs runs against a fast provider, as a browser would ask for them.

The server is `manage.py serve` in a process of its own, on a database of its own; so is the provider, which takes
`UPSTREAM_MS` for an answer. One reader goes through the pages; another has the comparison open, whose page is fetched
anew with every hint over its socket. The same pages are measured before it starts.
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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

INPUTS, ARMS = 500, 4
UPSTREAM_MS = 20
IDLE_SECONDS = 8.0
PAUSE_SECONDS = 0.05
"""Between two pages of the reader, so that it is a reader and not a flood."""

LIMIT_MS = 200.0
"""What pages have to stay below while trials run."""

MOST_SECONDS = 600.0
ROOT = Path(__file__).resolve().parents[1]


def bench_comparing() -> list[dict[str, Any]]:
    """One row for each page, idle and busy, one for all of them together, and one for the trials."""
    # A developer's .env decides nothing, nor does a database that was named for another part.
    empty = dict.fromkeys(("SECRET_KEY", "ALLOWED_HOSTS", "BEHIND_PROXY", "DEBUG", "REDIS_URL"), "")
    with tempfile.TemporaryDirectory(prefix="promptops-comparing-") as folder:
        upstream = _started([sys.executable, "-m", "benchmarks.upstream"], dict(os.environ))
        assert upstream.stdout
        server = None
        try:
            port = _free_port()
            given = {"VAR_DIR": folder, "DATABASE_URL": os.environ.get("COMPARING_DATABASE_URL", ""), "PORT": str(port)}
            env = os.environ | empty | given | {"DJANGO_SETTINGS_MODULE": "promptops.settings"}
            upstream_port = upstream.stdout.readline().strip()
            command = [sys.executable, "-m", "benchmarks.comparing", upstream_port]
            made = json.loads(subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True).stdout)
            server = _started([sys.executable, "manage.py", "serve"], env)
            assert server.stdout
            while "PromptOps is up" not in (line := server.stdout.readline()):
                assert line, "the server ended"
            return asyncio.run(_measured(f"http://127.0.0.1:{port}", **made))
        finally:
            for process in filter(None, (server, upstream)):
                process.terminate()
                process.wait()


def _started(command: list[str], env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _measured(address: str, session: str, comparison: int) -> list[dict[str, Any]]:
    import httpx

    own = f"/compare/{comparison}/"
    pages = ["/", "/prompts/", "/prompts/enhance/", "/providers/", "/runs/", "/audit/", "/timeline/", "/compare/"]
    pages += [own, f"{own}?show=different&from=41", f"{own}?q=fox"]
    async with httpx.AsyncClient(base_url=address, cookies={"sessionid": session}, timeout=30) as client:
        for path in pages:  # compiles their templates
            (await client.get(path)).raise_for_status()
        await client.post(f"{own}seen/", headers=_token(client))  # the reader does not vote
        idle = await _read(client, pages, until=time.monotonic() + IDLE_SECONDS)
        async with _open_page(address, session, own) as watched:
            await _step(client, own, "resume")
            began = time.monotonic()
            state = asyncio.create_task(_ended(client, own))
            busy = await _read(client, pages, until=began + MOST_SECONDS, unless=state)
            seconds = time.monotonic() - began
            assert state.done(), f"not done after {MOST_SECONDS:.0f} s"
        exported = await _step_export(client, own)
    assert exported == INPUTS * ARMS, exported
    rows = [_row(path, idle[path], busy[path]) for path in pages]
    rows.append(_row("all pages", [*chain(*idle.values())], [*chain(*busy.values())]))
    rows.append(_row("the open page, with each hint", [], watched))
    trials = {"what": f"{INPUTS * ARMS} trials", "per_second": round(INPUTS * ARMS / seconds, 1)}
    return [row | {"per_second": ""} for row in rows] + [dict.fromkeys(rows[0], "") | trials]


async def _read(
    client: Any, pages: list[str], *, until: float, unless: "asyncio.Task[None] | None" = None
) -> dict[str, list[float]]:
    """Go through the pages again and again; milliseconds by page."""
    taken: dict[str, list[float]] = {path: [] for path in pages}
    while time.monotonic() < until:
        for path in pages:
            if unless is not None and unless.done():
                await unless
                return taken
            began = time.perf_counter()
            (await client.get(path)).raise_for_status()
            taken[path].append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE_SECONDS)
    return taken


@asynccontextmanager
async def _open_page(address: str, session: str, path: str) -> AsyncIterator[list[float]]:
    """The comparison's page, open in another browser: each hint over its socket makes it fetch itself anew."""
    import aiohttp

    taken: list[float] = []
    headers = {"Cookie": f"sessionid={session}", "Origin": address}

    async def follow() -> None:
        async with aiohttp.ClientSession(headers=headers) as browser, browser.ws_connect(f"{address}/ws/") as page:
            async for message in page:
                if json.loads(message.data).get("event") != "comparison":
                    continue
                began = time.perf_counter()
                async with browser.get(f"{address}{path}?part=live", headers={"HX-Request": "true"}) as answer:
                    await answer.read()
                taken.append((time.perf_counter() - began) * 1000)

    task = asyncio.create_task(follow())
    try:
        yield taken
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _ended(client: Any, path: str) -> None:
    while ">done</span>" not in (await client.get(path, headers={"HX-Request": "true"})).text:  # noqa: ASYNC110
        await asyncio.sleep(1)


async def _step(client: Any, path: str, step: str) -> None:
    answer = await client.post(f"{path}step/", data={"step": step}, headers=_token(client))
    assert answer.status_code == 302, answer.status_code


async def _step_export(client: Any, path: str) -> int:
    """Return the number of trials in the export."""
    answer = await client.post(f"{path}export/", data={"what": "trials", "format": "jsonl"}, headers=_token(client))
    answer.raise_for_status()
    return sum(json.loads(line)["state"] == "succeeded" for line in answer.text.splitlines())


def _token(client: Any) -> dict[str, str]:
    return {"X-CSRFToken": client.cookies["csrftoken"]}


def _row(what: str, idle: list[float], busy: list[float]) -> dict[str, Any]:
    row: dict[str, Any] = {"what": what}
    for name, taken in (("idle", idle), ("busy", busy)):
        figures = {"p50": "", "p95": "", "max": ""}
        if len(taken) > 1:
            cuts = statistics.quantiles(taken, n=20, method="inclusive")
            figures = {"p50": f"{cuts[9]:.0f}", "p95": f"{cuts[18]:.0f}", "max": f"{max(taken):.0f}"}
        row |= {f"{name}_{key}_ms": value for key, value in figures.items()}
    # The slowest one in twenty, since one page may meet whatever else the machine does.
    return row | {"pages": len(busy), "p95_under_200_ms": len(busy) > 1 and float(row["busy_p95_ms"]) < LIMIT_MS}


def prepare(upstream_port: str) -> dict[str, Any]:
    """Fill the database: the comparison, paused, and the session of a person who may read and resume it."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django.test import Client

    from promptops.compare.actions import comparisons
    from promptops.engine.types import PromptOperation
    from promptops.ledger.audit import Actor
    from promptops.live import snapshots as live
    from promptops.people.models import User
    from promptops.prompts.actions.releases import Content, publish
    from promptops.prompts.actions.templates import create_template
    from promptops.providers.actions.chain import ProviderFields, create_provider

    person = User.objects.create(username="bench", name="Bench", role="administrator")
    by = Actor.person(person)
    template = create_template("enhance", "enhance", by=by)
    arms = []
    for number in range(1, ARMS + 1):
        template.refresh_from_db()
        version = publish(template, Content(f"Polish it. {number}"), by=by, expected=template.live_version_id)
        url = f"http://127.0.0.1:{upstream_port}/{UPSTREAM_MS}/v1"
        provider = create_provider(ProviderFields(f"p{number}", "openai", f"m{number}", url), by=by)
        arms.append(comparisons.ArmChoice(template, version, Content(**version.content), provider))
    inputs = [f"a fox in the snow, number {number}, slowly from the left" for number in range(INPUTS)]
    given = {"by": by, "snapshot": live.load(), "inputs_from": "Foxes"}
    comparison = comparisons.start("Bench", PromptOperation.ENHANCE, inputs, arms, **given)
    comparisons.pause(comparison, by=by)
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return {"session": client.cookies["sessionid"].value, "comparison": comparison.pk}


if __name__ == "__main__":
    print(json.dumps(prepare(sys.argv[1])))
