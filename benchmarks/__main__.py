"""`make bench`: figures as JSON on standard output and as a table on standard error.

chain: calls through the engine's chain to a loopback provider in a process of its own, beside the same work with a new
httpx client per call. release: from publishing to the hint on an open page's socket. pages: time to render each page
with a full data set, through the whole middleware.
"""

import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

CALLS = {1: 200, 16: 800}
FRESH_CALLS = {1: 20, 16: 48}


async def measure(call: Callable[[], Awaitable[None]], calls: int, concurrent: int) -> dict[str, float]:
    """Latency in ms, calls a second and CPU seconds per 1,000 calls of this process."""
    waiting, taken = iter(range(calls)), []

    async def worker() -> None:
        for _ in waiting:
            began = time.perf_counter()
            await call()
            taken.append((time.perf_counter() - began) * 1000)

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrent)))
    elapsed, used = time.perf_counter() - began, time.process_time() - cpu
    quantiles = statistics.quantiles(taken, n=100)
    return {
        "p50_ms": round(quantiles[49], 2),
        "p99_ms": round(quantiles[98], 2),
        "calls_per_s": round(calls / elapsed, 1),
        "cpu_s_per_1000": round(used / calls * 1000, 3),
    }


async def bench_chain(url: str) -> list[dict[str, Any]]:
    """The chain and a client per call, interleaved."""
    import httpx

    from promptops.engine import LLMMessage, LLMRequest, OpenAICompatibleProvider, close_client, complete_chain

    request = LLMRequest([LLMMessage("system", "Improve."), LLMMessage("user", "a fox")], "m", 64, 0.7)
    provider = OpenAICompatibleProvider(base_url=url, name="loopback")

    async def through_chain() -> None:
        await complete_chain(request, [provider], timeout_ms=20_000)

    async def client_per_call() -> None:
        body = {"model": "m", "messages": [{"role": m.role, "content": m.content} for m in request.messages]}
        async with httpx.AsyncClient() as client:
            (await client.post(f"{url}/chat/completions", json=body)).json()

    rows = []
    for concurrent, calls in CALLS.items():
        await through_chain()
        for name, call, count in (
            ("chain", through_chain, calls),
            ("client per call", client_per_call, FRESH_CALLS[concurrent]),
        ):
            rows.append({"what": name, "concurrent": concurrent, **await measure(call, count, concurrent)})
    await close_client()
    return rows


def bench_server() -> list[dict[str, Any]]:
    """Pages and the release path, on a SQLite file."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django.test import Client

    from promptops import live
    from promptops.actions.releases import Content, publish
    from promptops.actions.templates import create_template
    from promptops.audit import Actor
    from promptops.models import User

    user = User.objects.create(username="bench", name="Bench", role="administrator")
    actor = Actor.person(user)
    template = create_template("enhance", "enhance", by=actor)
    text = " ".join(["word"] * 6000)
    publishes = []
    for number in range(60):
        template.refresh_from_db()
        began = time.perf_counter()
        publish(template, Content(f"{text} {number}"), by=actor, expected=template.live_version_id)
        publishes.append((time.perf_counter() - began) * 1000)
    loads = []
    for _ in range(50):
        began = time.perf_counter()
        live.load()
        loads.append((time.perf_counter() - began) * 1000)
    rows = [_row("publish (6,000 words)", publishes), _row("load the snapshot", loads)]
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    for path in (
        "/",
        "/prompts/",
        "/prompts/enhance/",
        "/prompts/enhance/history/",
        "/prompts/enhance/diff/?a=1&b=60",
        "/audit/",
        "/runs/",
    ):
        taken = []
        for _ in range(20):
            began = time.perf_counter()
            response = client.get(path)
            taken.append((time.perf_counter() - began) * 1000)
            assert response.status_code == 200, path
        rows.append(_row(f"GET {path}", taken[1:]))
    return rows


def _row(what: str, taken: list[float]) -> dict[str, Any]:
    return {"what": what, "p50_ms": round(statistics.median(taken), 1), "max_ms": round(max(taken), 1)}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    columns = list(rows[0])
    cells = [columns, *([str(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def main() -> None:
    """Run everything and print it."""
    state = tempfile.TemporaryDirectory(prefix="promptops-bench-")
    os.environ |= {"VAR_DIR": state.name, "DATABASE_URL": "", "REDIS_URL": "", "ALLOWED_HOSTS": "testserver"}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
    upstream = subprocess.Popen([sys.executable, "-m", "benchmarks.upstream"], stdout=subprocess.PIPE, text=True)
    try:
        assert upstream.stdout
        chain = asyncio.run(bench_chain(f"http://127.0.0.1:{int(upstream.stdout.readline())}/v1"))
    finally:
        upstream.terminate()
    server = bench_server()
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    print(json.dumps({"machine": machine, "chain": chain, "server": server}, indent=1))
    print(f"\n{machine}\n\n{table(chain)}\n\n{table(server)}", file=sys.stderr)
    state.cleanup()


if __name__ == "__main__":
    main()
