"""The live document over loopback: answers a second and their times, by ETag, packed and whole.

The server is `manage.py serve` in a process of its own, on an SQLite database with 40 templates. The servers that
follow are another process with a few connections, each of which asks again after each answer.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.signins import _free_port, _started

TEMPLATES, TEXT_BYTES = 40, 8_000
CONNECTIONS = 8
SECONDS = 5.0


def bench_live() -> list[dict[str, Any]]:
    """Return answers a second and milliseconds of `GET /api/v1/live`."""
    with tempfile.TemporaryDirectory(prefix="promptops-live-") as folder:
        port = _free_port()
        empty = dict.fromkeys(("SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS", "BEHIND_PROXY", "DEBUG", "REDIS_URL"), "")
        env = os.environ | empty | {"VAR_DIR": folder, "PORT": str(port), "API_REQUESTS_PER_MINUTE": "10000000"}
        env["DJANGO_SETTINGS_MODULE"] = "promptops.settings"
        prepared = _started(["-m", "benchmarks.live", "prepare"], env)
        token, _ = prepared.communicate()
        assert prepared.returncode == 0
        server = _started(["manage.py", "serve"], env)
        try:
            assert server.stdout
            while "PromptOps is up" not in (line := server.stdout.readline()):
                assert line, "the server ended"
            arguments = [sys.executable, "-m", "benchmarks.live", "followers", str(port), token.strip()]
            followers = subprocess.run(
                arguments, cwd=Path(__file__).parents[1], env=env, stdout=subprocess.PIPE, check=True
            )
            rows: list[dict[str, Any]] = json.loads(followers.stdout)
            return rows
        finally:
            server.terminate()
            server.wait()


def prepare() -> str:
    """Fill the database with live templates; return a token that may follow."""
    import django

    django.setup()
    from django.core.management import call_command

    from promptops.ledger.audit import SYSTEM
    from promptops.people.actions.tokens import make_token
    from promptops.prompts.actions import releases
    from promptops.prompts.actions.templates import create_template
    from promptops.prompts.content import Content

    call_command("migrate", verbosity=0)
    for number in range(TEMPLATES):
        template = create_template(f"prompt-{number}", "enhance", by=SYSTEM)
        words = " ".join(f"{number}-{word:x}" for word in range(TEXT_BYTES // 6))
        releases.publish(template, Content(words[:TEXT_BYTES]), by=SYSTEM, expected=None)
    return str(make_token("followers", ["follow"], by=SYSTEM)[1])


async def followers(port: int, token: str) -> list[dict[str, Any]]:
    """Ask the server, and return the rows."""
    asked = f"GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    whole, packed = f"{asked}\r\n", f"{asked}Accept-Encoding: gzip\r\n\r\n"
    head, size = await _asked(port, whole)
    tag = head.partition('etag: "')[2].partition('"')[0]
    _, packed_size = await _asked(port, packed)
    return [
        await _rate(port, "304 by ETag", f'{asked}If-None-Match: "{tag}"\r\n\r\n'),
        await _rate(port, f"packed, {packed_size // 1024} KB", packed),
        await _rate(port, f"whole, {size // 1024} KB", whole),
    ]


async def _asked(port: int, request: str) -> tuple[str, int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.encode())
        return await _answer(reader)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, int]:
    """Read an answer to its end; return its head in small letters and the size of its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    if " 304 " in head:
        return head, 0
    assert " 200 " in head, head
    size = int(head.partition("content-length:")[2].partition("\r\n")[0])
    await reader.readexactly(size)
    return head, size


async def _rate(port: int, what: str, request: str) -> dict[str, Any]:
    """Ask over a few kept connections, one request after the other on each."""
    taken: list[float] = []
    ends = time.perf_counter() + SECONDS

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < ends:
            writer.write(request.encode())
            await _answer(reader)
            taken.append((time.perf_counter() - began) * 1000)
        writer.close()

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return {
        "what": f"/live, {what}, {CONNECTIONS} connections",
        "a_second": round(len(taken) / SECONDS),
        "p50_ms": round(statistics.median(taken), 1),
        "p99_ms": round(statistics.quantiles(taken, n=100)[98], 1),
    }


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        print(prepare())
    else:
        print(json.dumps(asyncio.run(followers(int(sys.argv[2]), sys.argv[3]))))
