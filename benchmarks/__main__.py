"""`make bench`: figures as JSON on standard output and as tables on standard error.

chain: calls to a loopback provider in a process of its own, through the engine's chain and four other ways. release:
from publishing to the hint on an open page's socket. pages: time to render each page with a full data set, through the
whole middleware. safety: judging a text. `python -m benchmarks chain` runs only the first.
"""

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.chain import bench_chain
from benchmarks.safety import bench_safety
from benchmarks.server import bench_server


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    columns = list(rows[0])
    cells = [columns, *([str(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def measure_chain() -> list[dict[str, Any]]:
    """The chain's figures, with the upstream in a process of its own."""
    upstream = subprocess.Popen([sys.executable, "-m", "benchmarks.upstream"], stdout=subprocess.PIPE, text=True)
    try:
        assert upstream.stdout
        return asyncio.run(bench_chain(int(upstream.stdout.readline())))
    finally:
        upstream.terminate()
        upstream.wait()


def main() -> None:
    """Run everything that was asked for and print it."""
    asked = set(sys.argv[1:]) or {"chain", "server", "safety"}
    state = tempfile.TemporaryDirectory(prefix="promptops-bench-")
    os.environ |= {"VAR_DIR": state.name, "DATABASE_URL": "", "REDIS_URL": "", "ALLOWED_HOSTS": "testserver"}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
    benches = {"chain": measure_chain, "server": bench_server, "safety": bench_safety}
    found = {name: run() for name, run in benches.items() if name in asked}
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    print(json.dumps({"machine": machine, **found}, indent=1))
    print("\n\n".join(["", machine, *map(table, found.values())]), file=sys.stderr)
    state.cleanup()


if __name__ == "__main__":
    main()
